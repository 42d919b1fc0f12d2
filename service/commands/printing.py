"""Standard streams to which anything can be printed."""

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import ServiceError

# Replacements for characters in our own output that an encoding may lack.
STAND_INS = {"−": "-", "–": "-", "≥": ">=", "≤": "<=", "∞": "inf", "×": "x", "…": "~"}


@contextmanager
def printing() -> Iterator[None]:
    """Run a command so that its prints do not raise.

    A closed stream discards its output, characters that an encoding lacks are replaced, and a broken pipe ends the
    command. Raises ServiceError if the output's disk is full or broken.
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
    """Point the stream and its file descriptor to /dev/null. Else the next opened file would receive the output."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)
    os.set_inheritable(number, True)
    if getattr(sys, name) is None:
        setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))
