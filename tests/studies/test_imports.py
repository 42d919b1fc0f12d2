"""Garbage collection leaves out imported objects, and nothing else."""

import gc
import importlib
import subprocess
import sys

import pytest

from studies.imports import without_garbage_collection


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Yield the name of a module that is not imported yet."""
    (tmp_path / "never_seen.py").write_text(
        "import gc\nENABLED = gc.isenabled()\nLISTS = [[] for _ in range(1000)]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "never_seen"
    sys.modules.pop("never_seen", None)


def test_what_is_imported_is_not_looked_through(module):
    before = gc.get_freeze_count()
    with without_garbage_collection():
        found = importlib.import_module(module)
    assert not found.ENABLED
    assert gc.isenabled()
    assert gc.get_freeze_count() > before + 1000
    assert all(each is not found.LISTS for each in gc.get_objects())


def test_where_all_is_there_already_garbage_is_found_as_ever():
    before = gc.get_freeze_count()
    with without_garbage_collection():
        importlib.import_module("studies.imports")
    assert gc.isenabled()
    assert gc.get_freeze_count() <= before


def test_at_the_end_of_a_process_it_is_garbage():
    """Otherwise a database's last connection would stay open, and what it wrote would stay in a file beside it."""
    code = """
import gc
class Open:
    def __del__(self): print("closed")
one = Open()
one.itself = one
from studies.imports import without_garbage_collection
with without_garbage_collection():
    import xmlrpc.server
assert gc.get_freeze_count() > 1000
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "closed\n"


def test_an_import_that_fails_leaves_it_as_it_was():
    with pytest.raises(ImportError), without_garbage_collection():
        importlib.import_module("there_is_none")
    assert gc.isenabled()
