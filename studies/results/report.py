"""The report of a study: self-contained text, made from its comparison."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from studies.analysis.compared import (
    ArmResult,
    AtBudget,
    Comparison,
    ExtraTrials,
    Paired,
    PairResult,
    Split,
    Unpaired,
)
from studies.analysis.estimate import Estimate
from studies.analysis.stats import BOOTSTRAP_FROM, interquartile_mean
from studies.design.methods import METHODS
from studies.design.notation import write
from studies.records import StudyRecord
from studies.results import beside, wording
from studies.results.plateau import near
from studies.results.summary import CROWD, halfway, summary
from studies.results.verdict import table, verdict
from studies.results.wording import (
    capital,
    count,
    difference,
    estimate,
    extra,
    listed,
    p_value,
    setting,
    share,
    trials,
    value,
    values,
)
from trainers.tasks import TASKS

PAPER = (
    "Joris Quist, Yunqiang Li and Jan van Gemert: *Understanding weight-magnitude hyperparameters in training binary "
    "networks*. International Conference on Learning Representations (ICLR), 2023. The figure at the top follows its "
    "Figure 8."
)
NONE = re.compile(r"(^| )(teacher|data published|versions .*)$")  # null means that there is none, not unknown
COUNTS: Mapping[str, Callable[[ArmResult], int]] = {
    "hyperparameters searched": lambda m: m.dimensions,
    "trials per run without a model": lambda m: m.initial_trials,
    "trials per run chosen by the model": lambda m: m.model_based_trials,
    "completed trials": lambda m: m.completed,
    "diverged trials": lambda m: m.diverged,
    "failed trials": lambda m: m.failed,
    "retries": lambda m: m.retries,
}
SECONDS: Mapping[str, Callable[[ArmResult], float | None]] = {
    "suggest": lambda m: m.suggest_seconds,
    "train": lambda m: m.train_seconds,
}
COMPUTED = """
- **The unit is the run**: one independent tuning run of one arm. Trials are never pooled.
- **Best so far** after trial n is the best validation {metric} of a run's first n trials: a step function, not
  interpolated, undefined before the first trial with a result. A diverged trial counts as the worst possible
  {metric}; a failed trial leaves the best so far unchanged. The test {metric} is that of the trial with the best
  validation {metric}. No searcher sees it. The validation value is optimistic, because the trial was chosen by it.
- **Confirmed**, in studies that confirm: the mean test {metric} of the incumbent's hyperparameters, trained again with
  fresh seeds, which are the same for all incumbents of a run and for all arms. There is no value if any of these
  trainings failed. It is the first endpoint once all confirmations are done. Climbs are means over runs with Student's
  t interval. Luck is 1 - confirmed / seen, a ratio of the two means, with a bootstrap interval. "Similar" is a claim of
  its own: two one-sided tests at 5% against a margin of one training's standard deviation over seeds, pooled over the
  incumbents at the budget and taken as given. It is not adjusted for the number of pairs.
- **Median** over runs, with the interval between two order statistics: distribution-free, with its exact level, which
  ties can only raise. **Mean** over runs, with Student's t interval. **IQM**, the interquartile mean: the mean of the
  middle half of the runs, with the t interval of a trimmed mean (Tukey & McLaughlin 1963); the 95% intervals hold the
  truth in 91 to 94% of simulated studies. Bands in the figures are pointwise, except the faintest, which hold for a
  whole curve by Bonferroni's correction over its trials. Means and medians are drawn where every run has a value.
- **A run without a result** (all its trials failed) is part of no median or mean. Between arms it counts as worse than
  any run with a result, and ∞ stands for what this leaves unbounded.
- **Paired**, the analysis: run r of every arm shares its data split, data order{shared} real-valued
  initialisation. The difference is the Hodges-Lehmann estimate, the median of all averages of two run-by-run
  differences, with the interval of the exact signed-rank test (at least its level with ties). The interval assumes
  that the differences are symmetric about their centre. p is from the exact signed-rank test, with mid-ranks for ties
  and Pratt's treatment of zeros.
