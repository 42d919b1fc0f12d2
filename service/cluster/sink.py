"""The sink of a study in the database: it renews the lease while the study runs, and passes requests on."""

import time
from collections.abc import Callable, Mapping, Sequence

from service.cluster.periodic import Periodic
from service.database.lease import Lease
from service.database.store import Store
from service.errors import DatabaseUnavailable, LeaseLost, StoreError
from studies.records import ConfirmationRecord, Request, TrialRecord
from studies.running.control import Control

ASK_SECONDS = 1.0  # how often the study's row is looked at for a request
AWAY_SECONDS = 300.0  # how long a trial waits for a database that is away before the study stops


class LeasedSink(Periodic):
    """Records trials under a lease, which a thread renews at every third of its length while the context is open.

        lease = store.claim(study.id, Owner.current(), lease_seconds=60)
        with LeasedSink(store, lease, control) as sink:
            run_study(spec, study.id, sink, store.trials(study.id), data_dir=data_dir, control=control)

    The same thread tells `control` when the study is to be paused or cancelled, or is no longer this process's. When no
    trial has been under way for long, it writes what the study waits for into the study's row, and passes it to `tell`.
    Leaving the context does not give the lease back. `record` and `confirm` are for one thread, as the Sink protocol
    says; they wait for a database that restarts.
    """

    def __init__(
        self,
        store: Store,
        lease: Lease,
        control: Control,
        tell: Callable[[str], None] = lambda trouble: None,
    ) -> None:
        self.store = store
        self.lease = lease
        self._control, self._tell = control, tell
        self._trouble: str | None = None
        self._lost: LeaseLost | None = None
        self._renew_at = time.monotonic() + lease.seconds / 3
        super().__init__(min(ASK_SECONDS, lease.seconds / 3), self._keep, name=f"lease of {lease.study}")

    def record(self, trial: TrialRecord) -> None:
        """Store the trial. Raises LeaseLost if another process has taken the study in the meantime."""
        self._write(lambda: self.store.record(self.lease, trial), lambda: self._is_stored(trial))

    def confirm(self, confirmation: ConfirmationRecord) -> None:
        """Store the confirmation. Raises the errors of `record`."""
        self._write(
            lambda: self.store.confirm(self.lease, confirmation),
            lambda: confirmation in self.store.confirmations(confirmation.study),
        )

    def at(self, addresses: Sequence[str]) -> Mapping[str, TrialRecord | ConfirmationRecord]:
        """Return what any study has at these addresses; nothing if the database is away, for it can be trained too."""
        try:
            return self.store.at(addresses)
        except DatabaseUnavailable:
            return {}

    def _write(self, write: Callable[[], None], is_written: Callable[[], bool]) -> None:
        give_up = time.monotonic() + AWAY_SECONDS
        pause = 0.1
        while True:
            if self._lost is not None:
                raise self._lost
            try:
                return write()
            except DatabaseUnavailable:
                if time.monotonic() > give_up:
                    raise
            except StoreError:
                # the connection may have broken after the commit and before its answer
                if pause == 0.1 or not is_written():
                    raise
                return None
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _tell_what_it_waits_for(self) -> None:
        trouble = self._control.waits()
        if trouble != self._trouble:
            self.store.tell(self.lease, trouble)
            self._trouble = trouble
            if trouble:
                self._tell(trouble)

    def _is_stored(self, trial: TrialRecord) -> bool:
        # by its times, which no other attempt shares: series are not read, and a loss of NaN is equal to none
        stored = self.store.trial(trial.study, trial.arm, trial.run, trial.trial)
        return stored is not None and (stored.started_at, stored.finished_at) == (
            trial.started_at,
            trial.finished_at,
        )

    def _keep(self) -> None:
        try:
            if time.monotonic() >= self._renew_at:
                self.store.renew(self.lease)
                self._renew_at = time.monotonic() + self.lease.seconds / 3
            request = self.store.requested(self.lease)
            self._tell_what_it_waits_for()
        except LeaseLost as error:
            self._lost = error
            self._control.abort()
            self.closing.set()
            return
        except Exception:
            # the database may be back at the next try; if not, `record` gets the same error and raises it
            return
        if request is Request.PAUSE:
            self._control.drain()
        elif request is not None:
            self._control.abort()
