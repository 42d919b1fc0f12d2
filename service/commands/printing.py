"""Standard streams that take whatever is printed."""

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import ServiceError

# For what an encoding lacks of the characters that our own words use.
STAND_INS = {"−": "-", "–": "-", "≥": ">=", "≤": "<=", "∞": "inf", "×": "x", "…": "~"}


@contextmanager
def printing() -> Iterator[None]:
    """While a command runs: nothing that it prints raises.

    A closed stream leads nowhere, what its encoding lacks is replaced, and a reader that has left ends it. Raises
    ServiceError where the disk is full that it prints to.
    """
    codecs.register_error("stand-in", _stand_in)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _open_nowhere(number, name)
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper) and number:
            stream.reconfigure(errors="stand-in")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _open_nowhere(1, "stdout")
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO) or error.filename is not None:
            raise
        _open_nowhere(1, "stdout")
        raise ServiceError(f"the output cannot be written: {error.strerror}") from error


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(STAND_INS.get(character, "?") for character in lacking), error.end


def _open_nowhere(number: int, name: str) -> None:
    """Let the stream lead nowhere, its number too: the next file that is opened would get it, and what is printed."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)
    os.set_inheritable(number, True)
    if getattr(sys, name) is None:
        setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))
