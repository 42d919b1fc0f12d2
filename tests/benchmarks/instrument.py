"""What a tuning study on a task can tell apart: `python tests/benchmarks/instrument.py [TASK] [--proxy MAPPING]`.

A comparison of tuning is worth its trainings if binary weights must be learnt and if hyperparameters move the objective
by more than seeds do. Measured on `Size.splits` splits, with `Size.seeds` seeds each: the linear classifier of
`methods_table.py`, networks whose binary weights never flip (Bop with a threshold that no gradient reaches; the
real-valued parameters train as always), and each method of METHODS at its published setting. Measured on one split,
with `Size.repeats` seeds each: `Size.settings` points of a scrambled Sobol sequence over the method's default space.

A training that diverged counts with the worst objective there is, as in a study. The task's section of
`docs/instrument.md` is rewritten; trainings are kept in `results/instrument`, so that after any interruption the same
command resumes.
"""

import argparse
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
import yaml
from methods_table import linear
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy import stats

from service.settings import Settings
from studies.design.methods import METHODS
from studies.design.searchers import Observation, suggest_sobol
from studies.design.space import Float
from studies.design.spec import PROTOCOL
from trainers.hyperparameters import Value
from trainers.seeds import derive
from trainers.tasks import REAL_TASKS, TASKS, Proxy, Task
from trainers.training.loop import train
from trainers.training_spec import Machine, TrainingSpec, fingerprint

PAGE = Path(__file__).parents[2] / "docs" / "instrument.md"
PROCESSES = 2
NEVER_FLIPS: dict[str, Value] = {"gamma": 1e-3, "tau": 1e3}
# Quist 2023, section 4.1; of latent SGD as in specs/quist2023/table2-cifar10-birealnet20.yaml, where it is explained
PUBLISHED: dict[str, dict[str, Value]] = {
    "gradient-filter": {"alpha": 1e-3, "gamma": 0.1},
    "latent-sgd": {
        "learning_rate": 1.0,
        "initial_magnitude": 0.1,
        "gamma": 0.1,
        "weight_decay": 1e-4,
        "scaling": True,
        "clipping": True,
    },
}
FROZEN_BELOW, LEAST_SIGNAL = 8.0, 0.7  # in standard deviations of one training; a share of variance
RESAMPLES = 4_000
Numbers = NDArray[np.float64]
Kept = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured: splits and seeds on each, settings of a method and trainings of each."""

    splits: int = 8
    seeds: int = 3
    settings: int = 32
    repeats: int = 4


@dataclass(frozen=True, slots=True)
class Components:
    """Variances of one-way random effects: `between` the settings, `within` a setting over its seeds."""

    between: float
    within: float

    def signal(self, repeats: int = 1) -> float:
        """Return the setting's share of the variance of a mean of `repeats` trainings, in [0, 1]; 0 without
        variance."""
        whole = self.between + self.within / repeats
        return self.between / whole if whole else 0.0


def components(objectives: Numbers) -> Components:
    """Return the components of objectives (settings, repeats) by the analysis of variance; `between` is at least 0."""
    within = float(objectives.var(axis=1, ddof=1).mean())
    of_means = float(objectives.mean(axis=1).var(ddof=1))
    return Components(max(of_means - within / objectives.shape[1], 0.0), within)


def signal_interval(objectives: Numbers, repeats: int, seed: int = 0) -> tuple[float, float]:
    """Return the signal's 95 % percentile interval, from RESAMPLES bootstrap samples of settings with all their
    repeats."""
    drawn = np.random.default_rng(seed).integers(len(objectives), size=(RESAMPLES, len(objectives)))
    within = objectives.var(axis=1, ddof=1)[drawn].mean(axis=1)
    of_means = objectives.mean(axis=1)[drawn].var(axis=1, ddof=1)
    between = np.maximum(of_means - within / objectives.shape[1], 0.0)
    whole = between + within / repeats
    low, high = np.quantile(
        np.divide(between, whole, out=np.zeros_like(whole), where=whole > 0), (0.025, 0.975)
    )
    return float(low), float(high)


def deviation(metrics: Numbers) -> float:
    """Return one training's standard deviation over seeds, from metrics (splits, seeds), pooled within the splits."""
    return math.sqrt(float(metrics.var(axis=1, ddof=1).mean()))


