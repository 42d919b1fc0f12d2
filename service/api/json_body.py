"""A reader of JSON bodies that is stricter than `json` and says where each fault is."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from fastapi import Request

from service.api.problems import MAX_FAULTS, MAX_TEXT, Refused

MAX_DEPTH = 50
MAX_VALUES = 50_000  # counted by commas and opening brackets; a study file has some hundreds
MAX_DIGITS = 400  # of a whole number; the largest float has 309


class _Twice(dict[str, Any]):
    """An object in which some keys are given more than once."""

    given_twice: tuple[str, ...] = ()


async def body(request: Request) -> bytes:
    """Return the whole body, which must be declared as JSON; a dependency. Raises Refused."""
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.lower().replace(" ", "").replace('"', "")
    if media_type.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise Refused("unsupported-media-type", "send the body as Content-Type: application/json, in UTF-8")
    return await request.body()


def read(content: bytes) -> Any:
    """Return the JSON value. Raises Refused, naming the first faults.

    Faults are what RFC 8259 does not define (NaN), leaves open (duplicate keys, half a surrogate pair) or does not
    limit (numbers, depth, number of values), and NUL, which PostgreSQL cannot store.
    """
    if sum(map(content.count, (b",", b"[", b"{"))) > MAX_VALUES:  # before parsing them takes time and memory
        raise Refused("invalid-request", faults=[("", f"the body must have at most {MAX_VALUES} values")])
    try:
        value = json.loads(content.decode(), parse_int=_whole, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise Refused(
            "invalid-request", faults=[("", f"the body is not UTF-8 at byte {error.start}")]
        ) from error
    except json.JSONDecodeError as error:
        fault = f"the body is not JSON at line {error.lineno} column {error.colno}: {error.msg}"
        raise Refused("invalid-request", faults=[("", fault)]) from error
    except RecursionError as error:
        raise Refused(
            "invalid-request", faults=[("", f"the body is nested deeper than {MAX_DEPTH}")]
        ) from error
    if faults := list(islice(_faults(value, []), MAX_FAULTS)):
        raise Refused("invalid-request", faults=faults)
    return value


def _whole(digits: str) -> float:
    return int(digits) if len(digits) <= MAX_DIGITS else math.inf


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    times = Counter(key for key, _ in pairs)
    twice = _Twice(found)
    twice.given_twice = tuple(key for key in found if times[key] > 1)
    return twice


def _faults(value: object, path: list[str | int]) -> Iterator[tuple[str, str]]:
    """Yield each fault's path and message. `path` leads to `value`; it becomes a string only if there is a fault."""
    match value:
        case float() if not math.isfinite(value):
            yield _text(path), "must be a finite number"
        case str() if not _is_text(value):
            yield _text(path), "must be text without NUL characters and unpaired surrogates"
        case dict() | list() if len(path) >= MAX_DEPTH:
            yield _text(path), f"is nested deeper than {MAX_DEPTH}"
        case list():
            for index, item in enumerate(value):
                path.append(index)
                yield from _faults(item, path)
                path.pop()
        case dict():
            if isinstance(value, _Twice):
                for key in filter(_is_text, value.given_twice):
                    yield _text([*path, key]), "is given more than once"
            for key, item in value.items():
                if not _is_text(key):
                    yield _text(path), "must have keys without NUL characters and unpaired surrogates"
                    continue
                path.append(key)
                yield from _faults(item, path)
                path.pop()


def _text(path: list[str | int]) -> str:
    return ".".join(str(part)[:MAX_TEXT] for part in path)


def _is_text(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
