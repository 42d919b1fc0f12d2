"""Data sets, one file each. A new one is a file with `path`, `fetch` and `load`, and a line here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainers.data import spoken_digits
from trainers.data.splits import Samples, Splits

__all__ = ["DATASETS", "DataSet", "Samples", "Splits"]


@dataclass(frozen=True, slots=True)
class DataSet:
    """`path` of the data under a data folder; `fetch` puts it there, from a place on disk where one is given;
    `load` reads it and splits it by a seed. Both raise DataError."""

    summary: str
    path: Callable[[Path], Path]
    fetch: Callable[[Path, Path | None], Path]
    load: Callable[[Path, int], Splits]


DATASETS: dict[str, DataSet] = {
    "spoken-digits": DataSet(
        summary="3,000 recordings of ten spoken digits as MFCC frames (FSDD, CC BY-SA 4.0), 2.6 MB",
        path=spoken_digits.path,
        fetch=spoken_digits.fetch,
        load=spoken_digits.load,
    ),
}
