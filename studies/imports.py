"""Importing what is large."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """While much is imported: none of it is garbage, and Python does not look for any in it, now or later.

    It would do so again and again, for a sixth of the time that a command takes to start. When a process ends all is
    garbage, and what is still open is closed with it.
    """
    before = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            atexit.register(gc.unfreeze)
            gc.freeze()
        gc.enable()
