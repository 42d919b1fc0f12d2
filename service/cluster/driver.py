"""The process that runs a study: takes its lease, runs what is left, gives the lease back."""

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from service.cluster.sink import LeasedSink
from service.database.lease import Lease
from service.database.owner import Owner
from service.database.store import Store
from service.errors import LeaseLost, ServiceError
from service.records import COMPLETED, FAILED, PAUSED, QUEUED
from studies.design.spec import StudySpec, stored
from studies.errors import NoResultError, SpecError, StudyError
from studies.imports import without_garbage_collection
from studies.records import ConfirmationRecord, Sink, StudyRecord, StudyState, TrialRecord
from studies.results.wording import listed
from studies.running import ready, reuse
from studies.running.control import Control
from studies.running.schedule import Schedule
from trainers.errors import DataError

LEASE_SECONDS = 60.0

Watch = Callable[[TrialRecord | ConfirmationRecord], None]


class _Watched:
    """A sink that tells `watch` of every trial and confirmation, once it is stored."""

    def __init__(self, sink: Sink, watch: Watch) -> None:
        self._sink, self._watch = sink, watch

    def record(self, trial: TrialRecord) -> None:
        self._sink.record(trial)
        self._watch(trial)

    def confirm(self, confirmation: ConfirmationRecord) -> None:
        self._sink.confirm(confirmation)
        self._watch(confirmation)

    def at(self, addresses: Sequence[str]) -> Mapping[str, TrialRecord | ConfirmationRecord]:
        return self._sink.at(addresses)

    def keep(self, record: TrialRecord | ConfirmationRecord) -> None:
        if isinstance(record, TrialRecord):
            self.record(record)
        else:
            self.confirm(record)


def drive(
    store: Store,
    study: StudyRecord,
    data_dir: Path,
    watch: Watch,
    *,
    fence: int | None = None,
    tell: Callable[[str], None] = lambda trouble: None,
    note: Callable[[str], None] = lambda text: None,
) -> StudyState:
    """Run what is left of the study. Returns its new state: completed or, on request, paused, queued or cancelled.

    The study is failed if an arm has no result: all of its trials have failed, or its first ones all with one error.

    `watch` gets the trials and confirmations done before, then each new one after it is stored. `tell` gets what the
    study waits for when no trial has been under way for long. `note` gets what was taken over from other studies.

    On an interrupt (SIGINT or SIGTERM) the study is left paused, or cancelled if that was requested, and
    KeyboardInterrupt is raised. If it cannot go on, it is left failed with the reason, which is raised. Either way it
    can be driven again, with the trials of an uninterrupted study. The service gives `fence`: then an interrupt or a
    fault that may pass queues the study again.
    """
    lease = store.claim(study.id, Owner.current(), LEASE_SECONDS, fence=fence)
    served = fence is not None
    try:
        stopped = _go_on(store, lease, study, data_dir, watch, tell, note)
    except (KeyboardInterrupt, SystemExit) as error:  # the latter is Ray's answer to SIGTERM while it starts
        store.finish(lease, QUEUED if served else PAUSED)
        raise KeyboardInterrupt from error
    except LeaseLost:
        raise
    except NoResultError as error:
        reason = f"{error}; its other trials were not run. Fix the cause, then resume the study"
        store.finish(lease, FAILED, error=reason)
        return FAILED
    except Exception as error:
        with suppress(ServiceError):  # the database itself may be what failed
            _leave(store, lease, error, may_pass=served and not isinstance(error, StudyError | DataError))
        raise
    if stopped is not None:
        return stopped
    lost = store.without_result(study.id)
    state = COMPLETED if lost is None else FAILED
    store.finish(lease, state, error=lost)
    return state


def _go_on(
    store: Store,
    lease: Lease,
    study: StudyRecord,
    data_dir: Path,
    watch: Watch,
    tell: Callable[[str], None],
    note: Callable[[str], None],
) -> StudyState | None:
    """Run what is left under the lease. Returns None once all trials are done, or the state the study was left in."""
    # imported here as Ray takes seconds: neither `tunebench list` nor a driver without a lease should wait for it
    with without_garbage_collection():
        from studies.running.cluster import cluster
        from studies.running.experiment import run_study
        from studies.running.provenance import provenance

    spec = _same_version(study)
    history: list[TrialRecord | ConfirmationRecord] = [
        *store.trials(study.id),
        *store.confirmations(study.id),
    ]
    for record in history:
        watch(record)
    control = Control("its data are being checked and loaded")
    # the lease is renewed from here on, since large files take long to checksum and to load
    with LeasedSink(store, lease, control, tell) as sink:
        ran_on = provenance(spec, data_dir)
        if history and (different := ready.changed(study.provenance, ran_on)):
            raise SpecError(study.id, different)
        store.ran_on(lease, ran_on)
        watched = _Watched(sink, watch)
        for record in _taken_over(store, sink, spec, history, ran_on, data_dir, note):
            if control.draining:
                return _stopped(store, lease)
            watched.keep(record)
            history.append(record)
        if not Schedule(spec, study.id, history, 0).remaining:
            return None  # the last driver died after its last training
        # before every trial fails from it; Ray knows the machines only once it has started
        if faults := ready.faults(spec, data_dir, machines=None, elsewhere=True):
            raise SpecError(spec.name, faults)
        control.doing = "it waits for Ray to start or to be reached"
        with cluster(), _terminated_is_interrupted():
            done = run_study(
                spec,
                study.id,
                watched,
                history,
                data_dir=data_dir,
                ran_on=ran_on,
                control=control,
            )
            return None if done else _stopped(store, lease)


def _taken_over(
    store: Store,
    sink: LeasedSink,
    spec: StudySpec,
    history: Sequence[TrialRecord | ConfirmationRecord],
    ran_on: Mapping[str, Any],
    data_dir: Path,
    note: Callable[[str], None],
) -> Iterator[TrialRecord | ConfirmationRecord]:
    """Yield the trials and confirmations of this study that other studies have trained, to be stored one by one.

    `note` is told where they come from, or why there are none.
    """
    sources = Counter[str]()
    for record in reuse.found(spec, spec.study_id, tuple(history), ran_on, sink.at, data_dir=data_dir):
        yield record
        sources[(record.taken_from or "").partition("/")[0]] += 1
    if sources:
        told = listed([f"{number} from {source}" for source, number in sources.items()])
        note(f"taken over, because they are already trained: {told}")
    elif not history and (why := reuse.elsewhere(spec, ran_on, store.machines(spec.task), sink.at)):
        note(why)


def _leave(store: Store, lease: Lease, error: Exception, *, may_pass: bool) -> None:
    """Give the study back after a fault: queued again if the fault may pass, otherwise failed."""
    reason = str(error) or type(error).__name__
    if may_pass:
        store.give_up(lease, reason)
    else:
        store.finish(lease, FAILED, error=reason)


def _stopped(store: Store, lease: Lease) -> StudyState:
    """Leave the study in the requested state. Raises LeaseLost if another process has taken it."""
    # queued if it was asked to pause, then to go on while its last trials finished
    return store.finish(lease, QUEUED)


def _same_version(study: StudyRecord) -> StudySpec:
    spec = stored(study)
    if spec.study_id != study.id:
        raise StudyError(
            f"{study.id} was started by another version of tunebench, whose trials cannot be mixed with this "
            "version's; continue with that version, or run the study file again"
        )
    return spec


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt. Enter this once Ray has started, since Ray sets its own handlers."""

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
