"""The decision of a study that may stop before all of its runs: `stop_when: decided`.

The question is fixed beforehand: the paired difference of the first two arms at the budget, in the confirmed test
metric if the study confirms its incumbents, else in the best validation objective. It is tested after each complete
run, in the order of the runs, by a test that holds at any number of looks (`sequence`). A run is complete once all
arms have done all of its trials and confirmations. So the answer depends only on the records of the first complete
runs, whatever finished first, and later runs do not change it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from studies.analysis import sequence, stats
from studies.analysis.compared import Decision, Split
from studies.analysis.confirmation import Worth, seed_sds, worth
from studies.analysis.curves import Floats, of_study
from studies.analysis.power import DECIDED_FROM
from studies.design.spec import StudySpec
from studies.records import ConfirmationRecord, TrialRecord

SIMILAR_LEVEL = 0.9  # of the interval that must lie within the margin: two one-sided tests at 5 %


def decision(
    spec: StudySpec, trials: Sequence[TrialRecord], confirmations: Sequence[ConfirmationRecord] = ()
) -> Decision:
    """Return what is decided between the first two arms, after the fewest complete runs that decide it, else after all.

    Different, at 5 %, or similar, at 5 %: within one training's standard deviation over seeds, if that is known.
    """
    worths = {arm.name: worth(spec, arm.name, trials, confirmations) for arm in spec.arms}
    complete = _complete(spec, worths, confirmations)
    a, b = (arm.name for arm in spec.arms[:2])
    endpoint: Split = "validation" if spec.confirm is None else "confirmed"
    worst = -np.inf if spec.task_definition().direction == "maximize" else np.inf
    curves = of_study(spec, trials)
    ends, results = [], []
    for arm in (a, b):
        best = curves[arm].best[:complete, -1]
        results.append(~np.isnan(best))
        values = best if spec.confirm is None else worths[arm].confirmed[:complete, -1]
        ends.append(np.where(np.isnan(best), worst, values))
    found = stats.differences(*ends)
    apart, margins = sequence.told_apart(found), seed_sds(worths.values(), spec.trials)
    for run in range(1, complete + 1):
        # fewer runs bound no interval to report; an arm without any result has failed, and so has the study
        different = (
            run >= DECIDED_FROM and bool(apart[run - 1]) and all(there[:run].any() for there in results)
        )
        alike = similar(found[:run], float(margins[run - 1]))
        if different or alike:
            return Decision(a, b, endpoint, run, spec.runs, "different" if different else "similar")
    return Decision(a, b, endpoint, complete, spec.runs, None)


def up_to_decision(
    spec: StudySpec, trials: Sequence[TrialRecord], confirmations: Sequence[ConfirmationRecord] = ()
) -> tuple[StudySpec, list[TrialRecord], list[ConfirmationRecord]]:
    """Return the study up to its `decision` if it stops there, else all of it."""
    found = decision(spec, trials, confirmations) if spec.stop_when else None
    runs = found.after if found and found.over else spec.runs
    return first_runs(runs, spec, trials, confirmations)


def first_runs(
    runs: int,
    spec: StudySpec,
    trials: Sequence[TrialRecord],
    confirmations: Sequence[ConfirmationRecord],
) -> tuple[StudySpec, list[TrialRecord], list[ConfirmationRecord]]:
    """Return the study as if it had asked for this number of runs.

    What later runs have done is left out: how much that is depends on the machines.
    """
    return (
        spec.model_copy(update={"runs": runs}),
        [each for each in trials if each.run <= runs],
        [each for each in confirmations if each.run <= runs],
    )


def _complete(
    spec: StudySpec, worths: Mapping[str, Worth], confirmations: Sequence[ConfirmationRecord]
) -> int:
    """Return how many runs, from the first, have all their trials and confirmations."""
    seeds = spec.confirm.seeds if spec.confirm else 0
    confirmed = Counter((each.arm, each.run) for each in confirmations)
    for run in range(spec.runs):
        for arm, of in worths.items():
            stands = of.stands[run]
            if stands[-1] < 0 or confirmed[arm, run + 1] < seeds * len({*stands.tolist()} - {0}):
                return run
    return spec.runs


def similar(differences: Floats, margin: float) -> bool:
    """Return whether, after some run, the differences are shown to lie within ± `margin`.

    Never if that is NaN, or without a difference.
    """
    if np.isnan(margin) or not differences.size:
        return False
    bound = 2 / (1 - SIMILAR_LEVEL)
    least = min(sequence.capital(margin + differences).max(), sequence.capital(margin - differences).max())
    return bool(least >= bound)
