"""Studies made up for the tests: records with the shape of real ones."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from studies.analysis.confirmation import representatives
from studies.analysis.curves import runs_of
from studies.design.spec import PROTOCOL, StudySpec, from_json
from studies.records import ConfirmationRecord, RepeatRecord, StudyRecord, StudyState, TrialRecord, TrialState
from trainers.seeds import derive

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def study_of(methods: Sequence[Any] = ("gradient-filter", "latent-sgd"), **keys: Any) -> StudyRecord:
    """Make a study as stored; `keys` are those of a study file."""
    given = {} if "arms" in keys else {"methods": list(methods)}
    spec = from_json({"name": "made-up", "task": "spoken-digits", **given, **keys})
    return StudyRecord(
        id=spec.study_id,
        name=spec.name,
        task=spec.task,
        state=StudyState.COMPLETED,
        spec=spec.to_json(),
        provenance={"protocol": PROTOCOL, "commit": "0" * 40, "python": "3.11", "versions": {"torch": "2.13"},
                    "hardware": {"cores": 2, "cpu": None}},
        created_at=START,
        started_at=START,
        finished_at=START + timedelta(hours=1),
    )  # fmt: skip


def trial_of(
    spec: StudySpec, method: str, run: int, trial: int, objective: float | None, **changes: Any
) -> TrialRecord:
    """Make a completed trial with this objective or, if it is None, a failed one."""
    space = next(m.space for m in spec.arms if m.name == method)
    record = TrialRecord(
        study=spec.study_id,
        arm=method,
        run=run,
        trial=trial,
        state=TrialState.FAILED if objective is None else TrialState.COMPLETED,
        hyperparameters={name: dimension.at(0.5) for name, dimension in space.items()},
        source="sobol" if trial <= spec.searcher.initial_trials else "model",
        seed=derive(spec.seed, "run", run, "trial", trial),
        objective=objective,
        test_metric=objective,
        suggest_seconds=0.1,
        train_seconds=0.5,
        attempts=3 if objective is None else 1,
        error="RuntimeError: out of memory" if objective is None else None,
        started_at=START,
        finished_at=START + timedelta(seconds=1),
    )
    return replace(record, **changes)


def repeated(trial: TrialRecord, apart: float = 0.125) -> TrialRecord:
    """Return the trial as the mean of two trainings whose objectives differ by `apart`."""
    assert trial.objective is not None
    each = tuple(
        RepeatRecord(state=TrialState.COMPLETED, seed=trial.seed + i, objective=value, test_metric=value)
        for i, value in enumerate((trial.objective - apart / 2, trial.objective + apart / 2))
    )
    return replace(trial, repeats=each)


def trials_of(
    study: StudyRecord, objectives: dict[str, Sequence[Sequence[float | None]]]
) -> list[TrialRecord]:
    """Make the trials of `study` from the objectives of each method's runs."""
    spec = from_json(study.spec)
    return [
        trial_of(spec, method, run, trial, objective)
        for method, runs in objectives.items()
        for run, values in enumerate(runs, start=1)
        for trial, objective in enumerate(values, start=1)
    ]


def confirmations_of(
    study: StudyRecord, trials: Sequence[TrialRecord], worth: Callable[[TrialRecord, int], float | None]
) -> list[ConfirmationRecord]:
    """Make the trainings of every incumbent with the study's fresh seeds; `worth` gives the test metric of a trial's
    hyperparameters with the seed of this number, or None for a failed training."""
    spec = from_json(study.spec)
    assert spec.confirm is not None
    found = []
    for run in runs_of(trials):
        given = [trial.hyperparameters for trial in run.trials]
        stands = representatives([t.objective for t in run.trials], given, spec.task_definition().direction)
        for trial in sorted({*stands} - {0}):
            for number in range(1, spec.confirm.seeds + 1):
                metric = worth(run.trials[trial - 1], number)
                found.append(confirmation_of(study, run.arm, run.run, trial, number, metric))
    return found


