"""The limits on a study's size, checked before anything else is done with it."""

from collections.abc import Mapping

MOST_BYTES = 2**20  # of a file
MOST_ITEMS = 1000  # of a list: as many choices as Ax takes
MOST_KEYS = 100  # of a mapping
MOST_VALUES, MOST_DEPTH = 10_000, 50  # of the whole study
MOST_CHARACTERS = 100  # of a key
MOST_DIGITS = 400  # of a number; the largest real one has 309


def fault(study: object) -> tuple[str, str] | None:
    """Return the first key that holds too much and what is too much, if any. Its time is bounded for any study."""
    left: list[tuple[object, tuple[str, ...]]] = [(study, ())]
    seen = 0
    while left:
        value, path = left.pop()
        seen += 1
        if what := _too_much(value, path):
            return ".".join(path), what
        if seen + len(left) > MOST_VALUES:
            return "", f"holds more than {MOST_VALUES:,} values; give a range instead of a long list"
        if isinstance(value, Mapping):
            left += [(item, (*path, str(key))) for key, item in reversed(list(value.items()))]
        elif isinstance(value, list | tuple):
            left += [(item, (*path, str(i))) for i, item in reversed(list(enumerate(value)))]
    return None


def _too_much(value: object, path: tuple[str, ...]) -> str:
    match value:
        case int() if value.bit_length() > MOST_DIGITS * 3.33:
            return f"is a number with more than {MOST_DIGITS} digits"
        case list() | tuple() | Mapping() if len(path) >= MOST_DEPTH:
            return f"is nested deeper than {MOST_DEPTH}"
        case list() | tuple() if len(value) > MOST_ITEMS:
            way_out = "; give a range" if "space" in path else ""
            return f"lists {len(value):,} values, and at most {MOST_ITEMS:,} are allowed{way_out}"
        case Mapping() if len(value) > MOST_KEYS:
            return f"has {len(value):,} keys, and at most {MOST_KEYS} are allowed"
        case Mapping() if any(len(str(key)) > MOST_CHARACTERS for key in value):
            return f"has a key of more than {MOST_CHARACTERS} characters"
        case _:
            return ""