- **Unpaired**, for comparison, ignores the pairing: the median of all differences between a run of one arm and a run of
  the other, with the interval of the exact Mann-Whitney test; P(better), ties counted half, with Newcombe's score
  interval; p by exact enumeration of the rank sums, with mid-ranks for ties. Beyond 50 runs, p and intervals use the
  normal approximation.
- **Holm**: p is adjusted over all pairs of arms, separately for confirmed, validation and test, paired and unpaired. No
  interval (of a difference, of trials to a target, of extra trials) is adjusted for the number of pairs.
- **Looks**: nothing is tested before the end, when all trials and confirmations are done. In a study with `stop_when:
  decided`, paired p and intervals hold at every number of runs at once: each run is a bet on the sign of its
  difference, and p is 2 divided by the largest capital reached by betting (Ville 1939; Vovk & Wang 2024). They assume
  differences symmetric about their centre, and the intervals are wider than those for a fixed number of runs. No other
  interval allows for the stop.
- **Trials to a target**: the first trial at which a run's best so far reaches the target, censored at {horizon}
  trials. The mean is the restricted mean, the area under the Kaplan-Meier curve up to {horizon}: a run that does not
  reach the target counts as {horizon}. The intervals of the mean and of the difference are bootstrap percentile
  intervals over runs; for a single arm they hold the truth in 84 to 90% of simulated studies with 6 to 8 runs, and less
  often if a few runs are much slower than the rest. Success rates have Wilson's interval, except in a study of one arm,
  where the target itself determines them.
- **Trials to the plateau**, in studies that confirm: the same for a run's confirmed curve, which may fall again. Its
  target is the confirmed value at the budget of the best arm's median run, less one training's standard deviation over
  seeds; intervals take both as given. The mean's interval is Student's t with two imaginary runs added, one that needs
  1 trial and one that needs {horizon}; the interval of a difference is the bootstrap's.
- **Multiplicity**: there are four validation targets, and each n of extra trials is a further question. The target in
  bold and half of the trials were declared beforehand; the others show how much depends on that choice. Each interval
  by itself would miss one time in twenty, and none is adjusted. With confirmations, all of them are secondary to the
  endpoints above.
- **The target**: the rule was fixed beforehand; the target itself is computed from the results, as what at least
  {share:.0%} of all runs reach, counted together regardless of the arm. Intervals take it as given; other targets are
  given beside it.
- **Extra trials** after n: how many more trials than n the curve of one arm needs to reach the level of the other arm's
  curve after n; ≥ if it does not reach that level within the budget. On a plateau the number is negative even for an
  arm against itself, which was at that level before n. The interval is a bootstrap percentile interval over runs.
- **Bootstrap**: {resamples} samples of runs, with the same run numbers for every arm; percentiles are moved outwards
  for the small number of runs (Hesterberg 2015); the seed is derived from the study's. {level:.0%} is the nominal
  level: in simulated studies, the intervals of a difference in trials hold the truth in 93% with 6 runs, 94% with 10
  and 95% with 20. Fewer than {fewest} runs are too few for an interval.