def mean_interval(values: Numbers) -> tuple[float, float, float]:
    """Return the mean of (splits,) and its 95 % interval by Student's t."""
    mean = float(values.mean())
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


@dataclass(frozen=True, slots=True)
class Plan:
    """The trainings that measure a task; a training without a method is the linear classifier's fit."""

    task: Task
    proxy: Proxy
    size: Size

    def on_splits(self, optimizer: str | None, values: Mapping[str, Value]) -> list[list[TrainingSpec]]:
        """Return the same setting on every split, with seeds of its own on each: (splits, seeds)."""
        spec = TrainingSpec(task=self.task, proxy=self.proxy, method=optimizer, hyperparameters=dict(values))
        return [
            [
                replace(spec, split_seed=derive("instrument", i), seed=derive("instrument", i, j))
                for j in range(self.size.seeds if optimizer else 1)
            ]
            for i in range(self.size.splits)
        ]

    @property
    def linear(self) -> list[list[TrainingSpec]]:
        return self.on_splits(None, {})

    @property
    def frozen(self) -> list[list[TrainingSpec]]:
        return self.on_splits("bop", NEVER_FLIPS)

    def published(self, method: str) -> list[list[TrainingSpec]]:
        return self.on_splits(METHODS[method].optimizer, PUBLISHED[method])

    def settings(self, method: str) -> list[list[TrainingSpec]]:
        """Return points of the method's default space on the first split: (settings, repeats)."""
        first = self.on_splits(METHODS[method].optimizer, {})[0][0]
        rows, history = [], []
        for i in range(self.size.settings):
            seed = derive("instrument", method, "sobol")
            found = suggest_sobol(METHODS[method].space, history, seed, maximize=True, initial_trials=0)
            history.append(Observation(found.hyperparameters, None))
            seeds = [derive("instrument", method, i, j) for j in range(self.size.repeats)]
            rows.append([replace(first, hyperparameters=found.hyperparameters, seed=s) for s in seeds])
        return rows

    @property
    def all(self) -> list[TrainingSpec]:
        tables = [self.linear, self.frozen]
        tables += [table(method) for method in PUBLISHED for table in (self.published, self.settings)]
        return [spec for rows in tables for row in rows for spec in row]


def key(spec: TrainingSpec) -> str:
    """Return a digest of what decides a training's numbers: the spec, the versions, the kind of processor."""
    named = fingerprint(spec, Machine(data_dir=Path()))
    decided = [PROTOCOL, torch.__version__, torch.backends.cpu.get_cpu_capability(), sorted(named.items())]
    return f"{derive(repr(decided)):016x}"


def trained(spec: TrainingSpec, data_dir: Path) -> dict[str, Any]:
    """Return the metrics after the last epoch, the mean share of flips, and CPU seconds, on one thread."""
    began = process_time()
    if spec.method is None:
        scores = linear(spec.task, spec.proxy, spec.split_seed, data_dir)
        return {"validation": scores["validation"], "test": scores["test"]}
    epochs = list(train(spec, Machine(data_dir=data_dir, threads=1)))
    return {
        "validation": epochs[-1].validation_metric,
        "test": epochs[-1].test_metric,
        "diverged": epochs[-1].diverged,
        "flips": float(np.mean([epoch.flip_ratio for epoch in epochs])),
        "seconds": process_time() - began,
    }


