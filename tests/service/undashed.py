"""`tunebench` whose local Ray has no dashboard."""

from typing import Any

from apart import without_dashboard

from service import cli
from service.cluster import driver

go_on = driver._go_on


def undashed(*arguments: Any) -> Any:
    without_dashboard()
    return go_on(*arguments)


if __name__ == "__main__":
    driver._go_on = undashed
    cli.main()