"""

# what paired runs share if arms have tasks or proxies of their own
SHARED = ", augmentation (if batches have the same size) and (if networks are the same)"


def report(
    study: StudyRecord,
    comparison: Comparison,
    images: Sequence[str],
    sources: Mapping[str, int] | None = None,
) -> str:
    """Return the report as Markdown.

    `images` names the files beside it that it may show; `sources` counts the trials taken over from each other study.
    """
    text = [
        f"# {study.name}",
        f"**{verdict(comparison)}**{_data(study)}",
        *_at_a_glance(comparison),
        *_stops(comparison),
        *_endpoints(comparison),
        f"![Best so far over trials](figure8.png)\n\n*{_caption(comparison)}*",
        *_settings(images),
        summary(comparison),
    ]
    text += _published(comparison)
    if study.repeats > 1:
        text.append(
            f"Each trial is {study.repeats} trainings, each with its own seed; the trial's validation and test values "
            "are their means. `repeats` lists each training."
        )
    if comparison.compared_at:
        text += [*_climb(comparison), "## How good the arms are", *_good(comparison), *_apart(comparison)]
    text += [*_best(comparison), *_failed(comparison)]
    if comparison.compared_at:
        text += ["## How many trials they need", *_near(comparison, images)]
        text += [*_targets(comparison, images), *_extra(comparison, images)]
    text += ["## Parity audit", *_parity(comparison)]
    computed = COMPUTED.format(
        shared=SHARED if _own_tasks(comparison) else " and",
        metric=comparison.metric,
        horizon=comparison.compared_at,
        share=comparison.target_share,
        resamples=comparison.resamples,
        level=comparison.level,
        fewest=BOOTSTRAP_FROM,
    )
    text += ["## How the numbers are computed", computed.strip()]
    text += ["## Provenance", *_taken(comparison, sources or {}), *_provenance(study)]
    text += ["## Running it again", *_again(study)]
    text += ["## References", *_references(study)]
    return "\n\n".join(text) + "\n"


def _at_a_glance(comparison: Comparison) -> Iterator[str]:
    found = table(comparison)
    if found.rows:
        yield _table(found.columns, found.rows)
        yield found.note


def _settings(images: Sequence[str]) -> Iterator[str]:
    if "arms.png" in images:
        yield "![Results of each arm](arms.png)"
        yield "*Every run, and the mean of each arm's runs with Student's t interval.*"
    if "grid.png" in images:
        yield "![Results at each listed value](grid.png)"
        yield "*Mean over the runs at each value that the study lists, with Student's t interval.*"


def _endpoints(comparison: Comparison) -> Iterator[str]:
    """Yield the endpoints, which were fixed before there were results; nothing if no incumbent is confirmed."""
    if comparison.confirmations is None:
        return
    yield (
        f"**Endpoints**, fixed beforehand: 1. the confirmed {comparison.metric} at the budget, as a paired difference; "
        "2. the trials until a run's confirmed curve comes within one training's standard deviation over seeds of the "
        "best arm's plateau; 3. the extra trials on the mean confirmed curve after "
        f"{count((comparison.trials + 1) // 2, 'trial')}, half of the budget. What the searcher saw, the best "
        f"validation {comparison.metric} so far and the trials to its targets, is secondary."
    )


def _stops(comparison: Comparison) -> Iterator[str]:
    """Yield what a study with `stop_when` was to decide, and what came of it."""
    found = comparison.decision
    if found is None:
        return
    a, b = (comparison.arms[arm].label for arm in (found.a, found.b))
    what = f"confirmed {comparison.metric}"
    if found.endpoint == "validation":
        what = f"best validation {comparison.metric} so far"
    text = (
        f"The study was to stop once the paired difference in {what} at the budget between {a} and {b}, its first two "
        f"arms, was decided, and after {found.planned} runs at the latest. "
    )
    runs = f"{count(found.after, 'complete run')} of {found.planned}"
    if found.verdict is None:
        yield f"{text}It is undecided after {runs}."
        return
    yield (
        f"{text}It was decided after {runs}: the two are {found.verdict}. Trials that later runs had done by then are "
        "stored, but are not part of this report."
    )


def _published(comparison: Comparison) -> Iterator[str]:
    """Yield the published results, with the arms' own beside them."""
    if rows := beside.beside(comparison):
        yield f"## {beside.HEADING}"
        yield beside.note(comparison.metric)
        yield _table(list(rows[0]), [list(row.values()) for row in rows])


