"""What every column and key of an export means."""

from collections.abc import Iterator, Mapping

# `*` is a name, of an arm, a hyperparameter or a package; `[]` an entry of a list; `…` any place. Keys below a key that
# is not split up here are the study file's or the machine's own
TRIALS: Mapping[str, str] = {
    "study": "the study's id",
    "arm": "the arm's name",
    "method": "its training method",
    "run": "the independent tuning run of the arm, counted from 1",
    "trial": "the training within its run, counted from 1",
    "state": "`completed`; `diverged`: a result, the worst possible; `failed`: no result",
    "objective": "the metric on the validation split after the last epoch, in its own unit (accuracy: 0 to 1); for "
    "a trial of several trainings, their mean",
    "test_metric": "the same on the test split, which no searcher saw",
    "best_so_far": "the best objective of the run up to this trial",
    "suggest_seconds": "wall time to choose the hyperparameters",
    "train_seconds": "wall time of the training epochs, summed over all trainings of the trial, without evaluation",
    "attempts": "attempts until it ended: 1 if nothing crashed",
    "seed": "seed of the training, or of the first one: data order and initial weights follow from it",
    "split_seed": "seed of the run: the split of the data follows from it",
    "taken_from": "STUDY/TRIAL if another study trained it: seconds and attempts are those of that trial; else empty",
    "hp.*": "a hyperparameter's value; empty if the arm has no such hyperparameter",
}
ENDS = (
    ("", ""),
    ("_low", ", lower end of its interval"),
    ("_high", ", upper end of its interval"),
    ("_level", ", level of its interval"),
)
CENTRE = {
    f"{what}{end}": f"the {words} over the runs that have a value{part}"
    for what, words in (("median", "median"), ("mean", "mean"), ("iqm", "interquartile mean"))
    for end, part in ENDS
}
CURVES: Mapping[str, str] = {
    "arm": "the arm's name",
    "trial": "the number of trials of each run after which the values hold",
    "n": "runs that have a value after this trial",
    **CENTRE,
    **{
        f"{what}{end}": f"{words}: mean over the runs, if every run has a value{part}"
        for what, words in (
            ("held_out", "the test metric of the incumbent network"),
            ("confirmed", "the test metric of the incumbent's hyperparameters with fresh seeds"),
        )
        for end, part in ENDS
    },
    **{
        f"{what}_band{end}": f"{which} end of the 95 % band of `{what}`, which holds at all trials at once; empty "
        "unless every run has a value"
        for what in ("mean", "confirmed")
        for end, which in (("_low", "lower"), ("_high", "upper"))
    },
}
EPOCHS: Mapping[str, str] = {
    **dict.fromkeys(("study", "arm", "method", "run", "trial"), "as in `trials`"),
    "epoch": "counted from 1; for a trial of several trainings, the epochs of the first",
    "train_loss": "mean over the epoch's training samples",
    "validation_metric": "the metric on the validation split after the epoch",
    "test_metric": "the metric on the test split after the epoch",
    "validation_top5": "the share of samples whose class is among the five likeliest; empty if not counted",
    "test_top5": "the same on the test split",
    "train_metric": "the metric on the training samples, not augmented; empty if the study does not record it",
    "latent_validation_metric": "the metric on the validation split with latent weights in place of binary "
    "ones; empty if not recorded",
    "latent_test_metric": "the same on the test split",
    "flip_ratio": "the share of binary weights whose sign a step changed, mean over the steps; 0 if there are none",
    "train_seconds": "wall time of the epoch's training",
    "evaluate_seconds": "wall time of the epoch's evaluation",
    "diverged": "whether the training ended here because a number was not finite",
}
CONFIRMATIONS: Mapping[str, str] = {
    "study": "the study's id",
    "arm": "the arm's name",
    "method": "its training method",
    "run": "the run whose incumbent was trained again",
    "trial": "the run's trial with these hyperparameters: see `trials`",
    "number": "which of the study's fresh seeds, counted from 1; the same for all arms and incumbents of a run",
    "seed": "that seed",
    "split_seed": "as in `trials`",
    "state": "as in `trials`",
    "objective": "as in `trials`",
    "test_metric": "as in `trials`",
    "train_seconds": "as in `trials`",
    "attempts": "as in `trials`",
    "taken_from": "as in `trials`",
}
REPEATS: Mapping[str, str] = {
    "study": "the study's id",
    "arm": "the arm's name",
    "method": "its training method",
    "run": "the run of the trial",
    "trial": "the trial, whose objective is the mean of its trainings: see `trials`",
    "number": "which of its trainings, counted from 1",
    "seed": "seed of this training, for data order and initial weights; the same in every arm",
    "state": "`completed` or `diverged`",
    "objective": "as in `trials`, of this training",
    "test_metric": "as in `trials`, of this training",
}
TRACES: Mapping[str, str] = {
    **dict.fromkeys(("study", "arm", "method", "run", "trial"), "as in `trials`"),
    "repeat": "which of the trial's trainings, counted from 1",
    "series": "`flip_ratio`: the share of binary weights that a step flipped, mean over the steps since the "
    "previous row; `LAYER[INDEX].WHAT`: the `gradient` or `sign` of one binary weight, or what its optimizer keeps "
    "for it",
    "step": "steps of the training so far",
    "value": "the number",
}
DIFFERING_SIGNS: Mapping[str, str] = {
    "study": "the study's id",
    "first": "an arm",
    "second": "the next arm, whose signs are compared with the first arm's: arms are taken two by two, leaving out "
    "those whose networks differ",
    "run": "the run that both have trained",
    "trial": "their trial, with one seed for both",
    "repeat": "which of the trial's trainings, counted from 1",
    "step": "steps of the training so far; both arms have recorded their signs there",
    "differing": "binary weights whose signs differ between the two arms",
}
PUBLISHED: Mapping[str, str] = {
    "name": "the method, in words",
    "arm": "the study's arm that corresponds to it; empty if none does",
    "published_test": "the test metric that the source prints: not ours",
    "published_sd": "its standard deviation over the source's trainings; empty if the study file gives none",
    "source": "authors, year and table",
    "n": "runs of the arm that have a value at `compared_at`",
    **{
        f"{what}{end}": f"ours: the mean over these runs of {words}{part}; empty if there is none"
        for what, words in (
            ("test", "the test metric of the incumbent network"),
            ("confirmed", "the test metric of the incumbent's hyperparameters with fresh seeds"),
        )
        for end, part in ENDS
    },
}
COMPARISON: Mapping[str, str] = {
    "study": "the study's id",
    "name": "the study's name",
    "task": "data, network, recipe and metric, by name",
    "proxy": "how the task is scaled down; empty if it is not",
    "start": "the network that every training starts from; null if there is none",
    "task_label": "the task in words: named a proxy if it is one, with the arms' own settings",
    "metric": "what is measured; objectives are in its own unit",
    "direction": "`maximize` or `minimize`",
    "searcher": "the searcher that chooses the hyperparameters",
    "seed": "the study's seed",
    "runs": "independent tuning runs of each arm",
    "trials": "trials of a run, its budget",
    "trials_done": "finished trials of all arms and runs",
    "trials_planned": "trials of the whole study",
    "complete": "whether every run has all its trials",
    "compared_at": "the trial after which arms are compared: the budget, or the most that every run has done",
    "level": "the nominal level of the intervals",
    "resamples": "bootstrap samples of runs",
    "confirmations": "the trainings of incumbents with fresh seeds; null if the study does not confirm",
    "confirmations.seeds": "fresh seeds per incumbent",
    "confirmations.planned": "trainings that the finished runs need",
    "confirmations.done": "finished trainings",
    "confirmations.failed": "trainings that crashed more often than they may be retried",
    "confirmations.complete": "whether all runs are finished and all their incumbents confirmed",
    "confirmations.seed_sd": "the standard deviation of the test metric of one training over seeds, pooled over the "
    "incumbents at `compared_at` of which no training diverged; null if it is not known",
    "endpoint": "the first endpoint: `confirmed` once all incumbents are confirmed, else `validation`",
    "arms": "each arm, by name",
    "arms.*": "one arm",
    "arms.*.label": "its name in running text",
    "arms.*.method": "its training method",
    "arms.*.task": "its own task in place of the study's; only if it has one",
    "arms.*.proxy": "how its training differs from the study's; only if it does",
    "arms.*.searcher": "the searcher that chooses its hyperparameters; null for a control, which searches nothing",
    "arms.*.dimensions": "hyperparameters that were searched",
    "arms.*.hyperparameters": "the possible values of each: a range, a list of choices, or one value",
    "arms.*.runs": "as above",
    "arms.*.trials": "as above",
    "arms.*.initial_trials": "trials per run without a model",
    "arms.*.model_based_trials": "trials per run chosen by the model",
    "arms.*.sources": "number of trials by what chose their hyperparameters",
    "arms.*.max_retries": "retries that a crashed trial may have",
    "arms.*.retries": "retries that took place",
    "arms.*.trials_done": "finished trials",
    "arms.*.completed": "trials that completed",
    "arms.*.diverged": "trials in which a loss, a weight or an output became non-finite",
    "arms.*.failed": "trials that crashed more often than they may be retried",
    "arms.*.suggest_seconds": "median wall time to choose hyperparameters",
    "arms.*.train_seconds": "median wall time to train a trial",
    "arms.*.best_at_budget": "the best objective of each run at `compared_at`",
    "arms.*.test_at_budget": "the test metric of the trials that have those objectives",
    "arms.*.confirmed_at_budget": "the mean test metric of their hyperparameters with fresh seeds; null if nothing "
    "is confirmed",
    "arms.*.climb": "how much better runs became from trial 1 to `compared_at`; positive is better, whatever the "
    "metric; null if nothing is confirmed",
    "arms.*.climb.n": "runs that are confirmed at both of these trials",
    "arms.*.climb.seen": "the mean of their climbs by the best objective so far, with Student's t interval",
    "arms.*.climb.confirmed": "the same by the confirmed test metric",
    "arms.*.climb.luck": "the share of the seen climb that is not confirmed: 1 - confirmed / seen, with its bootstrap "
    "interval; 1 without an interval for a control, which cannot climb; null if nothing climbed",
    "arms.*.*_at_budget.n": "runs with a value",
    "arms.*.*_at_budget.median": "their median, with its order-statistic interval",
    "arms.*.*_at_budget.mean": "their mean, with Student's t interval",
    "arms.*.*_at_budget.values": "the runs' values",
    "arms.*.tied": "runs in which several trials share the best objective at `compared_at`; the first of them counts; "
    "only if the study confirms",
    "arms.*.trials_to_target": "how soon runs reach a target, one entry per target",
    "arms.*.trials_to_target[].share": "the share of all runs that reaches this target",
    "arms.*.trials_to_target[].target": "the objective to reach",
    "arms.*.trials_to_target[].reached": "runs of the arm that reach it",
    "arms.*.trials_to_target[].success_rate": "their share, with Wilson's interval",
    "arms.*.trials_to_target[].restricted_mean": "mean number of trials needed, counting at most `compared_at` per run",
    "arms.*.trials_to_target[].still_short": "share of runs that have not reached it after each trial (Kaplan-Meier)",
    "arms.*.trials_to_target[].times": "the trial at which each run reaches it; null if it does not",
    "arms.*.trials_to_plateau": "how soon the confirmed curves of its runs reach `plateau.target`; only with "
    "`plateau`",
    "arms.*.trials_to_plateau.reached": "runs of the arm that reach it",
    "arms.*.trials_to_plateau.success_rate": "their share, with Wilson's interval",
    "arms.*.trials_to_plateau.restricted_mean": "mean number of trials needed, counting at most `compared_at` per run, "
    "with Student's t interval after adding two imaginary runs: one needs 1 trial, one needs `compared_at`; none "
    "for fewer than 6 runs",
    "arms.*.trials_to_plateau.still_short": "share of runs that have not reached it after each trial",
    "arms.*.trials_to_plateau.times": "the trial at which each run first reaches it; null if it does not",
    "arms.*.best": "its best trial of all; null if all failed or diverged",
    "arms.*.best.run": "the trial's run",
    "arms.*.best.trial": "its number in the run",
    "arms.*.best.objective": "its validation metric",
    "arms.*.best.test_metric": "its test metric",
    "arms.*.best.hyperparameters": "its hyperparameters, every digit",
    "arms.*.best.at_bounds": "those at the `low` or `high` end of their range, within 1 % of it",
    "arms.*.errors": "the most common errors of its failed trials",
    "arms.*.errors[].error": "an error's first line; errors that differ only in numbers count as one",
    "arms.*.errors[].trials": "trials that failed with it",
    "ranking": "the arms by the median of `endpoint` over their runs, the best first; whether two are told "
    "apart is in `pairs`",
    "target": "the objective to reach in the endpoint trials to the target; null if too few runs have a result, or one "
    "that did not diverge",
    "target_share": "the share of all runs that reaches it",
    "pairs": "every pair of arms a and b",
    "pairs[].a": "the first arm",
    "pairs[].b": "the second arm",
    "pairs[].best_at_budget": "their difference in the best objective, a minus b",
    "pairs[].test_at_budget": "the same on the test split",
    "pairs[].confirmed_at_budget": "the same for the confirmed test metrics; null if nothing is confirmed",
    "pairs[].equivalence": "whether the two are confirmed to be similar; null if `seed_sd` is, and before "
    "the end",
    "pairs[].equivalence.margin": "`seed_sd`: differences within ± this margin count as none",
    "pairs[].equivalence.difference": "the paired difference with its 90 % interval: two one-sided tests at 5 %",
    "pairs[].equivalence.similar": "whether that interval lies within the margin",
    "pairs[].*_at_budget.paired": "run by run: the analysis",
    "pairs[].*_at_budget.unpaired": "without the pairing of runs, for comparison",
    "pairs[].*_at_budget.paired.pairs": "runs that both arms have",
    "pairs[].*_at_budget.paired.a_better": "those runs in which a is better",
    "pairs[].*_at_budget.paired.equal": "those in which they are equal",
    "pairs[].*_at_budget.paired.b_better": "those in which b is better",
    "pairs[].*_at_budget.unpaired.p_a_better": "the probability that a run of a is better than one of b, ties half",
    "pairs[].*_at_budget.*.hodges_lehmann": "the difference",
    "pairs[].*_at_budget.*.p": "paired: of the signed-rank test; unpaired: of the Mann-Whitney test; null before the "
    "end. With `decision`, the paired p holds at every number of runs at once, and there is no unpaired p",
    "pairs[].*_at_budget.*.p_holm": "the same, adjusted for all pairs",
    "pairs[].trials_to_target": "their difference in trials to each target",
    "pairs[].trials_to_target[].share": "as above",
    "pairs[].trials_to_target[].target": "as above",
    "pairs[].trials_to_target[].difference": "mean number of trials of b minus that of a",
    "pairs[].extra_trials": "how many more trials one curve needs to reach the level of the other",
    "pairs[].extra_trials[].arm": "the arm that needs them",
    "pairs[].extra_trials[].reference": "the arm whose level is to be reached",
    "pairs[].extra_trials[].curve": "`mean` or `median` of the runs",
    "pairs[].extra_trials[].level": "level of the intervals; null if there are too few runs",
    "pairs[].extra_trials[].by_trial": "one entry per trial of the reference",
    "pairs[].extra_trials[].by_trial[].trial": "the trial of the reference whose level is to be reached",
    "pairs[].extra_trials[].by_trial[].extra": "the extra trials; null: the level is not reached within the budget",
    "pairs[].extra_trials[].by_trial[].low": "lower end of the interval",
    "pairs[].extra_trials[].by_trial[].high": "upper end",
    "pairs[].extra_trials[].by_trial[].at_least": "if `extra` is null, a lower bound of it",
    "pairs[].trials_to_plateau": "mean number of trials of b to `plateau.target` minus that of a; only with `plateau`",
    "pairs[].extra_trials_confirmed": "as `extra_trials`, on the mean confirmed curves of the runs without a "
    "crashed confirmation in either arm; only once all are confirmed; null if there is no such run",
    **{
        f"pairs[].extra_trials_confirmed[].{key}": "as in `extra_trials`"
        for key in ("arm", "reference", "curve", "level", "by_trial")
    },
    **{
        f"pairs[].extra_trials_confirmed[].by_trial[].{key}": "as in `extra_trials`"
        for key in ("trial", "extra", "low", "high", "at_least")
    },
    "plateau": "the level that the best arm reaches, once all incumbents are confirmed with two seeds or more",
    "plateau.arm": "that arm: the first in `ranking`",
    "plateau.value": "the confirmed value at the budget of its median run",
    "plateau.margin": "`seed_sd`",
    "plateau.target": "the level that is worse than the value by the margin: runs are timed until they reach it",
    "decision": "only in a study that stops when it is decided: what was decided",
    "decision.a": "its first arm",
    "decision.b": "its second arm, from which the first is to be told apart",
    "decision.endpoint": "what is compared, at the budget and paired by run: `confirmed` or `validation`",
    "decision.after": "complete runs that the decision took or, if there is none, that are done",
    "decision.planned": "the largest number of runs",
    "decision.verdict": "`different` or `similar`, each at 5 %; null: not decided",
    "published": "what papers print, as the study file gives it; only if it does; in no test",
    "published[].name": "the method, in words",
    "published[].arm": "the study's arm that corresponds to it; null if none does",
    "published[].test": "the test metric that the source prints: not ours",
    "published[].sd": "its standard deviation over the source's trainings; null if the file gives none",
    "published[].source": "authors, year and table",
    "parity": "what must be equal between the arms, checked on the records",
    "parity[].what": "what was checked",
    "parity[].equal": "whether it is equal",
    "parity[].values": "the value of each arm",
    "….value": "an estimate",
    "….low": "the lower end of its interval; null if there is none",
    "….high": "the upper end",
    "….level": "the interval's level",
}
PROVENANCE: Mapping[str, str] = {
    "protocol": "the version of the rules that turn a study file into trials",
    "commit": "commit of the code; with `+changes` if files differ from it",
    "changes": "those differences; null if there are none",
    "changes.file": "the file that has them, to be applied to the commit; null if they are too large to be kept",
    "changes.bytes": "their size",
    "changes.sha256": "their checksum",
    "python": "the version of Python",
    "versions": "versions of packages; null: not installed",
    "hardware": "the machine",
    "data": "the data set",
    "data.set": "its name",
    "data.sha256": "the checksum of its file",
    "data.published": "whether the file is as published; null if no published checksum is known",
    "teacher": "the network that trainings learn from: file and checksum; null if there is none",
    "teachers": "the same for the arms' own tasks, by task; only if one of them learns from a network",
    "start": "the network that trainings start from: file and checksum",
    "continued": "the same for each machine that continued the study",
    "study": "the study's id",
    "digest": "the checksum of the spec and the protocol, the end of the id",
    "state": "the state of the study",
    "created_at": "when it was submitted",
    "started_at": "when its first driver started",
    "finished_at": "when it ended",
    "spec": "the study file with every default filled in, as in `study.yaml`",
    "seeds": "every seed",
    "seeds.study": "the study's seed",
    "seeds.bootstrap": "the seed of the bootstrap samples",
    "seeds.trials": "by arm and run, one seed per trial, that of its first training: data order and initial weights "
    "follow from it",
}
FILES: Mapping[str, Mapping[str, str]] = {
    "trials": TRIALS,
    "curves": CURVES,
    "confirmations": CONFIRMATIONS,
    "epochs": EPOCHS,
    "repeats": REPEATS,
    "traces": TRACES,
    "differing-signs": DIFFERING_SIGNS,
    "published": PUBLISHED,
    "comparison.json": COMPARISON,
    "provenance.json": PROVENANCE,
}


def dictionary() -> str:
    """Return the dictionary as Markdown."""
    return "\n\n".join(_parts()) + "\n"


def _parts() -> Iterator[str]:
    yield "# What the columns and keys mean"
    yield (
        "`trials`, `curves` and, if there are any, `confirmations` and `repeats` are each the same table as CSV, "
        "Parquet and JSON. A missing value is an empty cell in CSV and null in JSON; infinity is `inf` or `-inf`. `*` "
        "stands for a name, `[]` for an entry of a list, `…` for any place. Times are in UTC; seconds are wall time."
    )
    for file, keys in FILES.items():
        rows = [f"| `{key}` | {meaning} |" for key, meaning in keys.items()]
        yield f"## {file}"
        yield "\n".join(["| key | meaning |", "| --- | --- |", *rows])
