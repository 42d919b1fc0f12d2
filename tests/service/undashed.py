"""`tunebench` whose local Ray has no dashboard, which would take as long to start as five trials take to train."""

from functools import partial
from typing import Any

from service import cli
from service.cluster import driver

go_on = driver._go_on


def undashed(*arguments: Any) -> Any:
    from studies.running import cluster

    cluster.ray.init = partial(cluster.ray.init, include_dashboard=False)
    return go_on(*arguments)


if __name__ == "__main__":
    driver._go_on = undashed
    cli.main()