def _best(comparison: Comparison) -> Iterator[str]:
    """Yield the best trial of each arm, with every digit, to train with."""
    rows = []
    for m in _ranked(comparison):
        if (best := m.best) is not None:
            scores = [value(score, comparison.metric) for score in (best.objective, best.test_metric)]
            given = [
                f"{name} = {setting(x)}" + (f" **({end} end of its range)**" if end else "")
                for name, x in best.hyperparameters.items()
                for end in [best.at_bounds.get(name)]
            ]
            rows.append([m.label, f"run {best.run} trial {best.trial}", *scores, "<br>".join(given)])
    if rows:
        yield "## Best trials"
        yield _table(["arm", "trial", "validation", "test", "hyperparameters"], rows)


def _failed(comparison: Comparison) -> Iterator[str]:
    rows = [
        [m.label, str(failure.trials), f"`{failure.error.replace('`', chr(39))}`"]
        for m in _ranked(comparison)
        for failure in m.errors
    ]
    if rows:
        yield "## Why trials failed"
        yield "The most common errors; errors that differ only in numbers count as one."
        yield _table(["arm", "trials", "error"], rows)


def _ranked(comparison: Comparison) -> list[ArmResult]:
    return [comparison.arms[name] for name in comparison.ranking]


def _data(study: StudyRecord) -> str:
    for ran_on in (study.provenance, *study.provenance.get("continued", [])):
        data = ran_on.get("data", {})
        if data.get("published") is False:
            return f" **The data are not {data['set']} as it was published**: expect different results."
    return ""


def _caption(comparison: Comparison) -> str:
    metric, crowd = comparison.metric, len(comparison.arms) > CROWD
    arms = comparison.arms.values()
    control = (
        " Controls, which search nothing, have only means (hollow marks)."
        if any(m.is_control for m in arms)
        else ""
    )
    if crowd:
        text = (
            f"Best validation {metric} so far: the mean of each arm's runs (thick lines) and their median (dashed), "
            "where every run has a value. The runs and intervals of so many arms would hide each other; the tables "
            f"give them.{control}"
        )
    else:
        text = (
            f"Best validation {metric} so far: every run (points, shifted sideways to separate the arms), and, where "
            "every run has a value, the mean of the runs (thick lines) and their median (dashed) with its "
            "order-statistic interval (pointwise bands). Arrows on the edge stand for values beyond the axis, "
            f"such as bad first trials.{control}"
        )
    if not (comparison.confirmations and comparison.confirmations.done):
        return text
    band = ""
    if not crowd:
        band = ", with Student's t interval (bands: pointwise, and fainter for the whole curve)"
    return (
        f"{text} Below, on the same scale, what the best so far was worth: the mean test {metric} of the same "
        f"hyperparameters with {count(comparison.confirmations.seeds, 'fresh seed')} (thick lines){band}; and the mean "
        "held-out test value of the same networks (dashed)."
    )


def _climb(comparison: Comparison) -> Iterator[str]:
    """Yield how much of what a searcher saw was luck."""
    confirmations, metric = comparison.confirmations, comparison.metric
    if confirmations is None:
        return
    yield "## What the climb is worth"
    fresh = count(confirmations.seeds, "fresh seed")
    done = f"{confirmations.done} of {confirmations.planned} of these trainings are done"
    if confirmations.failed:
        done += f", {confirmations.failed} of them failed"
    yield (
        f"Every incumbent's hyperparameters are trained again with {fresh} that no searcher saw; {done}. From trial 1 "
        f"to trial {comparison.compared_at}, the seen climb is the gain in the best validation {metric} so far, and "
        f"the confirmed climb is the gain in the mean test {metric} with fresh seeds. Luck is the share of the seen "
        "climb that is not confirmed. A control searches nothing, so by construction all of its climb is luck."
    )
    rows = [
        [m.label, f"{climb.n} of {m.runs}"]
        + [difference(e, metric) for e in (climb.seen, climb.confirmed)]
        + [share(climb.luck), estimate(m.at_budget("confirmed").mean, metric)]
        for m in _ranked(comparison)
        if (climb := m.climb) is not None
    ]
    if rows:
        heads = ["runs confirmed", "seen climb", "confirmed climb", "luck", "confirmed at the budget"]
        yield _table(["arm", *heads], rows)
    if confirmations.seed_sd is not None and comparison.pairs:
        margin = wording.gap(Estimate(confirmations.seed_sd, None, None, None), metric)
        yield (
            f"The standard deviation of one training over seeds is {margin}. Two arms are called similar if the 90% "
            "interval of their paired difference lies within ± this margin; the rule was fixed beforehand."
        )
        rows = [
            [f"{a} minus {b}", difference(e.difference, metric), "yes" if e.similar else "not shown"]
            for pair in comparison.pairs
            if (e := pair.equivalence) is not None
            for a, b in [comparison.labels(pair)]
        ]
        if rows:
            yield _table(["difference", "confirmed, paired", "similar"], rows)


