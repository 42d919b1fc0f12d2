"""Training methods against a linear classifier on every task: `python tests/benchmarks/methods_table.py [TASK ...]`.

Runs the studies `studies/specs/methods-*.yaml` one after the other in a database of its own, so that after any
interruption the same command resumes; exports each and writes `methods-table.md`. A task whose data set is not in the
data folder is left out and named. This takes hours on two cores; it says how long each study took.

Each run of a method counts with its trial of the best validation metric, and each method with the median of its runs.
The linear classifier gets the network's inputs on the same splits, not augmented: multinomial logistic regression by
scikit-learn, on standardised inputs, with the penalty of PENALTIES that is best on validation. For images with noise
it is the linear map of the least squared error through as many numbers as the autoencoder has in its middle
(reduced-rank regression), with a penalty chosen in the same way.

A task that learns from a teacher here has the data folder's or, without one there, a teacher that is scaled down as the
study is (`scaled_teachers.py`) and put beside the studies, not into the data folder.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scaled_teachers import data_with_teachers

import studies
from service.settings import Settings
from studies.design.spec import StudySpec, load
from studies.running.trial import assign
from trainers.data import DATASETS
from trainers.errors import DataError
from trainers.feeding.feed import Part, feed
from trainers.feeding.network_inputs import pixels, prepare
from trainers.seeds import derive
from trainers.tasks import TASKS, Proxy, Task
from trainers.training.metrics import METRICS
from trainers.training_spec import Machine, TrainingSpec

SPECS = Path(studies.__file__).parent / "specs"
PENALTIES = [10.0**exponent for exponent in range(-1, 6)]
Map = Callable[[np.ndarray], np.ndarray]


def inputs_and_targets(
    task: Task, proxy: Proxy, split_seed: int, data_dir: Path
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the network's inputs and targets of the training, validation and test samples, without augmentation."""
    place = torch.device("cpu")
    source = feed(TrainingSpec(task=task, proxy=proxy, split_seed=split_seed), Machine(data_dir=data_dir))
    scale = pixels(task.recipe, source.mean, source.std, place)
    parts: tuple[Part, ...] = ("training", "validation", "test")
    for number, part in enumerate(parts):
        noise = torch.Generator().manual_seed(derive(split_seed, "linear", number))
        batches = [prepare(batch, task.recipe, scale, noise, training=False) for batch in source.scored(part)]
        yield (
            torch.cat([inputs.flatten(1) for inputs, _ in batches]),
            torch.cat([targets.flatten(1) if targets.dim() > 1 else targets for _, targets in batches]),
        )


def linear(task: Task, proxy: Proxy, split_seed: int, data_dir: Path) -> dict[str, float]:
    """Return validation and test metric of the linear map with the best penalty of PENALTIES, and that penalty."""
    from sklearn.exceptions import ConvergenceWarning  # takes a second, which collecting tests should not
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.preprocessing import StandardScaler

    train, validation, test = inputs_and_targets(task, proxy, split_seed, data_dir)
    task = proxy.of(task)
    scaler = StandardScaler().fit(train[0].numpy())
    known, answers = scaler.transform(train[0].numpy()), train[1].numpy()
    scored = [(scaler.transform(inputs.numpy()), targets) for inputs, targets in (validation, test)]
    metric = METRICS[task.metric]
    best: dict[str, float] = {}
    for penalty in PENALTIES:
        if task.metric == "PSNR":
            answer = _through_the_middle(task, Ridge(alpha=penalty).fit(known, answers).predict, known)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                answer = LogisticRegression(C=1 / penalty, max_iter=300).fit(known, answers).predict_proba
        scores = []
        for inputs, targets in scored:
            outputs = torch.from_numpy(answer(inputs))
            scores.append(float(metric.of_all(metric.of_samples(outputs, targets))))
        if not best or scores[0] > best["validation"]:
            best = {"validation": scores[0], "test": scores[1], "penalty": penalty}
    return best


