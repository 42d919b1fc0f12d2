"""Checkpoints: files from which a training that was stopped goes on."""

import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from trainers import tensors
from trainers.errors import CheckpointError

FORMAT = 2
EVERY_SECONDS = 60.0  # of training that a stop may lose
SHARE = 0.05  # of the time that writing may take: to a slow disk checkpoints are written less often


class Checkpoint:
    """The file that a training is kept in, replaced every minute or less often, and at the training's end.

    The file is complete at any moment: a new one is written beside it and takes its place. It belongs to one training
    and one process. If it cannot be written, a warning says so and the training goes on.

    A `spare` checkpoint is one that no user asked for: it is not written for a training that ends before the first one
    is due, an unusable file counts as missing, and a failed write gives no warning. `fault` is why a write failed.
    """

    def __init__(self, path: Path, *, spare: bool = False) -> None:
        self.path = path
        self.spare = spare
        self._training: Mapping[str, Any] = {}
        self._due = 0.0
        self.fault: str | None = None

    def open(self, training: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the state in the file, None if there is no file. `training` is what decides the training, by name.

        Raises CheckpointError for a file that is damaged, another training's, or in no folder, but not for a spare one.
        """
        self._training = {**training, "torch": str(torch.__version__)}
        self._due = time.monotonic() + EVERY_SECONDS
        try:
            return self._read()
        except CheckpointError:
            if self.spare:
                return None
            raise

    def _read(self) -> dict[str, Any] | None:
        if not self.path.exists():
            if not self.path.parent.is_dir() and not self.spare:
                raise CheckpointError(f"{self.path}: the folder {self.path.parent} does not exist")
            return None
        try:
            contents = read(self.path)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; delete it") from error
        others = ", ".join(_differences(contents["training"], self._training))
        if others:
            raise CheckpointError(
                f"{self.path}: belongs to another training, with {others}; name another file, or delete this one"
            )
        state: dict[str, Any] = contents["state"]
        return state

    def seconds(self) -> float:
        """Return how many seconds the training in the file has taken; 0 if there is none to go on with."""
        try:
            contents = read(self.path, mapped=True)
        except CheckpointError:
            return 0.0
        if contents["training"]["torch"] != torch.__version__:
            return 0.0
        state = contents["state"]
        try:
            results = (result["train_seconds"] + result["evaluate_seconds"] for result in state["results"])
            return float(state["train_seconds"] + sum(results))
        except (LookupError, TypeError, ValueError):
            return 0.0  # going on from the file reports what is wrong

    def due(self, *, end: bool = False) -> bool:
        """Return whether it is time to write; at the training's `end` it is, but not for a spare one never written."""
        return time.monotonic() >= self._due or (end and (not self.spare or self.path.exists()))

    def write(self, state: Mapping[str, Any]) -> None:
        """Write `state`, which is tensors, numbers and strings in dictionaries and lists, and sync it to disk."""
        started = time.monotonic()
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with new.open("wb") as stream:
                torch.save({"format": FORMAT, "training": self._training, "state": state}, stream)
                stream.flush()
                os.fsync(stream.fileno())
            new.replace(self.path)
            _sync_folder(self.path.parent)
        except (OSError, RuntimeError) as error:
            with suppress(OSError):  # the folder cannot be written, or is no folder
                new.unlink(missing_ok=True)
            self.fault = str(error)
            if not self.spare:
                warnings.warn(
                    f"{self.path}: cannot be written: {error}; the training continues", stacklevel=2
                )
        now = time.monotonic()
        self._due = now + max(EVERY_SECONDS, (now - started) / SHARE)

    def remove(self) -> None:
        """Delete the file, if there is one. Raises OSError where it cannot, but not for a spare one."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            if not self.spare:
                raise


def read(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """Return a checkpoint's contents: `training`, which is what decides the training by name, and its `state`.

    Tensors are put on the CPU; `mapped` leaves them on disk, unchecked, for callers who need only the rest. Nothing in
    the file is executed. Raises CheckpointError for a file that is missing, damaged or not a checkpoint of this format.
    """
    try:
        contents = tensors.read(path, mapped=mapped)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such checkpoint") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged, or not a checkpoint ({error})") from error
    match contents:
        case {"format": int(number), "training": {"torch": str()}, "state": {}} if number == FORMAT:
            kept: dict[str, Any] = contents
            return kept
    raise CheckpointError(f"{path}: not a checkpoint in format {FORMAT}, the only one that is read")


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    for name in {**there, **here}:
        theirs, ours = there.get(name), here.get(name)
        if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
            yield from _differences(theirs, ours)
        elif theirs != ours:
            yield f"{name} {theirs} instead of {ours}"


def _sync_folder(folder: Path) -> None:
    """Sync the folder, so that a file's new name in it lasts."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
