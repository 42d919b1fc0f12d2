"""A task's samples, batch by batch on the training's device: held there, or read from disk while it computes."""

import math
from collections.abc import Generator
from dataclasses import replace
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from trainers import devices
from trainers.data import DATASETS, ImageFiles, ImageSplits, Samples, Splits
from trainers.data.splits import held_out, scaled_down, without_validation
from trainers.errors import UnusableError
from trainers.feeding import decoders
from trainers.feeding.loader import Reading, evaluation_batches, training_batches
from trainers.seeds import derive
from trainers.training_spec import Machine, TrainingSpec

# input numbers in a scored batch: a CPU's caches should hold what the layers compute from them
SCORED_AT_ONCE, SCORED_AT_ONCE_ON_CPU = 2**22, 2**18
Batches = Generator[Samples, None, None]
Part = Literal["training", "validation", "test"]


class Feed(Protocol):
    """The source of a training's batches. Images are bytes; `mean` and `std` (channels,) say how to scale them.

    An epoch takes the training samples in a new random order, in whole batches; the samples left over are skipped in
    that epoch. A batch depends only on the seeds, its epoch and its number, so that a training can continue in the
    middle of an epoch with `start`. Closing a generator of batches stops what reads for it.
    """

    input_shape: tuple[int, ...]
    classes: int
    mean: Tensor | None
    std: Tensor | None
    samples: int  # to train on
    steps_an_epoch: int
    decoder: str | None  # of training images, with its version, if it is not Pillow

    def training(self, epoch: int, start: int = 0) -> Batches:
        """Yield the batches of `epoch`, from number `start` on. Epochs count from 1 and are asked for in order."""

    def scored(self, part: Part) -> Batches:
        """Yield all samples of `part` in order, in batches; the last may be smaller."""


def feed(spec: TrainingSpec, machine: Machine) -> Feed:
    """Return the feed of a training.

    Raises DataError, and ValueError if no batch is filled, if the device cannot be used, or if the decoder is unknown,
    not installed, or has nothing to decode.
    """
    task, proxy = spec.scaled, spec.proxy
    device = devices.find(machine.device)
    decoders.check_decodes(machine.decoder, task)
    data = DATASETS[task.dataset]
    drawn_by = derive(spec.split_seed, "train-fraction")
    if data.files is not None:
        files = data.files(machine.data_dir, spec.split_seed)
        if proxy.validation:
            files = replace(files, train=_joined(files.train, files.validation), validation=files.test)
        if proxy.train_fraction:
            files = _share(files, proxy.train_fraction, drawn_by)
        workers = machine.workers
        if workers is None:
            workers = 0 if device.type == "cpu" else torch.get_num_threads()
        assert task.image_size is not None
        batch_size = task.recipe.batch_size
        reading = Reading(workers=workers, device=device, decoder=machine.decoder)
        return Streamed(files, batch_size, task.image_size, spec.seed, reading)
    splits = data.splits(machine.data_dir, spec.split_seed)
    if proxy.validation:
        splits = without_validation(splits)
    if proxy.train_fraction or proxy.image_size:
        splits = scaled_down(splits, proxy.train_fraction, proxy.image_size, drawn_by)
    return InMemoryFeed(splits, task.recipe.batch_size, spec.seed, device)


class InMemoryFeed:
    """A feed that holds all samples on the device and puts batches together there."""

    decoder: str | None = None

    def __init__(self, splits: Splits, batch_size: int, seed: int, device: torch.device) -> None:
        self._train, validation, test = (
            Samples(part.inputs.to(device), part.targets.to(device))
            for part in (splits.train, splits.validation, splits.test)
        )
        self._parts: dict[Part, Samples] = {"training": self._train, "validation": validation, "test": test}
        self._batch_size, self._device = batch_size, device
        self._order = torch.Generator().manual_seed(derive(seed, "data-order"))
        self._epoch, self._shuffled = 0, torch.empty(0, dtype=torch.int64)
        self.input_shape, self.classes = splits.input_shape, splits.classes
        self.mean, self.std = splits.mean, splits.std
        self.samples = len(self._train.targets)
        self.steps_an_epoch = _steps(self.samples, batch_size)

    def training(self, epoch: int, start: int = 0) -> Batches:
        while self._epoch < epoch:
            self._shuffled = torch.randperm(self.samples, generator=self._order)
            self._epoch += 1
        batches = torch.split(self._shuffled.to(self._device), self._batch_size)
        for batch in batches[start : self.steps_an_epoch]:
            yield Samples(self._train.inputs[batch], self._train.targets[batch])

    def scored(self, part: Part) -> Batches:
        numbers = SCORED_AT_ONCE_ON_CPU if self._device.type == "cpu" else SCORED_AT_ONCE
        at_once = max(1, numbers // math.prod(self.input_shape))
        for batch in zip(*(torch.split(tensor, at_once) for tensor in self._parts[part]), strict=True):
            yield Samples(*batch)


class Streamed:
    """A feed of images on disk: random parts to train on, centres to score.

    `reading` says how the training images are read. Scored images are Pillow's, so that scores can be compared with
    others' (Quist 2023, reproducibility statement).
    """

    def __init__(
        self, files: ImageSplits, batch_size: int, image_size: int, seed: int, reading: Reading
    ) -> None:
        self._files, self._seed = files, seed
        self._batch_size, self._image_size = batch_size, image_size
        self._reading, self._device = reading, reading.device
        self.decoder: str | None = decoders.version(reading.decoder)
        self.input_shape: tuple[int, ...] = (3, image_size, image_size)
        self.classes = files.classes
        self.mean: Tensor | None = files.mean
        self.std: Tensor | None = files.std
        self.samples = len(files.train)
        self.steps_an_epoch = _steps(self.samples, batch_size)

    def training(self, epoch: int, start: int = 0) -> Batches:
        return self._placed(
            training_batches(
                self._files.train,
                batch_size=self._batch_size,
                image_size=self._image_size,
                seed=self._seed,
                epoch=epoch,
                start=start,
                reading=self._reading,
            )
        )

    def scored(self, part: Part) -> Batches:
        parts = {
            "training": self._files.train,
            "validation": self._files.validation,
            "test": self._files.test,
        }
        return self._placed(
            evaluation_batches(
                parts[part],
                batch_size=self._batch_size,
                image_size=self._image_size,
                reading=replace(self._reading, decoder="pillow"),
            )
        )

    def _placed(self, batches: Generator[tuple[Tensor, Tensor], None, None]) -> Batches:
        try:
            for images, targets in batches:
                yield Samples(
                    images.to(self._device, non_blocking=True), targets.to(self._device, non_blocking=True)
                )
        finally:
            batches.close()


def _steps(samples: int, batch_size: int) -> int:
    if samples < batch_size:
        raise UnusableError(f"{samples} training samples do not fill a batch of {batch_size}")
    return samples // batch_size


def _joined(*parts: ImageFiles) -> ImageFiles:
    """Join images of one folder."""
    names, targets = (np.concatenate([getattr(part, of) for part in parts]) for of in ("names", "targets"))
    return ImageFiles(parts[0].folder, names, targets)


def _share(files: ImageSplits, fraction: float, seed: int) -> ImageSplits:
    """Keep a share of every class's training images, drawn by `seed`. Raises ValueError if a class has none left."""
    train = files.train
    kept = held_out(torch.from_numpy(train.targets), fraction, seed)[1].numpy()
    part = ImageFiles(train.folder, train.names[kept], train.targets[kept])
    if len(set(part.targets.tolist())) < files.classes:
        raise UnusableError(f"train_fraction {fraction} leaves classes without a training sample")
    return replace(files, train=part)
