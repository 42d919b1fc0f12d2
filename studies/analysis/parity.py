"""Parity audit: what must be equal between the arms of a study, checked on its records."""

from collections.abc import Mapping, Sequence

from studies.analysis.compared import Check, Given, given
from studies.design.methods import RECIPE
from studies.design.space import Fixed, searched
from studies.design.spec import StudySpec
from studies.records import TrialRecord, TrialState


def audit(
    spec: StudySpec,
    trials: Sequence[TrialRecord],
    horizon: int,
    epochs: Mapping[str, Sequence[int]] | None = None,
) -> tuple[Check, ...]:
    """Return what is checked, whether it is equal, and each arm's value.

    `horizon` is the trial at which the arms are compared. `epochs` has, by arm, the number of epochs of each completed
    trial, or the fewest and the most; by default they are counted in the records, which may have none. What a study
    file gives all arms at once (the task if no arm has its own, the recipe if no arm searches it, searcher, limits) is
    equal by construction and not listed.
    """
    of = {m.name: [t for t in trials if t.arm == m.name] for m in spec.arms}
    compared = {name: [t for t in its if t.trial <= horizon] for name, its in of.items()}
    checks: list[tuple[str, Mapping[str, Given]]] = [
        ("trials done in each run", {name: _spread(_per_run(spec, its)) for name, its in of.items()}),
        (
            f"trials chosen without a model in each run, of the first {horizon}",
            {
                name: _spread(_per_run(spec, [t for t in its if t.source != "model"]))
                for name, its in compared.items()
                if not spec.arm(name).is_control
            },
        ),
        (
            "retries after a crash",
            {name: sum(max(0, t.attempts - 1) for t in its) for name, its in of.items()},
        ),
        (
            "trials that failed for good",
            {name: sum(t.state is TrialState.FAILED for t in its) for name, its in of.items()},
        ),
    ]
    if epochs is None:
        epochs = {
            name: [len(t.epochs) for t in its if t.state is TrialState.COMPLETED] for name, its in of.items()
        }
    if all(any(epochs.get(name, ())) for name in of):
        checks.append(("epochs of a completed trial", {name: _spread(epochs[name]) for name in of}))
    found = [_check(what, values) for what, values in checks]
    if len(spec.arms) > 1:
        found.insert(2, _seeds(spec, of))
    return (*found, *_tasks(spec), *_recipe(spec), *_bounds(spec))


def _check(what: str, values: Mapping[str, Given]) -> Check:
    distinct = {str(value) for value in values.values()}
    return Check(what, len(distinct) <= 1, dict(values))


def _per_run(spec: StudySpec, trials: Sequence[TrialRecord]) -> list[int]:
    counts = dict.fromkeys(range(1, spec.runs + 1), 0)
    for trial in trials:
        counts[trial.run] += 1
    return list(counts.values())


def _spread(numbers: Sequence[int]) -> int | str:
    low, high = min(numbers), max(numbers)
    return low if low == high else f"{low} to {high}"


def _seeds(spec: StudySpec, of: Mapping[str, Sequence[TrialRecord]]) -> Check:
    """Check that trial t of run r has one seed (data order, initialisation) in all arms; of grids only trial 1."""
    grids = {arm.name for arm in spec.arms if spec.is_grid(arm)}
    seeds = [
        {(t.run, t.trial): t.seed for t in its if t.trial == 1 or name not in grids}
        for name, its in of.items()
    ]
    shared = [(its[key], seeds[0][key]) for its in seeds[1:] for key in its.keys() & seeds[0].keys()]
    different = sum(one != other for one, other in shared)
    values = {name: f"{len(shared) - different} of {len(shared)} equal" for name in of}
    what = "seeds of trial t of run r, between the arms" + (", of grids only of trial 1" if grids else "")
    return Check(what, different == 0, values)


def _tasks(spec: StudySpec) -> list[Check]:
    """Check the tasks, which include networks and recipes, if any arm has its own task or proxy."""
    if not any(m.task or m.proxy.changes for m in spec.arms):
        return []
    return [
        _check("task", {m.name: spec.proxy_of(m).label(spec.task_of(m).name, spec.start) for m in spec.arms})
    ]


def _recipe(spec: StudySpec) -> list[Check]:
    """Check each recipe value that an arm sets in its space; arms that do not set it have their recipes' value."""
    recipes = {m.name: spec.task_of(m).recipe.own for m in spec.arms}
    known = dict.fromkeys(name for recipe in recipes.values() for name in recipe)
    names = [name for name in known if any(name in m.space for m in spec.arms)]
    return [
        _check(
            f"values of {name}",
            {
                m.name: given(m.space.get(name, Fixed(recipes[m.name][name])))
                for m in spec.arms
                if name in recipes[m.name]
            },
        )
        for name in names
    ]


def _bounds(spec: StudySpec) -> list[Check]:
    """Check that a hyperparameter that several arms search is searched over the same values."""
    spaces = {
        m.name: {name: d for name, d in searched(m.space).items() if name not in RECIPE} for m in spec.arms
    }
    names = dict.fromkeys(name for space in spaces.values() for name in space)
    found = []
    for name in names:
        values = {arm: given(space[name]) for arm, space in spaces.items() if name in space}
        if len(values) > 1:
            found.append(_check(f"values searched for {name}", values))
    return found
