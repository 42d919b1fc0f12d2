"""The sink keeps its lease, and knows when it has lost it."""

import threading
import time

import pytest
from sqlalchemy import Engine, update
from writers import elsewhere, spec, trial

from service.database import writing
from service.errors import DatabaseError, LeaseHeld, LeaseLost
from service.lease import Lease
from service.owner import Owner
from service.sink import LeasedSink
from service.store import Store
from service.tables import studies
from studies.records import Sink


def test_the_lease_is_kept_while_the_sink_is_open_and_no_longer(store: Store) -> None:
    study = store.create_study(spec(), {}).id
    with LeasedSink(store, store.claim(study, elsewhere(), 0.8)):
        time.sleep(1.2)
        with pytest.raises(LeaseHeld):
            store.claim(study, Owner.current(), 60)
    assert not any(thread.name == f"lease of {study}" for thread in threading.enumerate())
    time.sleep(0.9)
    assert store.claim(study, Owner.current(), 60).fence == 2


def test_trials_are_recorded(store: Store) -> None:
    lease = store.claim(store.create_study(spec(), {}).id, Owner.current(), 60)
    with LeasedSink(store, lease) as opened:
        sink: Sink = opened
        sink.record(trial(lease.study))
    assert store.trials(lease.study, with_epochs=True) == [trial(lease.study)]


def test_a_lost_lease_is_remembered_and_raised(store: Store, engine: Engine) -> None:
    study = store.create_study(spec(), {}).id
    with LeasedSink(store, store.claim(study, elsewhere(), 0.15)) as sink:
        with writing(engine) as connection:
            connection.execute(update(studies).values(fence=7))
        deadline = time.monotonic() + 10
        while sink._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        sink.store = None  # type: ignore[assignment]  # not asked again
        with pytest.raises(LeaseLost):
            sink.record(trial(study))
    assert store.trials(study) == []


def test_a_failing_database_is_tried_again() -> None:
    class Failing:
        tries = 0

        def renew(self, lease: Lease) -> None:
            self.tries += 1
            if self.tries < 3:
                raise DatabaseError("database cannot be reached")

    failing = Failing()
    with LeasedSink(failing, Lease("a-study", Owner.current(), 1, 0.03)) as sink:  # type: ignore[arg-type]
        deadline = time.monotonic() + 10
        while failing.tries < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sink._lost is None
    assert failing.tries >= 5