def measured(specs: Sequence[TrainingSpec], file: Path, data_dir: Path) -> Kept:
    """Return the results of `trained` by `key`; those already in `file`, a JSON line each, are taken from there."""
    kept: Kept = {}
    text = file.read_text() if file.exists() else ""
    for line in text.splitlines():
        if line.endswith("}"):  # not the line that was being written when it was stopped
            entry = json.loads(line)
            kept[entry.pop("key")] = entry
    left = {key(spec): spec for spec in specs if key(spec) not in kept}
    if not left:
        return kept
    file.parent.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that follow, also for scikit-learn
    with (
        ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool,
        file.open("a") as stream,
    ):
        stream.write("\n" if text and not text.endswith("\n") else "")
        futures = {pool.submit(trained, spec, data_dir): name for name, spec in left.items()}
        told = Console(stderr=True)
        for done in track(as_completed(futures), "trainings", len(futures), console=told):
            name = futures[done]
            kept[name] = done.result()
            stream.write(json.dumps({"key": name, **kept[name]}) + "\n")
            stream.flush()
    return kept


@dataclass(frozen=True, slots=True)
class Measurement:
    """A plan with its results."""

    plan: Plan
    kept: Kept

    def of(self, rows: Iterable[Iterable[TrainingSpec]], what: str) -> Numbers:
        """Return `what` of every training, in the shape of `rows`; accuracies are in per cent."""
        unit = 100.0 if what in ("validation", "test") and self.plan.task.metric == "accuracy" else 1.0
        return unit * np.array([[self.kept[key(spec)][what] for spec in row] for row in rows], dtype=float)

    def lines(self) -> list[str]:
        if self.of(self.plan.frozen, "flips").any():
            raise RuntimeError(f"signs flipped under Bop with {NEVER_FLIPS}: they are not frozen")
        return [*self._quality(), "", *self._spread(), "", *self._thirds(), "", *self._criteria()]

    def _quality(self) -> list[str]:
        plan, unit = self.plan, "dB" if self.plan.task.metric == "PSNR" else "%"
        rows = {"linear classifier": plan.linear, "frozen random signs": plan.frozen}
        for method, values in PUBLISHED.items():
            said = ", ".join(f"{name} {_word(value)}" for name, value in values.items())
            rows[f"`{method}`: {said}"] = plan.published(method)
        heading = f"{unit}, {plan.size.splits} splits x {plan.size.seeds} seeds"
        lines = [f"| {heading} | validation | test | SD of one training |", "|---|---|---|---|"]
        for name, specs in rows.items():
            validation, test = self.of(specs, "validation"), self.of(specs, "test")
            spread = f"{deviation(validation):.2f}" if len(specs[0]) > 1 else ""
            lines.append(f"| {name} | {validation.mean():.2f} | {test.mean():.2f} | {spread} |")
        return lines

    def _spread(self) -> list[str]:
        size = self.plan.size
        tables = {method: self.plan.settings(method) for method in PUBLISHED}
        found = {method: self.of(specs, "validation") for method, specs in tables.items()}
        parts = {method: components(objectives) for method, objectives in found.items()}
        rows = {
            "SD between settings": [f"{math.sqrt(part.between):.2f}" for part in parts.values()],
            "SD within a setting": [f"{math.sqrt(part.within):.2f}" for part in parts.values()],
        }
        for repeats in (1, 2, 4):
            said = []
            for method, part in parts.items():
                low, high = signal_interval(found[method], repeats)
                said.append(f"{part.signal(repeats):.2f} ({low:.2f} to {high:.2f})")
            rows["signal" if repeats == 1 else f"signal with `repeats: {repeats}`"] = said
        for name, share in (("best setting", 1.0), ("median setting", 0.5), ("worst setting", 0.0)):
            rows[name] = [f"{np.quantile(y.mean(axis=1), share):.1f}" for y in found.values()]
        diverged = [self.of(specs, "diverged").sum() for specs in tables.values()]
        rows["trainings that diverged"] = [f"{count:.0f}" for count in diverged]
        seconds = [self.of(self.plan.published(method), "seconds").min() for method in tables]
        rows["CPU seconds of the fastest training"] = [f"{each:.2f}" for each in seconds]
        heading = f"{size.settings} settings x {size.repeats} seeds"
        lines = [f"| {heading} | {' | '.join(f'`{method}`' for method in tables)} |", "|---|---|---|"]
        return lines + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]

    def _thirds(self) -> list[str]:
        """Return mean objectives of the settings in each third of each range, on the range's own scale."""
        lines = [
            "| mean where it lies in the | lower | middle | upper third of its range |",
            "|---|---|---|---|",
        ]
        for method in PUBLISHED:
            rows = self.plan.settings(method)
            means = self.of(rows, "validation").mean(axis=1)
            for name, dimension in METHODS[method].space.items():
                if not isinstance(dimension, Float):
                    continue
                at = np.array([dimension.quantile(float(row[0].hyperparameters[name])) for row in rows])
                third = np.minimum((3 * at).astype(int), 2)
                cells = [f"{means[third == i].mean():.1f}" if (third == i).any() else "" for i in range(3)]
                lines.append(f"| {name} of `{method}` | {' | '.join(cells)} |")
        return lines

    def _criteria(self) -> list[str]:
        plan, lines = self.plan, []
        bar, frozen = self.of(plan.linear, "test")[:, 0], self.of(plan.frozen, "validation").mean()
        for method in PUBLISHED:
            rows = plan.published(method)
            ahead, low, high = mean_interval(self.of(rows, "test").mean(axis=1) - bar)
            said = f"{ahead:+.2f} points on test ({low:+.2f} to {high:+.2f}, over {len(bar)} splits)"
            lines.append(_criterion(f"`{method}` beats the linear classifier", f"by {said}", low > 0))
            objectives = self.of(rows, "validation")
            below = (objectives.mean() - frozen) / deviation(objectives)
            claim = f"frozen signs lie {FROZEN_BELOW:g} SDs or more below `{method}`"
            lines.append(_criterion(claim, f"{below:.1f}", below >= FROZEN_BELOW))
        signal = components(self.of(plan.settings("latent-sgd"), "validation")).signal()
        claim = f"the signal of `latent-sgd` is at least {LEAST_SIGNAL:g}"
        return [*lines, _criterion(claim, f"{signal:.2f}", signal >= LEAST_SIGNAL)]


