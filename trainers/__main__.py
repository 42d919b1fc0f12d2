"""Train one network from the shell: `python -m trainers TASK METHOD --set NAME=VALUE`."""

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.errors import CheckpointError, DataError
from trainers.hyperparameters import Value
from trainers.record import Record
from trainers.tasks import REAL_TASKS, TASKS, TEACHERS, Proxy
from trainers.training_spec import Machine, TrainingSpec

if TYPE_CHECKING:
    from trainers.training.results import EpochResult


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command: progress goes to stderr, a JSON line for each epoch and for the outcome to stdout.

    Return 0; 2 for bad input; 130 if Ctrl-C stopped it.
    """
    options = _parser().parse_intermixed_args(arguments)
    try:
        spec = _spec(options)
        machine = Machine(
            data_dir=options.data,
            device=options.device,
            workers=options.workers,
            decoder=options.decoder,
            compile=options.compile,
        )
        outcome = _train(spec, machine, options.checkpoint, _save(options, spec))
    except (CheckpointError, DataError, ValueError) as error:
        print(f"trainers: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ntrainers: stopped; {_how_to_go_on(options.checkpoint)}", file=sys.stderr)
        return 130
    _print_json(
        {
            "task": spec.task.name,
            "proxy": spec.proxy.changes,
            "method": spec.method,
            "hyperparameters": spec.hyperparameters,
            "seed": spec.seed,
            "split_seed": spec.split_seed,
            "start": spec.start and str(spec.start),
            "device": machine.device,
            "decoder": machine.decoder,
            "compile": machine.compile,
            **outcome,
        }
    )
    return 0


def _spec(options: argparse.Namespace) -> TrainingSpec:
    """Return the training that the options describe. Raises ValueError."""
    tasks = {**TASKS, **TEACHERS}
    if options.task not in tasks:
        raise ValueError(f"unknown task {options.task!r}; known are {', '.join(tasks)}")
    hyperparameters = dict(_setting("--set", text) for text in options.set)
    proxy = Proxy(
        epochs=options.epochs,
        train_fraction=options.train_fraction,
        width=options.width,
        image_size=options.image_size,
        first_step=options.first_step,
        batch_size=options.batch_size,
        first_step_learning_rate=options.first_step_learning_rate,
        first_step_weight_decay=options.first_step_weight_decay,
        first_step_decay=options.first_step_decay,
        first_step_optimizer=options.first_step_optimizer,
        first_step_real_learning_rate=options.first_step_real_learning_rate,
        validation=options.validation,
        without=options.without,
        precision=options.precision,
    )
    return TrainingSpec(
        task=tasks[options.task],
        proxy=proxy.without_defaults(tasks[options.task]),
        method=options.method,
        hyperparameters=hyperparameters,
        seed=options.seed,
        split_seed=options.split_seed,
        teacher=options.teacher,
        start=options.start,
        record=Record.of(
            dict(_setting("--record", text if "=" in text else f"{text}=true") for text in options.record)
        ),
    )


def _save(options: argparse.Namespace, spec: TrainingSpec) -> Path | None:
    """Return the file for the trained weights, if any. Raises ValueError for a teacher that exists or is changed."""
    from trainers.training import teachers

    save: Path | None = options.save
    if save is None and options.task in TEACHERS:
        if spec.proxy.changes or spec.hyperparameters:
            what = "a proxy of a teacher" if spec.proxy.changes else "a teacher with other hyperparameters"
            raise ValueError(f"{what} needs --save PATH: tasks would take it for the teacher itself")
        save = teachers.path(options.data, options.task)
        if save.exists():
            raise ValueError(f"{save}: already exists; delete it, or name another file with --save")
    return save


def _train(
    spec: TrainingSpec, machine: Machine, checkpoint: Path | None, save: Path | None
) -> dict[str, float | bool | None]:
    """Train, report every epoch, and return the outcome by name."""
    from trainers.training.checkpoints import (
        Checkpoint,  # imported late: --help need not wait for torch
    )
    from trainers.training.loop import train

    recipe = spec.scaled.recipe
    if spec.method is None and recipe.first_step and spec.proxy.epochs:
        raise ValueError(
            f"--epochs {spec.proxy.epochs} sets the epochs of the second step, which needs a METHOD; to train the "
            "first step alone, set its epochs with --first-step"
        )
    epochs = recipe.epochs_by(spec.method)
    what = ", ".join(filter(None, [spec.proxy.label(spec.task.name), spec.method]))
    kept = Checkpoint(checkpoint) if checkpoint else None
    train_seconds = evaluate_seconds = 0.0
    for result in train(spec, machine, checkpoint=kept, save=save):
        _print_json(_plain(result))
        train_seconds += result.train_seconds
        evaluate_seconds += result.evaluate_seconds
        print(
            f"\r{what}: epoch {result.epoch}/{epochs}, "
            f"loss {result.train_loss:.4f}, validation {spec.task.metric} {result.validation_metric:.4f}",
            end="",
            file=sys.stderr,
            flush=True,
        )
    print(file=sys.stderr)
    return {
        "objective": result.validation_metric,
        "test_metric": result.test_metric,
        "validation_top5": result.validation_top5,
        "test_top5": result.test_top5,
        "diverged": result.diverged,
        "train_seconds": train_seconds,
        "evaluate_seconds": evaluate_seconds,
    }


def _plain(result: "EpochResult") -> dict[str, Any]:
    """Return an epoch's values for its JSON line, without those that were not recorded."""
    values = asdict(replace(result, series=()))
    for name in ("train_metric", "latent_validation_metric", "latent_test_metric"):
        if values[name] is None:
            del values[name]
    del values["series"]
    return values | ({"series": [each.plain() for each in result.series]} if result.series else {})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainers", description="Train one network and print its results as lines of JSON."
    )
    parser.add_argument("task", metavar="TASK", help="one of " + ", ".join(TASKS))
    parser.add_argument(
        "method",
        metavar="METHOD",
        nargs="?",
        help="the binary weights' optimizer, e.g. gradient-filter; left out for a TASK whose network has no "
        "binary weights ("
        + ", ".join(dict.fromkeys([*TEACHERS, *REAL_TASKS]))
        + "), and to train the first of two steps alone",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a hyperparameter of the method or the recipe, e.g. batch_size=100; can be repeated",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of initial weights and sample order (default 0)"
    )
    parser.add_argument(
        "--split-seed", type=int, default=0, help="seed of the training/validation/test split (default 0)"
    )
    parser.add_argument(
        "--record",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="what else to record in the epochs' lines: flips, weights=NUMBER and signs, each every=STEPS; "
        "train_metric; latent_metric; images=NUMBER; can be repeated",
    )
    _add_machine_and_files(parser)
    _add_proxy(parser)
    return parser


