"""Finding a study by its id, its name or a part of its id."""

import re
from collections.abc import Iterable, Sequence

DIGITS = re.compile(r"[0-9a-f]{1,8}")  # the digits that end an id, or the first of them


def matching(key: str, studies: Iterable[tuple[str, str]], *, whole: bool = False) -> list[str]:
    """Return the ids that `key` fits, of studies given by id and name.

    They are the study with this id, or else those with this name, or else, unless `whole`, those whose id starts with
    `key` or ends in digits that start with `key`.
    """
    there = list(studies)
    rules = [
        [id for id, _ in there if id == key],
        [id for id, name in there if name == key],
        [id for id, _ in there if not whole and (id.startswith(key) or _ends_in(id, key))],
    ]
    return next(filter(None, rules), [])


def ambiguous(key: str, ids: Sequence[str]) -> str:
    return f"{key!r} matches several studies: {', '.join(ids[:20])}{', ...' * (len(ids) > 20)}; give more of the id"


def _ends_in(id: str, key: str) -> bool:
    return bool(DIGITS.fullmatch(key)) and id.rpartition("-")[2].startswith(key)
