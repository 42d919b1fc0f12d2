"""The sink of a study in the database: it keeps the lease while the study runs."""

import threading
from types import TracebackType
from typing import Self

from service.errors import LeaseLost
from service.lease import Lease
from service.store import Store
from studies.records import TrialRecord


class LeasedSink:
    """Records trials under a lease that a thread renews while the context is open, thrice in its length.

        lease = store.claim(study.id, Owner.current(), lease_seconds=60)
        with LeasedSink(store, lease) as sink:
            run_study(spec, sink, store.trials(study.id))
        store.finish(lease, StudyState.COMPLETED)

    Leaving the context does not give the lease back. `record` is for one thread, as the Sink protocol says.
    """

    def __init__(self, store: Store, lease: Lease) -> None:
        self.store = store
        self.lease = lease
        self._lost: LeaseLost | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease of {lease.study}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()

    def record(self, trial: TrialRecord) -> None:
        """Store the trial. Raises LeaseLost where another process has taken the study, at the latest here."""
        if self._lost is not None:
            raise self._lost
        self.store.record(self.lease, trial)

    def _keep(self) -> None:
        while not self._closed.wait(self.lease.seconds / 3):
            try:
                self.store.renew(self.lease)
            except LeaseLost as error:
                self._lost = error
                return
            except Exception:
                # the database may be back at the next try; if not, `record` meets the same error and raises it
                continue
