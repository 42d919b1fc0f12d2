"""The process that runs a study: takes its lease, runs what is left, gives it back."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from service.errors import LeaseLost, ServiceError
from service.owner import Owner
from service.sink import LeasedSink
from service.store import Store
from studies.errors import StudyError
from studies.records import Sink, StudyRecord, StudyState, TrialRecord
from studies.spec import from_json

LEASE_SECONDS = 60.0


class _Watched:
    """Tells `watch` of every trial, once it is stored."""

    def __init__(self, sink: Sink, watch: Callable[[TrialRecord], None]) -> None:
        self._sink, self._watch = sink, watch

    def record(self, trial: TrialRecord) -> None:
        self._sink.record(trial)
        self._watch(trial)


def drive(store: Store, study: StudyRecord, data_dir: Path, watch: Callable[[TrialRecord], None]) -> None:
    """Run what is left of the study and leave it completed.

    `watch` is told of each trial after it is stored. On an interrupt (SIGINT or SIGTERM) the study is left paused
    and KeyboardInterrupt is raised; where it cannot go on it is left failed with the reason, which is raised. Either
    way it can be driven again, and its trials are those of an uninterrupted study.
    """
    # Ray and torch take seconds to import: not for `tunebench list`
    from studies.provenance import provenance
    from studies.run import cluster, run_study

    spec = from_json(study.spec)
    if spec.study_id != study.id:
        raise StudyError(
            f"{study.id} was started by another version of tunebench, whose trials cannot be mixed with this "
            "one's; go on with that version, or run the spec anew"
        )
    lease = store.claim(study.id, Owner.current(), LEASE_SECONDS)
    history = store.trials(study.id)
    if history:
        store.continued(lease, provenance())
    if len(history) == spec.planned:  # the last driver died after its last trial
        store.finish(lease, StudyState.COMPLETED)
        return
    try:
        with LeasedSink(store, lease) as sink, cluster(), _terminated_is_interrupted():
            run_study(spec, study.id, _Watched(sink, watch), history, data_dir=data_dir)
    except (KeyboardInterrupt, SystemExit) as stop:  # SystemExit: Ray's own answer to SIGTERM while it starts
        store.finish(lease, StudyState.PAUSED)
        raise KeyboardInterrupt from stop
    except LeaseLost:
        raise
    except Exception as error:
        with suppress(ServiceError):  # the database itself may be what failed
            store.finish(lease, StudyState.FAILED, error=str(error) or type(error).__name__)
        raise
    store.finish(lease, StudyState.COMPLETED)


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """To be entered after Ray has started, which sets handlers of its own."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
