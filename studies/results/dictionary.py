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
    "state": "`completed`; `diverged`: a result, the worst there is; `failed`: no result",
    "objective": "the metric on the validation split after the last epoch, in its own unit: accuracy from 0 to 1; of a "
    "trial of several trainings their mean",
    "test_metric": "the metric on the test split, which no searcher saw; likewise",
    "best_so_far": "the best objective of the run up to this trial",
    "suggest_seconds": "wall time to choose the hyperparameters",
    "train_seconds": "wall time of the training, or of all its trainings, without data and evaluation of other trials",
    "attempts": "how often it was tried until it was over: 1 where nothing crashed",
    "seed": "of the training, or the first: data order and initial weights follow from it",
    "split_seed": "of the run: how the data are split follows from it",
    "taken_from": "STUDY/TRIAL, where another study has trained it: seconds and attempts are of then; else empty",
    "hp.*": "a hyperparameter's value; empty where the arm has none of this name",
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
    "trial": "after so many trials of each run",
    "n": "runs that have a value there",
    **CENTRE,
    **{
        f"{what}{end}": f"{words}, mean over the runs where each has a value{part}"
        for what, words in (
            ("held_out", "the test metric of the incumbent network"),
            ("confirmed", "the test metric of the incumbent's hyperparameters with fresh seeds"),
        )
        for end, part in ENDS
    },
    **{
        f"{what}_band{end}": f"the {which} end of the 95 % band of `{what}` that holds at all trials at once, where "
        "each run has a value"
        for what in ("mean", "confirmed")
        for end, which in (("_low", "lower"), ("_high", "upper"))
    },
}
EPOCHS: Mapping[str, str] = {
    **dict.fromkeys(("study", "arm", "method", "run", "trial"), "as in `trials`"),
    "epoch": "counted from 1; of a trial of several trainings those of the first",
    "train_loss": "mean over the epoch's training samples",
    "validation_metric": "the metric on the validation split after it",
    "test_metric": "the metric on the test split after it",
    "validation_top5": "the share whose class is among the five likeliest; empty where the task does not count it",
    "test_top5": "the same on the test split",
    "train_metric": "the metric on the training samples, not augmented; empty where the study does not record it",
    "latent_validation_metric": "the metric on the validation split with latent weights for the binary ones; likewise",
    "latent_test_metric": "the same on the test split; likewise",
    "flip_ratio": "the share of binary weights whose sign a step changed, mean over the epoch's steps; 0 of none",
    "train_seconds": "wall time of its training",
    "evaluate_seconds": "wall time of its evaluation",
    "diverged": "whether the training ended here as a number in it was not finite",
}
CONFIRMATIONS: Mapping[str, str] = {
    "study": "the study's id",
    "arm": "the arm's name",
    "method": "its training method",
    "run": "the run whose incumbent was trained again",
    "trial": "the trial of the run that has these hyperparameters: see `trials`",
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
    "seed": "of this training: data order and initial weights; the same in every arm",
    "state": "`completed` or `diverged`",
    "objective": "as in `trials`, of this training",
    "test_metric": "as in `trials`, of this training",
}
TRACES: Mapping[str, str] = {
    **dict.fromkeys(("study", "arm", "method", "run", "trial"), "as in `trials`"),
    "repeat": "which of the trial's trainings, counted from 1",
    "series": "`flip_ratio`: the share of binary weights that a step flipped, mean over the steps since the row "
    "before; `LAYER[INDEX].WHAT`: of one binary weight its `gradient`, its `sign`, or what its optimizer keeps of it",
    "step": "steps of the training taken until then",
    "value": "the number",
}
DIFFERING_SIGNS: Mapping[str, str] = {
    "study": "the study's id",
    "first": "an arm",
    "second": "the arm after it, whose signs are compared with the first one's: arms are taken two by two, those whose "
    "networks differ left out",
    "run": "the run that both have trained",
    "trial": "their trial, with one seed for both",
    "repeat": "which of the trial's trainings, counted from 1",
    "step": "steps of the training taken until then, at which both have recorded their signs",
    "differing": "how many binary weights have not the same sign in both",
}
PUBLISHED: Mapping[str, str] = {
    "name": "the method, in words",
    "arm": "the study's arm that is to come to it; empty for none",
    "published_test": "the test metric that the source prints: nothing of ours",
    "published_sd": "its standard deviation over the source's trainings; empty where the study's file has none",
    "source": "authors, year and table",
    "n": "runs of the arm with a value where arms are compared",
    **{
        f"{what}{end}": f"ours: the mean over these runs of {words}{part}; empty where there is none"
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
    "proxy": "how the task is scaled down; empty where it is not",
    "start": "the network that every training starts from, null for none",
    "task_label": "the task in words, as a proxy where it is one, with what arms have of their own",
    "metric": "what is measured; objectives are in its own unit",
    "direction": "`maximize` or `minimize`",
    "searcher": "what chose the hyperparameters",
    "seed": "the study's seed",
    "runs": "independent tuning runs of each arm",
    "trials": "trials of a run, its budget",
    "trials_done": "trials that are over, of all arms and runs",
    "trials_planned": "trials that the whole study has",
    "complete": "whether every run has all its trials",
    "compared_at": "the trial after which arms are compared: the budget, or what every run has done",
    "level": "the nominal level of the intervals",
    "resamples": "bootstrap samples of runs",
    "confirmations": "the trainings of incumbents with fresh seeds; null where the study asks for none",
    "confirmations.seeds": "fresh seeds of each incumbent",
    "confirmations.planned": "trainings that the runs which are over need",
    "confirmations.done": "trainings that are over",
    "confirmations.failed": "trainings that crashed more often than they may be retried",
    "confirmations.complete": "whether all runs are over and all their incumbents confirmed",
    "confirmations.seed_sd": "the standard deviation of the test metric of one training over seeds, pooled over the "
    "incumbents at `compared_at`; null where it is not known",
    "endpoint": "what is claimed first: `confirmed`, once all incumbents are, or `validation`",
    "arms": "each arm, by name",
    "arms.*": "one arm",
    "arms.*.label": "its name in running text",
    "arms.*.method": "its training method",
    "arms.*.task": "its own task, beside the study's; only where it has one",
    "arms.*.proxy": "how it trains its task otherwise than the study does; only where it does",
    "arms.*.searcher": "what chooses its hyperparameters; null for a control, which searches none",
    "arms.*.dimensions": "hyperparameters that were searched",
    "arms.*.hyperparameters": "the values each may have: a range, a list of choices, or one",
    "arms.*.runs": "as above",
    "arms.*.trials": "as above",
    "arms.*.initial_trials": "trials of a run without a model",
    "arms.*.model_based_trials": "trials of a run that the model chose",
    "arms.*.sources": "trials by who chose their hyperparameters",
    "arms.*.max_retries": "retries that a crashed trial may have",
    "arms.*.retries": "retries that there were",
    "arms.*.trials_done": "trials that are over",
    "arms.*.completed": "trials that completed",
    "arms.*.diverged": "trials whose loss or network became non-finite",
    "arms.*.failed": "trials that crashed more often than they may be retried",
    "arms.*.suggest_seconds": "median wall time to choose hyperparameters",
    "arms.*.train_seconds": "median wall time to train a trial",
    "arms.*.best_at_budget": "the best objective of each run at `compared_at`",
    "arms.*.test_at_budget": "the test metric of the trials that hold those",
    "arms.*.confirmed_at_budget": "the mean test metric of their hyperparameters with fresh seeds; null where nothing "
    "is confirmed",
    "arms.*.climb": "how much better runs became from trial 1 to `compared_at`; positive is better, whatever the "
    "metric; null where nothing is confirmed",
    "arms.*.climb.n": "runs that are confirmed at both",
    "arms.*.climb.seen": "the mean of their climbs by the best objective so far, with Student's t interval",
    "arms.*.climb.confirmed": "the same by the confirmed test metric",
    "arms.*.climb.luck": "the share of the seen climb that is not confirmed: 1 - confirmed / seen, with its bootstrap "
    "interval; 1 without one for a control, which cannot climb; null where nothing climbed",
    "arms.*.*_at_budget.n": "runs with a value",
    "arms.*.*_at_budget.median": "their median, with its order-statistic interval",
    "arms.*.*_at_budget.mean": "their mean, with Student's t interval",
    "arms.*.*_at_budget.values": "the runs' values",
    "arms.*.tied": "runs whose best objective at `compared_at` more than one trial has, of which the first counts; "
    "only where the study confirms",
    "arms.*.trials_to_target": "how soon runs reach a target, one entry a target",
    "arms.*.trials_to_target[].share": "the share of all runs that reaches this target",
    "arms.*.trials_to_target[].target": "the objective to reach",
    "arms.*.trials_to_target[].reached": "runs of the arm that do",
    "arms.*.trials_to_target[].success_rate": "their share, with Wilson's interval",
    "arms.*.trials_to_target[].restricted_mean": "mean trials needed, counting at most `compared_at`",
    "arms.*.trials_to_target[].still_short": "share of runs that are short of it after each trial (Kaplan-Meier)",
    "arms.*.trials_to_target[].times": "the trial at which each run reaches it, null where it does not",
    "arms.*.trials_to_plateau": "how soon the confirmed curves of its runs get to `plateau.target`; only with "
    "`plateau`",
    "arms.*.trials_to_plateau.reached": "runs of the arm that do",
    "arms.*.trials_to_plateau.success_rate": "their share, with Wilson's interval",
    "arms.*.trials_to_plateau.restricted_mean": "mean trials needed, counting at most `compared_at`, with Student's t "
    "interval of two runs more, one at either end",
    "arms.*.trials_to_plateau.still_short": "share of runs that are short of it after each trial",
    "arms.*.trials_to_plateau.times": "the trial at which each run first gets there, null where it does not",
    "arms.*.best": "its best trial of all; null where none has a result",
    "arms.*.best.run": "the trial's run",
    "arms.*.best.trial": "its number in the run",
    "arms.*.best.objective": "its validation metric",
    "arms.*.best.test_metric": "its test metric",
    "arms.*.best.hyperparameters": "its hyperparameters, every digit",
    "arms.*.best.at_bounds": "those that lie at the `low` or `high` end of their range, within 1 % of it",
    "arms.*.errors": "the commonest errors of its failed trials",
    "arms.*.errors[].error": "an error's first line; errors that differ in numbers alone count as one",
    "arms.*.errors[].trials": "trials that failed of it",
    "ranking": "the arms by the median of `endpoint` over their runs, the best first; whether two are told "
    "apart, `pairs` say",
    "target": "the objective of the endpoint trials-to-target",
    "target_share": "the share of all runs that reaches it",
    "pairs": "every two arms a and b",
    "pairs[].a": "one",
    "pairs[].b": "the other",
    "pairs[].best_at_budget": "their difference in the best objective, a minus b",
    "pairs[].test_at_budget": "the same on the test split",
    "pairs[].confirmed_at_budget": "the same of the confirmed test metrics; null where nothing is confirmed",
    "pairs[].equivalence": "whether the two are confirmed to be similar; null where `seed_sd` is, and before "
    "the end",
    "pairs[].equivalence.margin": "`seed_sd`: differences within ± this count as none",
    "pairs[].equivalence.difference": "the paired difference with its 90 % interval: two one-sided tests at 5 %",
    "pairs[].equivalence.similar": "whether that interval lies within the margin",
    "pairs[].*_at_budget.paired": "run by run: the analysis",
    "pairs[].*_at_budget.unpaired": "without the pairing of runs, for comparison",
    "pairs[].*_at_budget.paired.pairs": "runs that both have",
    "pairs[].*_at_budget.paired.a_better": "of these, where a is better",
    "pairs[].*_at_budget.paired.equal": "where they are equal",
    "pairs[].*_at_budget.paired.b_better": "where b is better",
    "pairs[].*_at_budget.unpaired.p_a_better": "the probability that a run of a is better, ties half",
    "pairs[].*_at_budget.*.hodges_lehmann": "the difference",
    "pairs[].*_at_budget.*.p": "of the signed-rank test, unpaired of the Mann-Whitney test; null before the end. With "
    "`decision`, paired: one that holds after every run at once, unpaired: none",
    "pairs[].*_at_budget.*.p_holm": "the same, adjusted for all pairs",
    "pairs[].trials_to_target": "their difference in trials to each target",
    "pairs[].trials_to_target[].share": "as above",
    "pairs[].trials_to_target[].target": "as above",
    "pairs[].trials_to_target[].difference": "mean trials of b minus those of a",
    "pairs[].extra_trials": "how many trials more one curve needs to get where the other is",
    "pairs[].extra_trials[].arm": "the arm that needs them",
    "pairs[].extra_trials[].reference": "the arm that it is measured by",
    "pairs[].extra_trials[].curve": "`mean` or `median` of the runs",
    "pairs[].extra_trials[].level": "of the intervals; null where runs are too few",
    "pairs[].extra_trials[].by_trial": "one entry a trial of the reference",
    "pairs[].extra_trials[].by_trial[].trial": "where the reference is after so many trials",
    "pairs[].extra_trials[].by_trial[].extra": "trials more; null: not within the budget",
    "pairs[].extra_trials[].by_trial[].low": "lower end of the interval",
    "pairs[].extra_trials[].by_trial[].high": "upper end",
    "pairs[].extra_trials[].by_trial[].at_least": "where `extra` is null, what it is at least",
    "pairs[].trials_to_plateau": "mean trials of b to `plateau.target` minus those of a; only with `plateau`",
    "pairs[].extra_trials_confirmed": "as `extra_trials`, on the mean confirmed curves; only once all are confirmed",
    **{
        f"pairs[].extra_trials_confirmed[].{key}": "as in `extra_trials`"
        for key in ("arm", "reference", "curve", "level", "by_trial")
    },
    **{
        f"pairs[].extra_trials_confirmed[].by_trial[].{key}": "as in `extra_trials`"
        for key in ("trial", "extra", "low", "high", "at_least")
    },
    "plateau": "where the best arm gets, once all is confirmed, with two seeds or more",
    "plateau.arm": "that arm: the first in `ranking`",
    "plateau.value": "the confirmed value at the budget of its median run",
    "plateau.margin": "`seed_sd`",
    "plateau.target": "what is short of the value by the margin: runs are timed until they get there",
    "decision": "in a study that stops when it is decided, and no other: what was decided",
    "decision.a": "its first arm",
    "decision.b": "its second arm, from which the first is to be told apart",
    "decision.endpoint": "in what, at the budget and run by run: `confirmed` or `validation`",
    "decision.after": "how many complete runs that took, or there are",
    "decision.planned": "how many runs there would have been at most",
    "decision.verdict": "`different` or `similar`, each at 5 %; null: not decided",
    "published": "what the study's file says that papers print; only where it does, and no part of any test",
    "published[].name": "the method, in words",
    "published[].arm": "the study's arm that is to come to it, null for none",
    "published[].test": "the test metric that the source prints: nothing of ours",
    "published[].sd": "its standard deviation over the source's trainings; null where the file has none",
    "published[].source": "authors, year and table",
    "parity": "what must be equal between the arms, checked on the records",
    "parity[].what": "what was checked",
    "parity[].equal": "whether it is",
    "parity[].values": "of each arm",
    "….value": "an estimate",
    "….low": "the lower end of its interval, null where there is none",
    "….high": "the upper end",
    "….level": "the interval's level",
}
PROVENANCE: Mapping[str, str] = {
    "protocol": "the version of what makes the trials of a study file",
    "commit": "of the code; `+changes` where files differ from it",
    "changes": "those differences, null for none",
    "changes.file": "where they are, to be applied to the commit; null where they are larger than is kept",
    "changes.bytes": "their size",
    "changes.sha256": "their checksum",
    "python": "the version of Python",
    "versions": "of packages; null: not installed",
    "hardware": "the machine",
    "data": "the data set",
    "data.set": "its name",
    "data.sha256": "the checksum of its file",
    "data.published": "whether it is as published; null where no published checksum is known",
    "teacher": "the network that trainings learn from: file and checksum; null for none",
    "teachers": "the same of tasks that arms have of their own, by task; only where one learns from a network",
    "start": "the network that trainings start from: file and checksum",
    "continued": "the same of each machine that went on with the study",
    "study": "the study's id",
    "digest": "the checksum of the spec and the protocol, the end of the id",
    "state": "of the study",
    "created_at": "when it was submitted",
    "started_at": "when its first driver started",
    "finished_at": "when it was over",
    "spec": "the study file with every default filled in; `study.yaml` is the same",
    "seeds": "every seed",
    "seeds.study": "the study's",
    "seeds.bootstrap": "of the bootstrap samples",
    "seeds.trials": "by arm and run, one a trial, that of its first training: data order and initial weights follow "
    "from it",
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
        "`trials`, `curves` and, where there are any, `confirmations` and `repeats` are each the same table as CSV, "
        "Parquet and JSON. In CSV an empty cell is no value, in JSON null; infinity is `inf` and `-inf`. `*` stands "
        "for a name, `[]` for an entry of a list, `…` for any place. Times are UTC, seconds wall time."
    )
    for file, keys in FILES.items():
        rows = [f"| `{key}` | {meaning} |" for key, meaning in keys.items()]
        yield f"## {file}"
        yield "\n".join(["| key | is |", "| --- | --- |", *rows])
