"""Spoken digits as their authors publish them, one wav file each: FSDD and AudioMNIST. No speaker is in two splits."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainers.data.archives import Download, holding, is_hidden, unpacked
from trainers.data.arrays import read_arrays, read_tensors, write_arrays
from trainers.data.log_mel import log_mel
from trainers.data.splits import Samples, Splits, divisor
from trainers.data.wav import read_wav
from trainers.errors import DataError

FRAMES, BANDS = 20, 40
ARRAYS = ("features", "digits", "speakers")
NAME = re.compile(r"(\d)_(\w+?)_(\d+)\.wav")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recordings:
    """FSDD or AudioMNIST. Every speaker says every digit `repetitions` times, in `files` of the parent of `folder`."""

    name: str
    folder: str
    files: str
    speakers: int
    repetitions: int
    validation_speakers: int
    test_speakers: int
    most_bytes: int  # to unpack
    download: Download

    @property
    def command(self) -> str:
        return f"tunebench data fetch {self.name}"

    def path(self, root: Path) -> Path:
        """Return the data set's file under the data folder `root`."""
        return root / self.name / "log-mel.npz"

    def fetch(self, root: Path, source: Path | None = None) -> Path:
        """Write the recordings' features under `root` and return their file; without `source`, keep an intact one.

        The recordings come from their official address, for which no checksum is published, or from `source`, an
        archive or a folder. Every speaker must have said every digit equally often. Raises DataError, which names the
        file.
        """
        file = self.path(root)
        if source is None and file.exists():
            read_arrays(file, ARRAYS, self.command)
            return file
        with unpacked(source, [self.download], root, self.command, self.most_bytes) as folder:
            arrays = self._read(self._around(folder))
        write_arrays(file, dict(zip(ARRAYS, arrays, strict=True)))
        read_tensors.cache_clear()
        return file

    def load(self, root: Path, split_seed: int) -> Splits:
        """Return inputs (samples, 20 frames, 40 bands), split by `split_seed` with whole speakers in each split.

        Each recording loses the mean of each band and is divided by its standard deviation, which removes what
        microphone and voice add throughout; silence becomes zeros. Then each feature is standardised with the training
        samples' mean and standard deviation. Raises DataError if the file is missing or damaged.
        """
        import torch  # takes seconds, and asking for a path need not wait

        inputs, digits, speakers = read_tensors(self.path(root), ARRAYS, self.command)
        order = torch.randperm(self.speakers, generator=torch.Generator().manual_seed(split_seed))
        held = self.validation_speakers, self.test_speakers
        parts = torch.split(order, [self.speakers - sum(held), *held])
        train, validation, test = (torch.isin(speakers, part).nonzero().flatten() for part in parts)
        inputs = inputs - inputs.mean(1, keepdim=True)
        inputs = inputs / divisor(inputs.std((1, 2), keepdim=True))
        inputs = (inputs - inputs[train].mean(0)) / divisor(inputs[train].std(0))
        return Splits(
            train=Samples(inputs[train], digits[train]),
            validation=Samples(inputs[validation], digits[validation]),
            test=Samples(inputs[test], digits[test]),
            classes=10,
        )

    def _around(self, folder: Path) -> Path:
        """Return what holds the folder of recordings. Raises DataError, also if `folder` is that folder itself."""
        whole = folder.resolve()
        if whole.name == self.folder and any(whole.parent.glob(self.files)):
            raise DataError(f"{folder}: holds only the recordings; name the folder above it, {whole.parent}")
        return holding(folder, self.folder)

    def _read(self, folder: Path) -> tuple[NDArray[np.generic], ...]:
        """Return features, digits and speakers (as numbers, in the order of their names) of all recordings."""
        files = sorted(file for file in folder.glob(self.files) if not is_hidden(file.name))
        names = [NAME.fullmatch(file.name) for file in files]
        if None in names:
            raise DataError(f"{files[names.index(None)]}: is not named DIGIT_SPEAKER_NUMBER.wav")
        said = [(int(name[1]), name[2]) for name in names if name is not None]
        speakers = sorted({speaker for _, speaker in said})
        if len(speakers) != self.speakers:
            raise DataError(f"{folder}: has recordings of {len(speakers)} speakers, not {self.speakers}")
        counts = Counter(said)
        for digit, speaker in product(range(10), speakers):
            if counts[digit, speaker] != self.repetitions:
                raise DataError(
                    f"{folder}: has {counts[digit, speaker]} recordings of {digit} by {speaker}, "
                    f"not {self.repetitions}"
                )
        features = [log_mel(*read_wav(file), BANDS) for file in files]
        silent = [file.name for file, frames in zip(files, features, strict=True) if not np.ptp(frames)]
        if silent:
            warnings.warn(
                f"{folder}: {len(silent)} of {len(files)} recordings are silent: {', '.join(silent[:5])}",
                stacklevel=3,
            )
        lengths = np.array([len(frames) for frames in features])
        return (
            resample(np.concatenate(features), lengths, FRAMES),
            np.array([digit for digit, _ in said]),
            np.array([speakers.index(speaker) for _, speaker in said]),
        )


def resample(x: NDArray[np.float32], lengths: NDArray[np.int64], frames: int) -> NDArray[np.float32]:
    """Resample sequences of `lengths`, laid end to end in `x` (total, features), to (sequences, frames, features).

    The first and last frames stay; those between are interpolated linearly at equal distances.
    """
    starts = np.cumsum(lengths) - lengths
    positions = np.linspace(0, lengths - 1, frames, axis=1)
    left = np.minimum(positions.astype(np.int64), np.maximum(lengths - 2, 0)[:, None])
    right = np.minimum(left + 1, lengths[:, None] - 1)
    share = (positions - left).astype(np.float32)[:, :, None]
    rows = starts[:, None]
    result: NDArray[np.float32] = x[rows + left] * (1 - share) + x[rows + right] * share
    return result


FSDD = Recordings(
    name="fsdd",
    folder="recordings",
    files="recordings/*.wav",
    speakers=6,
    repetitions=50,
    validation_speakers=1,
    test_speakers=1,
    most_bytes=1 << 27,  # it has 30 MB
    download=Download(
        "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz"
    ),
)

AUDIOMNIST = Recordings(
    name="audiomnist",
    folder="data",
    files="data/*/*.wav",
    speakers=60,
    repetitions=50,
    validation_speakers=12,
    test_speakers=12,
    most_bytes=6 << 30,  # it has 2 GB
    download=Download("https://github.com/soerenab/AudioMNIST/archive/refs/heads/master.zip"),
)