def _good(comparison: Comparison) -> Iterator[str]:
    metric = comparison.metric
    yield (
        f"{capital(metric)} after {count(comparison.compared_at, 'trial')}, over the runs. Validation values are the "
        "best so far; they are optimistic, because trials were chosen by them."
    )
    splits = _splits(comparison)
    rows = []
    for m in _ranked(comparison):
        ends = [m.at_budget(split) for split in splits]
        rows.append(
            [f"{m.label} ({m.dimensions})", f"{m.at_budget('validation').n} of {m.runs}"]
            + [estimate(e, metric) for end in ends for e in (end.median, end.mean, _iqm(end))]
        )
    heads = [f"{split} {middle}" for split in splits for middle in ("median", "mean", "IQM")]
    yield _table(["arm (hyperparameters)", "runs with a result", *heads], rows)
    if tied := [f"{m.tied} of {m.runs} runs with {m.label}" for m in _ranked(comparison) if m.tied]:
        yield (
            f"Several trials share the best objective in {listed(tied)}. The first of them is the incumbent: its test "
            "value and its confirmations count."
        )


def _iqm(end: AtBudget) -> Estimate:
    return interquartile_mean(np.array(end.values, dtype=np.float64))


def _splits(comparison: Comparison) -> list[Split]:
    """Return the splits that there are to compare, the first endpoint first."""
    confirmed = any(m.confirmed_at_budget is not None for m in comparison.arms.values())
    return ["confirmed", "validation", "test"] if confirmed else ["validation", "test"]


def _apart(comparison: Comparison) -> Iterator[str]:
    if not comparison.pairs:
        return
    crowd = len(comparison.arms) > CROWD
    later = "" if comparison.final else " Nothing is tested before the end."
    rest = " Unpaired differences, and those on the test split, are in `comparison.json`." if crowd else ""
    yield f"Differences between the arms; the paired test is the analysis.{rest}{later}"
    splits = [split for split in _splits(comparison) if not (crowd and split == "test")]
    rows = [
        row
        for pair in comparison.pairs
        for split in splits
        for row in _rows(comparison, pair, split)[: 1 if crowd else 2]
    ]
    heads = ["difference", "split", "runs", "Hodges-Lehmann", "first better", "p", "Holm-adjusted p"]
    yield _table(heads, rows)


def _rows(comparison: Comparison, pair: PairResult, split: Split) -> list[list[str]]:
    """Return two rows of the table of differences: paired and unpaired."""
    a, b = comparison.labels(pair)
    paired, unpaired = pair.at_budget(split).paired, pair.at_budget(split).unpaired
    found: list[tuple[str, Paired | Unpaired, str]] = [
        ("paired", paired, f"{paired.a_better} better, {paired.equal} equal, {paired.b_better} worse"),
        ("unpaired", unpaired, f"P(better) {share(unpaired.p_a_better)}"),
    ]
    return [
        [f"{a} minus {b}", split, kind, difference(test.hodges_lehmann, comparison.metric), better]
        + [p_value(p) for p in (test.p, test.p_holm)]
        for kind, test, better in found
    ]


