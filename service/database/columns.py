"""Column types whose values come back from SQLite and from PostgreSQL as they went in."""

import io
import math
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import BigInteger, Dialect, Double, Integer, LargeBinary, Text
from sqlalchemy import DateTime as SqlDateTime
from sqlalchemy.types import TypeDecorator

# Compared by code point on both databases: one order everywhere, and a prefix is a range of the index.
Name = Text().with_variant(Text(collation="C"), "postgresql")

# SQLite numbers rows by itself only if the type is INTEGER, which has 64 bits in SQLite.
RowId = BigInteger().with_variant(Integer, "sqlite")


class Real(TypeDecorator[float]):
    """A double, including NaN and infinities.

    SQLite would store NaN as NULL, so there NaN is the text 'NaN'. SQLite orders it above every number, as PostgreSQL
    orders NaN.
    """

    impl = Double
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        # not process_bind_param: its result is converted to a float again
        return _nan_as_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_result_value(self, value: float | str | None, dialect: Dialect) -> float | None:
        return None if value is None else float(value)


class Array(TypeDecorator[np.ndarray[Any, Any]]):
    """Numbers or bytes of any shape: a NumPy file, compressed.

    Bytes are stored as each row's XOR with the row before, as most of a network's signs stay the same between steps.
    """

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: np.ndarray[Any, Any] | None, dialect: Dialect) -> bytes | None:
        if value is None:
            return None
        if value.dtype == np.uint8:
            value = np.concatenate([value[:1], value[1:] ^ value[:-1]])
        file = io.BytesIO()
        np.save(file, value, allow_pickle=False)
        return zlib.compress(file.getvalue())

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> np.ndarray[Any, Any] | None:
        return None if value is None else unpacked(value)


def unpacked(value: bytes) -> np.ndarray[Any, Any]:
    """Return the array that an `Array` column stored as these bytes."""
    array: np.ndarray[Any, Any] = np.load(io.BytesIO(zlib.decompress(value)), allow_pickle=False)
    return np.bitwise_xor.accumulate(array) if array.dtype == np.uint8 else array


class Time(TypeDecorator[datetime]):
    """A moment, to the microsecond, returned in UTC. A time without a zone is refused."""

    impl = SqlDateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a stored time needs a time zone, got {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Message(TypeDecorator[str]):
    """Text from any source, for example a crashed process; what PostgreSQL cannot hold becomes a question mark."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return value.replace("\0", "?").encode(errors="replace").decode()


def _nan_as_text(value: float | None) -> float | str | None:
    return "NaN" if value is not None and math.isnan(value) else value
