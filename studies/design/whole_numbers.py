"""Whole numbers as JSON Schema has them: 20.0 is one, the same as 20."""

from typing import TypeVar

from pydantic import BeforeValidator

T = TypeVar("T")
MOST = 2**53  # where real numbers begin to stand for their neighbours too


def whole(value: T) -> T | int:
    """A whole number that is written as a real one as what it is; anything else as it came."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= MOST else value


AS_WHOLE = BeforeValidator(whole)  # after the bounds in an annotation, or the JSON Schema has none