def _near(comparison: Comparison, images: Sequence[str]) -> Iterator[str]:
    """Yield how soon confirmed curves get near the plateau, and their extra trials."""
    if comparison.plateau is not None:
        found = [(m, m.trials_to_plateau) for m in _ranked(comparison) if m.trials_to_plateau]
        yield (
            f"Mean number of trials, counting at most {comparison.compared_at} per run, until a run's confirmed curve "
            f"first comes {near(comparison)}; and the share of runs that get there:"
        )
        rows = [[m.label, trials(e.restricted_mean), share(e.success_rate)] for m, e in found]
        yield _table(["arm", "trials", "got there"], rows)
        rows = [
            [f"{b} minus {a}", trials(pair.trials_to_plateau)]
            for pair in comparison.pairs
            if pair.trials_to_plateau is not None
            for a, b in [comparison.labels(pair)]
        ]
        if rows:
            yield _table(["difference", "trials"], rows)
        if "trials-to-plateau.png" in images:
            yield "![Share of runs near the plateau](trials-to-plateau.png)"
            yield "*Share of runs that have come that near by each trial, with Wilson's interval.*"
    extras = [e for pair in comparison.pairs for e in pair.extra_trials_confirmed or ()]
    yield from _extras(comparison, extras)
    if "extra-trials-confirmed.png" in images:
        yield "![Extra trials on confirmed curves](extra-trials-confirmed.png)"
        yield "*Extra trials on the mean confirmed curves; the dotted line is the end of the budget.*"
    if comparison.endpoint == "confirmed":
        yield "### As the searcher saw it"


def _targets(comparison: Comparison, images: Sequence[str]) -> Iterator[str]:
    if comparison.target is None:
        return
    few = " There are too few runs for intervals of the means." if comparison.runs < BOOTSTRAP_FROM else ""
    controls = any(m.is_control for m in comparison.arms.values())
    luck = " A control reaches a target by luck alone." if controls else ""
    yield (
        f"Mean number of trials to a validation target, counting at most {comparison.compared_at} per run, and the "
        f"share of runs that reach it.{few}{luck}"
    )
    arms = comparison.arms
    rows = []
    for i, target in enumerate(next(iter(arms.values())).trials_to_target):
        reached = f"{target.share:.0%} of all runs"
        if target.share == comparison.target_share:
            reached = f"**{reached}** ({'declared' if comparison.plateau else 'the endpoint'})"
        row = [value(target.target, comparison.metric), reached]
        for m in arms.values():
            entry = m.trials_to_target[i]
            row.append(f"{trials(entry.restricted_mean)}; {share(entry.success_rate)}")
        row += [trials(pair.trials_to_target[i].difference) for pair in comparison.pairs]
        rows.append(row)
    pairs = [comparison.labels(pair) for pair in comparison.pairs]
    heads = [m.label for m in arms.values()] + [f"{b} minus {a}" for a, b in pairs]
    yield _table(["target", "reached by at least", *heads], rows)
    if "trials-to-target.png" in images:
        yield "![Share of runs at the target](trials-to-target.png)"
        interval = ", with Wilson's interval" if comparison.pairs else ""
        yield f"*Share of runs that have reached the target by each trial{interval}.*"


def _extra(comparison: Comparison, images: Sequence[str]) -> Iterator[str]:
    found = [e for pair in comparison.pairs for e in pair.extra_trials]
    yield from _extras(comparison, found)
    if found and "extra-trials.png" in images:
        yield "![Extra trials](extra-trials.png)"
        interval = ", with pointwise intervals" if found[0].level is not None else ""
        yield f"*Extra trials on the mean validation curves{interval}; the dotted line is the end of the budget.*"


