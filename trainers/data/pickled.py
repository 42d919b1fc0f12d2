"""Pickles read without running them: no object is made, nothing is imported or called.

A pickle is a program for a stack machine. Only its instructions that build plain values are followed. Where it would
call something, a `Call` says so, for the reader to interpret. So no more memory is allocated than the file's own bytes
fill, whatever they claim.
"""

import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Call:
    """A call that was not made: function, arguments, and the state for its result; `args` is None for a bare name."""

    name: str
    args: tuple[Any, ...] | None = None
    state: Any = None


KINDS = {"u1", "i1", "i2", "u2", "i4", "u4", "i8"}  # of whole numbers, by NumPy's names


def read(contents: bytes) -> Any:
    """Return the value that a pickle describes: dictionaries, lists, tuples, text, bytes, numbers, and calls.

    Python 2's strings become text, and so does every key. Raises ValueError for anything else, and any error for a
    damaged pickle.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(contents):
        name = opcode.name
        if name in IGNORED:
            continue
        if name == "STOP":
            return stack.pop()
        if name == "MARK":
            marks.append(len(stack))
        elif name in PLAIN:
            stack.append(PLAIN[name](argument))
        elif name in STORED:
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in FETCHED:
            stack.append(memo[argument])
        elif name in SINCE_MARK:
            start = marks.pop()
            items = stack[start:]
            del stack[start:]
            SINCE_MARK[name](stack, items)
        elif name in FROM_TOP:
            count, put = FROM_TOP[name]
            items = stack[len(stack) - count :]
            del stack[len(stack) - count :]
            put(stack, items)
        else:
            raise ValueError(f"it contains {name}, which is not allowed")
    raise ValueError("its end is missing")


def array(value: Any) -> NDArray[Any]:
    """Return the array of whole numbers that `value`, as read, describes, if it has exactly the bytes for it.

    Raises ValueError for anything else.
    """
    match value:
        case Call("numpy._core.multiarray._reconstruct", _, (_, shape, kind, fortran, data)):
            order = "F" if fortran else "C"
        case Call("numpy._core.numeric._frombuffer", (data, kind, shape, order)):
            pass
        case Call("numpy._core.multiarray.scalar", (kind, data)):
            shape, order = (), "C"
        case Call(name):
            raise ValueError(f"it contains {name}, which is not allowed")
        case _:
            raise ValueError(f"it has {type(value).__name__} instead of an array")
    match kind:
        case Call("numpy.dtype", (str(code), *_), (_, "|" | "<" | "=", None, *_)) if code in KINDS:
            numbers = np.dtype(f"<{code}")
        case _:
            raise ValueError("it has an array that is not of whole numbers")
    array: NDArray[Any] = np.frombuffer(_bytes(data), numbers).reshape(
        shape, order="F" if order == "F" else "C"
    )
    return array


def _bytes(data: Any) -> bytes:
    match data:
        case bytes() | bytearray():
            return bytes(data)
        case str():  # Python 2's
            return data.encode("latin-1")
    raise ValueError(f"it has {type(data).__name__} instead of an array's bytes")


def _pairs(items: list[Any]) -> Iterator[tuple[str, Any]]:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | bytes):
            raise ValueError(f"it has {type(key).__name__} instead of a key")
        yield key if isinstance(key, str) else key.decode("latin-1"), value


def _called(stack: list[Any], items: list[Any]) -> None:
    function, args = items
    if not isinstance(function, Call) or function.args is not None or not isinstance(args, tuple):
        raise ValueError("it calls something that is not a function")
    match function.name, args:
        case "_codecs.encode", (str(text), "latin1"):  # bytes, in protocols that have no instruction for them
            stack.append(text.encode("latin-1"))
        case name, _:
            stack.append(Call(name, args))


def _set_state(stack: list[Any], items: list[Any]) -> None:
    called, state = items
    if not isinstance(called, Call) or called.args is None or called.state is not None:
        raise ValueError("it changes something that is not an object")
    called.state = state
    stack.append(called)


def _name(module: str, name: str) -> Call:
    return Call(f"{module.replace('numpy.core.', 'numpy._core.')}.{name}")  # its name before NumPy 2


IGNORED = {"PROTO", "FRAME"}
STORED = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
FETCHED = {"GET", "BINGET", "LONG_BINGET"}
_AS_IT_IS = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE "
    "BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
)
PLAIN: dict[str, Callable[[Any], Any]] = {
    **{name: lambda argument: argument for name in _AS_IT_IS.split()},
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "GLOBAL": lambda argument: _name(*argument.split(" ", 1)),
}
SINCE_MARK: dict[str, Callable[[list[Any], list[Any]], None]] = {
    "DICT": lambda stack, items: stack.append(dict(_pairs(items))),
    "LIST": lambda stack, items: stack.append(items),
    "TUPLE": lambda stack, items: stack.append(tuple(items)),
    "APPENDS": lambda stack, items: stack[-1].extend(items),
    "SETITEMS": lambda stack, items: stack[-1].update(_pairs(items)),
}
FROM_TOP: dict[str, tuple[int, Callable[[list[Any], list[Any]], None]]] = {
    "TUPLE1": (1, lambda stack, items: stack.append(tuple(items))),
    "TUPLE2": (2, lambda stack, items: stack.append(tuple(items))),
    "TUPLE3": (3, lambda stack, items: stack.append(tuple(items))),
    "APPEND": (1, lambda stack, items: stack[-1].append(items[0])),
    "SETITEM": (2, lambda stack, items: stack[-1].update(_pairs(items))),
    "STACK_GLOBAL": (2, lambda stack, items: stack.append(_name(*items))),
    "REDUCE": (2, _called),
    "BUILD": (2, _set_state),
}
