"""The entry point of a study's Ray job: `python -m service.worker STUDY --fence N`."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from service.cluster.driver import drive
from service.cluster.kept_log import KeptLog
from service.commands.progress import StudyProgress
from service.database.engine import connect
from service.database.store import Store
from service.errors import LeaseLost, ServiceError
from service.priority import lower_driver_priority
from service.settings import Settings
from studies.errors import StudyError
from studies.records import StudyRecord, StudyState
from trainers.errors import DataError


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a study that the service has started.")
    parser.add_argument("study", help="the study's id")
    parser.add_argument("--fence", type=int, required=True, help="the number of the service's claim")
    arguments = parser.parse_args()
    lower_driver_priority()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    settings = Settings.from_environment()
    try:
        store = Store(connect(settings.database_url))
        study = store.study_by_id(arguments.study)
    except ServiceError as error:
        console.print(f"error: {error}", markup=False)
        return 1
    with KeptLog(store, study.id, f"{study.id}-{arguments.fence}"):
        return _work(store, study, arguments.fence, settings.data_dir, console)


def _work(store: Store, study: StudyRecord, fence: int, data_dir: Path, console: Console) -> int:
    """Run the study and return the job's exit code."""
    try:
        arms = ", ".join(study.arms)
        console.print(
            f"{study.id}: {arms} on {study.task_label}, {study.trials} trials done before", markup=False
        )
        with StudyProgress.of(study, console) as watch:
            state = drive(store, study, data_dir, watch, fence=fence, tell=watch.state, note=watch.note)
    except LeaseLost as error:
        console.print(str(error), markup=False)
        return 0
    except (ServiceError, StudyError, DataError) as error:
        console.print(f"error: {error}", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print(f"Interrupted: the study is {store.study_by_id(study.id).state}")
        return 1
    reason = store.study_by_id(study.id).error
    console.print(f"{study.id}: {state}" + (f": {reason}" if reason else ""), markup=False)
    return int(state is StudyState.FAILED)


if __name__ == "__main__":
    sys.exit(main())
