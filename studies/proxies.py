"""Whether the data are enough for a study's proxy."""

from pathlib import Path

from studies.errors import SpecError
from studies.spec import StudySpec
from trainers import shares
from trainers.data import DATASETS


def check(spec: StudySpec, data_dir: Path) -> None:
    """Raise SpecError where too few training samples are left, before every trial fails of it.

    Reads the data where the proxy takes a share of them, for seconds; where they are not on this machine it cannot
    tell. Raises DataError for damaged ones.
    """
    share = spec.proxy.train_fraction
    task = spec.task_definition()
    if share is None or not DATASETS[task.dataset].path(data_dir).exists():
        return
    try:
        shares.check(task, share, data_dir)
    except ValueError as error:
        raise SpecError(spec.name, [("proxy.train_fraction", str(error))]) from error
