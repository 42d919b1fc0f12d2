"""Faster imports of large packages."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Turn garbage collection off during large imports, and exempt the imported objects from it afterwards.

    Otherwise the collector scans them again and again, which takes a sixth of a command's start-up time and frees
    hardly anything. Garbage that exists when the context ends stays until the process ends, possibly with the locals
    of the importing code: keep nothing large in them. At exit all is collected as usual, which closes what is open.
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
