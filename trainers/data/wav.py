"""Sounds in wav files: PCM of 8, 16 or 32 bits a sample, with a plain, an extensible or a stream's header."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainers.errors import DataError

RATES = 8_000, 384_000  # samples a second: the least for a band up to 4 kHz, and the most that recorders have
LONGEST_SECONDS = 60
MOST_BYTES = 256 << 20
PCM, EXTENSIBLE = 1, 0xFFFE
PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
ENDLESS = 0x7FFFF000  # a size of this or more, and maybe 0, means a stream of unknown length
KINDS = {1: "u1", 2: "<i2", 4: "<i4"}  # by bytes a sample


class Format(NamedTuple):
    """A header's numbers: `channels`, samples a second in each, bytes a sample."""

    channels: int
    rate: int
    width: int


def read_wav(file: Path) -> tuple[NDArray[np.float64], int]:
    """Return samples (n,) in [-1, 1), averaged over channels, and their number per second. Raises DataError."""
    try:
        with file.open("rb") as stream:
            contents = stream.read(MOST_BYTES + 1)
        sound, announced, (channels, rate, width) = _sound(contents)
    except (OSError, ValueError, struct.error) as error:
        raise DataError(f"{file}: is not a complete wav file: {error}") from error
    low, high = RATES
    if not low <= rate <= high:
        bound = f"at least {low} are needed" if rate < low else f"at most {high} are allowed"
        raise DataError(f"{file}: has {rate} samples a second; {bound}")
    if width not in KINDS:
        raise DataError(f"{file}: has {8 * width} bits a sample, not 8, 16 or 32")
    if announced == 0:
        raise DataError(f"{file}: has no sound")
    if len(sound) != announced:
        raise DataError(f"{file}: has {len(sound)} bytes of sound, but its header says {announced}")
    values = np.frombuffer(sound, dtype=KINDS[width]).reshape(-1, channels)
    if len(values) > LONGEST_SECONDS * rate:
        raise DataError(f"{file}: lasts {len(values) / rate:.0f} s; at most {LONGEST_SECONDS} s are allowed")
    return (values.mean(1) - (128 if width == 1 else 0)) / 2.0 ** (8 * width - 1), rate


def _sound(contents: bytes) -> tuple[bytes, int, Format]:
    """Return the bytes of sound, their announced number (for a stream without end, the actual one) and the format."""
    if len(contents) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
    if len(contents) < 12:
        raise ValueError("it ends too early")
    if contents[:4] != b"RIFF" or contents[8:12] != b"WAVE":
        raise ValueError("it does not begin with RIFF and WAVE")
    form = None
    for name, size, start in _chunks(contents):
        if name == b"fmt ":
            form = _format(contents[start : start + size])
        if name != b"data":
            continue
        if form is None:
            raise ValueError("its sound comes before its format")
        (whole,) = struct.unpack_from("<I", contents, 4)
        if size >= ENDLESS or (size == 0 and whole + 8 != len(contents)):
            size = len(contents) - start
        size -= size % (form.channels * form.width)
        return contents[start : start + size], size, form
    raise ValueError("it ends before its sound")


def _chunks(contents: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield every chunk's name, announced size and offset of its contents."""
    offset = 12
    while offset + 8 <= len(contents):
        name, size = struct.unpack_from("<4sI", contents, offset)
        yield name, size, offset + 8
        offset += 8 + size + size % 2


def _format(words: bytes) -> Format:
    kind, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", words)
    if kind == EXTENSIBLE and words[24:40] == PCM_GUID:
        kind = PCM
    if kind != PCM:
        raise ValueError(f"unknown format {kind}, not PCM")
    width = (bits + 7) // 8
    if channels == 0 or width == 0 or block != channels * width:
        raise ValueError(f"{channels} channels of {bits} bits do not make {block} bytes")
    return Format(channels, rate, width)