def _criterion(claim: str, found: str, holds: bool) -> str:
    return f"- {'Holds' if holds else 'Does not hold'}: {claim} ({found})."


def _word(value: Value) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else f"{value:g}"


def with_section(page: str, title: str, lines: Sequence[str]) -> str:
    """Return `page` with the second-level section of that title replaced, or appended if it has none."""
    head, *sections = page.rstrip("\n").split("\n## ")
    section = "\n".join([title, "", *lines]) + "\n"
    at = next((i for i, each in enumerate(sections) if each.splitlines()[0] == title), len(sections))
    sections[at : at + 1] = [section]
    return "\n\n## ".join(part.rstrip("\n") for part in [head, *sections]) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks = [name for name in TASKS if name not in REAL_TASKS]
    parser.add_argument("task", nargs="?", default="spoken-digits", choices=tasks, metavar="TASK")
    parser.add_argument("--proxy", default="{}", help="as in a study file, e.g. '{epochs: 5, width: 8}'")
    for option in ("--splits", "--seeds", "--settings", "--repeats"):
        parser.add_argument(option, type=int, default=getattr(Size(), option.removeprefix("--")))
    data = Settings.from_environment().data_dir
    parser.add_argument("--data", type=Path, default=data, help="the data folder")
    parser.add_argument("--out", type=Path, default=Path("results/instrument"))
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args(arguments)
    size = Size(**{name: getattr(given, name) for name in Size.__dataclass_fields__})
    proxy = Proxy(**yaml.safe_load(given.proxy))
    plan = Plan(TASKS[given.task], proxy, size)
    kept = measured(plan.all, given.out / f"{given.task}.jsonl", given.data.resolve())
    lines = Measurement(plan, kept).lines()
    given.page.write_text(with_section(given.page.read_text(), proxy.label(given.task), lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