def _extras(comparison: Comparison, entries: Sequence[ExtraTrials]) -> Iterator[str]:
    """Yield the table of those extra trials that are measured against the first arm, at some n."""
    reference = next(iter(comparison.arms))
    found = [e for e in entries if e.reference == reference]
    if not found:
        return
    name = comparison.arms[reference].label
    horizon = comparison.compared_at
    known = {entry.trial for entry in found[0].by_trial if entry.at_least is not None}
    if horizon not in known:
        yield f"There are no extra trials, because not every run of {name} has a result."
        return
    shown = {1, halfway(comparison), *range(5, horizon, 5)} & known
    if not shown or any(e.by_trial[-1].extra is not None for e in found):  # else it says no more than "≥ 1"
        shown.add(horizon)
    few = " There are too few runs for intervals." if found[0].level is None else ""
    yield (
        f"Extra trials that an arm needs to reach the level of {name} after n trials; n = {halfway(comparison)}, half "
        f"of the trials, was declared beforehand.{few}"
    )
    rows = [[str(n), *(extra(e.by_trial[n - 1], e.level) for e in found)] for n in sorted(shown)]
    heads = [f"{comparison.arms[e.arm].label}, {e.curve} curve" for e in found]
    yield _table(["n", *heads], rows)


def _parity(comparison: Comparison) -> Iterator[str]:
    arms = comparison.arms
    shared = "task, data, network, recipe of the real-valued parameters (except what the study searches of it), epochs"
    if _own_tasks(comparison):
        shared = "data, splits, metric, everything else that the tasks below have in common"
    yield (
        f"One study file gives every arm the same {shared}, searcher, number of runs and trials, time limit and "
        "retries. The following was checked on the records:"
    )
    names = [m.label for m in arms.values()]
    rows = [
        [check.what, "yes" if check.equal else "**no**"]
        + [values(check.values.get(name, "–")) for name in arms]
        for check in comparison.parity
    ]
    yield _table(["", "equal", *names], rows)
    yield "What each arm was given, and how its trials ended:"
    rows = [[words, *(str(counted(m)) for m in arms.values())] for words, counted in COUNTS.items()]
    for words, seconds in SECONDS.items():
        found = [seconds(m) for m in arms.values()]
        rows.append([f"seconds to {words}, median", *("–" if x is None else f"{x:.2f}" for x in found)])
    yield _table(["", *names], rows)
    yield "Search spaces:"
    rows = [
        [m.label, name, values(entry) + ("" if isinstance(entry, tuple | Mapping) else " (fixed)")]
        for m in arms.values()
        for name, entry in m.hyperparameters.items()
    ]
    yield _table(["arm", "hyperparameter", "values"], rows)


def _own_tasks(comparison: Comparison) -> bool:
    """Return whether an arm has a task or a proxy of its own."""
    return any(m.task or m.proxy for m in comparison.arms.values())


def _taken(comparison: Comparison, sources: Mapping[str, int]) -> Iterator[str]:
    if sources:
        parts = listed([f"{number} from `{source}`" for source, number in sources.items()])
        yield (
            f"{sum(sources.values())} of {comparison.trials_done} trials were taken over from another study, which had "
            f"trained them under the same conditions: {parts}. Their seconds are those of the original trainings; "
            "`taken_from` in `trials` names each original."
        )


def _provenance(study: StudyRecord) -> Iterator[str]:
    rows = [["study", f"`{study.id}`"], ["state", study.state.value]]
    rows += [[key, str(found)] for key, found in _flat(study.provenance)]
    rows += [
        [what, f"{when:%Y-%m-%d %H:%M:%S} UTC"]
        for what, when in (("started", study.started_at), ("finished", study.finished_at))
        if when is not None
    ]
    yield _table(["what", "value"], rows)
    if len(machines := _machines(study)) > 1:
        yield (
            f"The trials are from several kinds of machine, {listed(machines)}. Each kind rounds in its own way, so no "
            "single kind reproduces all of these trials."
        )
    yield (
        "Next to this file are `trials` (every trial), `curves` (the curves) and, if there are any, `confirmations` "
        "(the trainings with fresh seeds) and `repeats` (the trainings of trials that have several), each as CSV, "
        "Parquet and JSON; `comparison.json` (every number here), `provenance.json` (including the seeds), "
        "`study.yaml`, and `dictionary.md`, which explains every column and key."
    )


