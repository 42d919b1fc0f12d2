import gc
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# tests run side by side on all cores: threads of PyTorch's own would wait for each other, ten times as long
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Ray's workers are nicer than all else, by 15: beside a test that computes they would stand still until their trials'
# time is over
os.environ.setdefault("RAY_worker_niceness", "0")

# how long an example takes is the machine's affair: what else it does decides
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


LONG = ["cluster", "slow", "browser", "timeout"]  # marks of what takes long, the longest first


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with what takes long come first: begun last, one would keep a process minutes after the others."""
    ranks: dict[Path, int] = {}
    for item in items:
        found = [LONG.index(mark.name) for mark in item.iter_markers() if mark.name in LONG]
        ranks[item.path] = min([ranks.get(item.path, len(LONG)), *found])
    items.sort(key=lambda item: ranks[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays: to look for garbage in it takes a fifth of that time, and a fifteenth of a
    test's."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def spoken_digits() -> Path:
    """The data folder with the real recordings in it, fetched once."""
    from trainers.data import DATASETS

    folder = Path(os.environ.get("TUNEBENCH_DATA_DIR") or Path.home() / ".cache" / "tunebench")
    DATASETS["spoken-digits"].fetch(folder, None)
    return folder
