"""Processes that tests start to know nothing of the Ray they have themselves."""

import os


def without_ray():
    """The environment but for what Ray reads of it, except that its workers are as nice as the rest: `conftest`."""
    return {k: v for k, v in os.environ.items() if not k.startswith("RAY_") or k == "RAY_worker_niceness"}