def _add_machine_and_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=_folder,
        default=os.environ.get("TUNEBENCH_DATA_DIR") or "~/.cache/tunebench",
        help="data folder (default: TUNEBENCH_DATA_DIR or ~/.cache/tunebench)",
    )
    parser.add_argument(
        "--device", default="cpu", help="torch's name of the device: cpu, cuda, cuda:1 (default cpu)"
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the step with torch, on a GPU into CUDA graphs: the first step takes a minute, others are faster",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="PATH",
        help="save the training in this file every minute; if the file exists, continue from it",
    )
    parser.add_argument(
        "--start",
        type=Path,
        metavar="PATH",
        help="start from the network in another training's checkpoint, with new optimizers",
    )
    parser.add_argument(
        "--workers",
        type=int,
        help="processes (DALI: threads) that decode images (default on a GPU: as many as CPU threads; else 0)",
    )
    parser.add_argument(
        "--decoder",
        default="pillow",
        help="decoder of training images on disk: pillow, or dali if it is installed (default pillow)",
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        metavar="PATH",
        help="weights of the teacher that the TASK learns from (default: teachers/NAME.pt in the data folder)",
    )
    parser.add_argument(
        "--save",
        type=Path,
        metavar="PATH",
        help="save the trained weights in this file (default for a teacher: where tasks look for it)",
    )


def _add_proxy(parser: argparse.ArgumentParser) -> None:
    proxy = parser.add_argument_group(
        "changes to the task", "a task that is scaled down is a proxy: its results are not the task's"
    )
    proxy.add_argument("--epochs", type=int, help="number of epochs, fewer or more than the task's")
    proxy.add_argument("--batch-size", type=int, metavar="SAMPLES", help="samples in a batch")
    proxy.add_argument(
        "--train-fraction", type=float, metavar="SHARE", help="share of the training samples, in (0, 1]"
    )
    proxy.add_argument("--width", type=int, help="width of the network, at most the task's")
    proxy.add_argument(
        "--image-size", type=int, metavar="SIDE", help="side of the images, at most the task's"
    )
    proxy.add_argument(
        "--first-step",
        type=int,
        metavar="EPOCHS",
        help="epochs with real-valued weights before the binary ones: two-step training, or without a METHOD "
        "the first step alone, for other trainings to start from; 0 is training in one step",
    )
    for name in ("learning-rate", "weight-decay"):
        proxy.add_argument(
            f"--first-step-{name}", type=float, metavar="X", help="for the weights that become binary"
        )
    proxy.add_argument(
        "--first-step-decay", metavar="NAME", help="decay of learning rates in the first step, e.g. linear"
    )
    proxy.add_argument(
        "--first-step-optimizer", metavar="NAME", help="for the weights that become binary: adam or sgd"
    )
    proxy.add_argument(
        "--first-step-real-learning-rate", type=float, metavar="X", help="for all other parameters"
    )
    proxy.add_argument(
        "--validation",
        metavar="none",
        help="train on all published training images and score only the test images, as papers' tables do",
    )
    proxy.add_argument(
        "--without", metavar="PART", help="part of the network to leave out (an ablation), e.g. scale"
    )
    proxy.add_argument(
        "--precision", metavar="TYPE", help="type of all numbers: float32 or float64 (default float32)"
    )


def _folder(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(
            "there is no home folder; name another, or set TUNEBENCH_DATA_DIR"
        ) from error


def _how_to_go_on(checkpoint: Path | None) -> str:
    if checkpoint is None:
        return "nothing was saved, because there was no --checkpoint PATH"
    if not checkpoint.exists():
        return f"nothing was saved in {checkpoint} yet"
    return f"the same command continues from {checkpoint}"


def _setting(option: str, text: str) -> tuple[str, Value]:
    """Parse the `name=value` given to `option`; the value becomes a number, true or false, or else stays a word."""
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise ValueError(f"{option} takes NAME=VALUE, got {text!r}")
    if value in ("true", "false"):
        return name, value == "true"
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value


def _print_json(values: dict[str, Any]) -> None:
    """Print one line; numbers that are not finite, which JSON cannot write, become null."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
    print(json.dumps(finite), flush=True)


if __name__ == "__main__":
    sys.exit(main())