def confirmation_of(
    study: StudyRecord, arm: str, run: int, trial: int, number: int, metric: float | None
) -> ConfirmationRecord:
    """Make a completed confirmation with this test metric or, if it is None, a failed one."""
    return ConfirmationRecord(
        study=study.id,
        arm=arm,
        run=run,
        trial=trial,
        number=number,
        state=TrialState.FAILED if metric is None else TrialState.COMPLETED,
        seed=derive(study.spec["seed"], "run", run, "confirm", number),
        objective=metric,
        test_metric=metric,
        train_seconds=0.5,
        attempts=3 if metric is None else 1,
        error="RuntimeError: out of memory" if metric is None else None,
        started_at=START,
        finished_at=START + timedelta(seconds=1),
    )


def figure8_like(
    runs: int = 20,
    trials: int = 25,
    seed: int = 0,
    slow: float = 2.5,
    methods: Sequence[str] = ("gradient-filter", "latent-sgd"),
) -> tuple[StudyRecord, list[TrialRecord]]:
    """Make a study whose accuracies, in steps of 1/500, rise as in a search from bad ones, `slow` times faster for the
    first method."""
    study = study_of(methods, runs=runs, trials=trials)
    rng = np.random.default_rng(seed)
    objectives = {}
    for i, method in enumerate(methods):
        pace = np.arange(1, trials + 1) / (1.5 * slow**i)
        centre = 0.935 - 0.55 * np.exp(-pace) * rng.lognormal(0, 0.4, (runs, 1))
        spread = 0.004 + 0.3 * np.exp(-pace / 2)
        values = np.clip(centre - spread * rng.exponential(1, (runs, trials)), 0.1, 1)
        objectives[method] = (np.rint(values * 500) / 500).tolist()
    return study, trials_of(study, objectives)


CONTROLS = (
    {"name": "filter-published", "method": "gradient-filter", "space": {"alpha": 1e-3, "gamma": 0.1}},
    {"name": "latent-published", "method": "latent-sgd", "space": {
        "learning_rate": 0.1, "initial_magnitude": 1.0, "gamma": 0.1, "weight_decay": 1e-5, "scaling": True,
        "clipping": True,
    }},
)  # fmt: skip


def confirmed_study(
    arms: Sequence[Any] = ("gradient-filter", "latent-sgd", *CONTROLS),
    runs: int = 8,
    trials: int = 8,
    seeds: int = 3,
    seed: int = 0,
) -> tuple[StudyRecord, list[TrialRecord], list[ConfirmationRecord]]:
    """Make a study with confirmations: each setting has a true accuracy, 0.93 for controls and up to 0.94 for searches,
    and is seen with the noise of one training."""
    named = [{"name": arm, "method": arm} if isinstance(arm, str) else arm for arm in arms]
    study = study_of(arms=named, runs=runs, trials=trials, confirm={"seeds": seeds})
    spec, rng = from_json(study.spec), np.random.default_rng(seed)
    records, truth = [], {}
    for i, arm in enumerate(spec.arms):
        for run, trial in np.ndindex(runs, trials):
            skill = 0.93 if arm.is_control else 0.94 - float(rng.exponential(0.02 * (1 + i % 3)))
            seen, tested = np.rint(500 * (skill + rng.normal(0, 0.005, 2))) / 500
            given = {name: d.at(float(rng.random())) for name, d in arm.space.items()}
            changes = {"hyperparameters": given, "test_metric": float(tested)}
            records.append(trial_of(spec, arm.name, run + 1, trial + 1, float(seen), **changes))
            truth[arm.name, run + 1, trial + 1] = skill

    def fresh(trial: TrialRecord, number: int) -> float:
        noise = np.random.default_rng((trial.run, number)).normal(0, 0.005)
        return float(np.rint(2000 * (truth[trial.arm, trial.run, trial.trial] + noise)) / 2000)

    return study, records, confirmations_of(study, records, fresh)