def _through_the_middle(task: Task, whole: Map, inputs: np.ndarray) -> Map:
    """Return `whole` reduced to the best linear code with as many numbers as the autoencoder has for an image."""
    from sklearn.decomposition import PCA

    assert task.image_size is not None
    code = PCA((task.image_size // 8) ** 2 * task.width // 4).fit(whole(inputs))
    return lambda inputs: code.inverse_transform(code.transform(whole(inputs)))


def linear_of(spec: StudySpec, out: Path, data_dir: Path) -> dict[str, float]:
    """Return medians over the study's runs, whose splits differ. Keep results for studies that share data and
    splits."""
    task = TASKS[spec.task]
    # the width only if the map depends on it, so that tasks on the same data share their results
    width = (spec.proxy.width or task.width) if task.metric == "PSNR" else None
    proxy = Proxy(train_fraction=spec.proxy.train_fraction, image_size=spec.proxy.image_size, width=width)
    found = []
    for run in range(1, spec.runs + 1):
        split_seed = assign(spec, spec.arms[0], run, (), data_dir=data_dir).training.split_seed
        of = [task.dataset, task.recipe.pixels, task.recipe.noise, proxy.changes, split_seed, PENALTIES]
        kept = out / "linear" / f"{derive(json.dumps(of)):016x}.json"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(linear(task, proxy, split_seed, data_dir)))
        found.append(json.loads(kept.read_text()))
    return {what: float(np.median([one[what] for one in found])) for what in ("validation", "test")}


def rows(spec: StudySpec, out: Path, data_dir: Path) -> Iterator[tuple[str, ...]]:
    """Run the study and fit the linear classifier; return a row per arm, the linear classifier first."""
    folder = data_with_teachers(data_dir, out, spec)
    subprocess.run(
        ["tunebench", "run", str(SPECS / f"{spec.name}.yaml"), "--out", str(out / spec.study_id)],
        env=os.environ
        | {
            "TUNEBENCH_DATABASE_URL": f"sqlite:///{out.resolve()}/methods-table.db",
            "TUNEBENCH_DATA_DIR": str(folder),
        },
        check=True,
    )
    comparison = json.loads((out / spec.study_id / "comparison.json").read_text())
    return rows_of(spec.task_label, comparison, linear_of(spec, out, folder))


def rows_of(task: str, comparison: dict[str, Any], bar: dict[str, float]) -> Iterator[tuple[str, ...]]:
    """Return the rows of one study: the linear classifier's metrics, `bar`, and each arm's in `comparison.json`."""
    unit = 1.0 if comparison["metric"] == "PSNR" else 100.0
    yield task, "linear", f"{unit * bar['validation']:.1f}", f"{unit * bar['test']:.1f}", ""
    for name, arm in comparison["arms"].items():
        validation, test = (arm[what]["median"]["value"] for what in ("best_at_budget", "test_at_budget"))
        ahead = unit * (test - bar["test"])
        yield "", name, f"{unit * validation:.1f}", f"{unit * test:.1f}", f"{ahead:+.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", nargs="*", help="only these, e.g. spoken-digits")
    parser.add_argument(
        "--data", type=Path, default=Settings.from_environment().data_dir, help="the data folder"
    )
    parser.add_argument("--out", type=Path, default=Path("results/methods-table"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines = ["| task | method | validation | test | ahead of linear |", "|---|---|---|---|---|"]
    for file in sorted(SPECS.glob("methods-*.yaml")):
        spec = load(file)
        if arguments.task and spec.task not in arguments.task:
            continue
        try:
            DATASETS[TASKS[spec.task].dataset].check_data(arguments.data)
        except DataError as error:
            print(f"{spec.task} is left out: {error}", file=sys.stderr)
            continue
        began = time.perf_counter()
        lines += [f"| {' | '.join(row)} |" for row in rows(spec, arguments.out, arguments.data.resolve())]
        print(f"{spec.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
        (arguments.out / "methods-table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
