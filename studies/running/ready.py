"""Whether a study can run on what is in a data folder."""

from pathlib import Path

from studies.design.spec import StudySpec
from studies.errors import SpecError
from trainers.data import DATASETS
from trainers.errors import CheckpointError, UnusableError
from trainers.feeding import sample_counts
from trainers.tasks import TASKS
from trainers.training import teachers
from trainers.training.start import check_start, missing, start_file


def check(spec: StudySpec, data_dir: Path) -> None:
    """Raise SpecError, before every trial fails of it, where there are too few training samples or the proxy leaves too
    few, or where the network that trainings start from is missing or another.

    Reads the data where it needs them, for seconds; where they are not on this machine it cannot tell. Raises
    DataError for damaged ones, and for a teacher that is none for them.
    """
    task, share = spec.task_definition(), spec.proxy.train_fraction
    start = spec.start and start_file(data_dir, spec.start)
    if start and not start.exists():  # also where the data are elsewhere: the study is to know its checksum
        raise SpecError(spec.name, [("start", missing(start, TASKS[spec.task], spec.proxy))])
    data = DATASETS[task.dataset]
    if not data.path(data_dir).exists():
        return
    if share is not None or data.any_number:
        try:
            sample_counts.check(task, share or 1, data_dir)
        except UnusableError as error:
            raise SpecError(spec.name, [("task", str(error))]) from error
        except ValueError as error:
            raise SpecError(spec.name, [("proxy.train_fraction", str(error))]) from error
    teachers.check_weights(TASKS[spec.task], spec.proxy, data_dir)
    if start:
        try:
            check_start(start, TASKS[spec.task], spec.proxy, data_dir)
        except CheckpointError as error:
            raise SpecError(spec.name, [("start", str(error))]) from error
        except ValueError as error:
            raise SpecError(spec.name, [("task", str(error))]) from error
