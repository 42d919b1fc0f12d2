"""Importing what is large."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """While much is imported: Python does not look for garbage in it, now or later.

    It would do so again and again, for a sixth of the time that a command takes to start, and hardly any of it is
    garbage. What is garbage by then stays until the process ends, maybe with the locals of whoever imports: have
    nothing large among them. At the end all is collected as ever, which closes what is still open.
    """
    before, was_enabled = len(sys.modules), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            atexit.register(gc.unfreeze)
            gc.freeze()
        if was_enabled:
            gc.enable()
