"""Whole numbers as JSON Schema defines them: 20.0 is one, the same as 20."""

from typing import TypeVar

from pydantic import BeforeValidator

T = TypeVar("T")
MOST = 2**53  # above it, floats cannot represent every whole number


def whole(value: T) -> T | int:
    """Return a whole number written as a float as an int, and anything else unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= MOST else value


AS_WHOLE = BeforeValidator(whole)  # must follow the bounds in an annotation, or the JSON Schema loses them