def _machines(study: StudyRecord) -> list[str]:
    """Return the kinds of machine that the study ran on, in order: a kind is what decides how sums are rounded."""
    ran_on = [study.provenance, *study.provenance.get("continued", [])]
    kinds = [(on.get("hardware", {}).get("cpu"), on.get("hardware", {}).get("instructions")) for on in ran_on]
    return [f"{cpu or 'an unknown processor'} ({told or 'unknown'})" for cpu, told in dict.fromkeys(kinds)]


def _again(study: StudyRecord) -> Iterator[str]:
    """Yield the way from a folder with nothing but the export to the same trials."""
    commit = (study.provenance.get("commit") or "").removesuffix("+changes")
    data = study.provenance.get("data", {}).get("set") or TASKS[study.task].dataset
    lines = ["git clone REPOSITORY tunebench && cd tunebench"]
    lines += [f"git checkout {commit}"] if commit else []
    if changes := study.provenance.get("changes"):
        lines.append(
            f"git apply EXPORT/{changes_file(0)}"
            if changes["diff"]
            else f"# the code had changes of {changes['bytes']} bytes, too large to be kept: sha256 {changes['sha256']}"
        )
    lines += ["make install", f".venv/bin/tunebench data fetch {data}"]
    lines += [
        f"# put into the data folder: {found['file']}, sha256 {found['sha256']}"
        for found in (
            study.provenance.get("teacher"),
            *study.provenance.get("teachers", {}).values(),
            study.provenance.get("start"),
        )
        if found
    ]
    lines.append(".venv/bin/tunebench run EXPORT/study.yaml --out again")
    yield (
        "EXPORT stands for this folder, REPOSITORY for the address of tunebench's repository. The same study file with "
        "the same code on the same kind of machine gives the same trials. "
        f"`tunebench export {study.id} --out results` writes this folder again from the database."
    )
    yield "```sh\n" + "\n".join(lines) + "\n```"
    yield f"`study.yaml`:\n\n```yaml\n{study_file(study).strip()}\n```"


def _references(study: StudyRecord) -> Iterator[str]:
    sources = {method: METHODS[method].source for method in study.arms.values() if method in METHODS}
    yield PAPER
    yield "\n".join(f"- `{name}`: {source}" for name, source in sources.items())


def study_file(study: StudyRecord) -> str:
    """Return the study as a file for `tunebench run`, with every default filled in: it has the same id."""
    return write(_plain(study.spec))


def changes_file(i: int) -> str:
    """Return the name of the file with the changes to the code that ran first (0) or went on (1, 2, ...)."""
    return "changes.patch" if i == 0 else f"changes-{i}.patch"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values by name, without a null that says that there is none."""
    for key, found in values.items():
        name = f"{prefix}{key}"
        if isinstance(found, Mapping):
            yield from _flat(found, f"{name} ")
        elif name == "changes diff":
            yield name, changes_file(0) if found else "too large to be kept"
        elif key == "continued":
            for i, ran_on in enumerate(found, start=1):
                yield from _flat({k: v for k, v in ran_on.items() if k != "changes"}, f"continued {i} ")
        elif found is not None or not NONE.search(name):
            yield name, "unknown" if found is None else found


def _plain(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _plain(found) for key, found in content.items()}
    return [_plain(found) for found in content] if isinstance(content, list | tuple) else content


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (heads, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|" + " --- |" * len(heads), *lines[1:]])
