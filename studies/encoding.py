"""Numbers and records as JSON, which has no NaN and no infinity: NaN becomes null, infinities "inf" and "-inf"."""

import json
import math
from collections.abc import Mapping
from typing import Any


def number(value: float) -> float | str | None:
    """Return the number as a JSON value."""
    return None if math.isnan(value) else value if math.isfinite(value) else str(value)


def finite(content: Any) -> Any:
    """Return `content` with every float in it as a JSON value, keys as text and tuples as lists."""
    match content:
        case float():
            return number(content)
        case Mapping():
            return {str(key): finite(value) for key, value in content.items()}
        case list() | tuple():
            return [finite(value) for value in content]
        case _:
            return content


def to_json(content: Any) -> bytes:
    """Return `content` as JSON for people to read: indented, in UTF-8."""
    return (json.dumps(finite(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()
