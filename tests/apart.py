"""Processes that tests start to know nothing of the Ray they have themselves."""

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from contextlib import contextmanager
from functools import partial
from pathlib import Path


def without_ray():
    """The environment but for what Ray reads of it, except that its workers are as nice as the rest: `conftest`."""
    return {k: v for k, v in os.environ.items() if not k.startswith("RAY_") or k == "RAY_worker_niceness"}


def without_dashboard(change=setattr):
    """Have no dashboard from the next `ray.init` on, nor the process that Ray starts in its place, which does nothing.

    Either would take as long to start as five trials take to train. `change` may be a `setattr` that is undone.
    """
    from studies.running.cluster import ray  # which sets what Ray reads

    node = ray._private.node.Node
    change(ray, "init", partial(ray.init, include_dashboard=False))
    change(node, "start_api_server", lambda node, **_: setattr(node, "_webui_url", None))


@contextmanager
def local_ray(hook, environment=None):
    """Run a Ray of two processors without dashboard, in which every worker first calls `hook` of the test's module."""
    import pytest  # not at the top: commands under test load this module too

    from studies.running.cluster import ray

    ray.shutdown()
    ray.cloudpickle.register_pickle_by_value(sys.modules[hook.__module__])
    with pytest.MonkeyPatch.context() as patch:
        without_dashboard(patch.setattr)
        ray.init(
            "local",
            num_cpus=2,
            log_to_driver=False,
            runtime_env={"worker_process_setup_hook": hook, "env_vars": environment or {}},
            _system_config={"prestart_worker_first_driver": False},  # they would only be idle
        )
    yield
    ray.shutdown()


def processors(number):
    """In the environment of who starts Ray: how many this machine has, and so how many trials there are at a time.

    A worker takes as long to start as ten trials to train: one is enough where two would show the same.
    """
    return {"RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": number})}


def python_in(folder):
    """A Python of its own there with the packages of this one; Ray's lie in the folder too."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    ray = importlib.util.find_spec("ray").submodule_search_locations[0]
    (packages / "ray").symlink_to(ray)
    (packages / "others.pth").write_text(
        "\n".join(path for path in sys.path if path.endswith("site-packages"))
    )
    return str(folder / "bin" / "python")
