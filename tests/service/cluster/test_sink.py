"""The sink keeps its lease, and knows when the lease is lost."""

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import Engine, update
from writers import elsewhere, spec, trial

from service.cluster.sink import LeasedSink
from service.database.engine import writing
from service.database.lease import Lease
from service.database.owner import Owner
from service.database.store import Store
from service.database.tables import studies
from service.errors import DatabaseError, DatabaseUnavailable, LeaseHeld, LeaseLost, StoreError
from studies.records import ConfirmationRecord, Request, Series, Sink, TrialRecord
from studies.running.control import Control


def test_the_lease_is_kept_while_the_sink_is_open_and_no_longer(store: Store) -> None:
    study = store.create_study(spec(), {}).id
    with LeasedSink(store, store.claim(study, elsewhere(), 0.8), Control()):
        time.sleep(1.2)
        with pytest.raises(LeaseHeld):
            store.claim(study, Owner.current(), 60)
    assert not any(thread.name == f"lease of {study}" for thread in threading.enumerate())
    time.sleep(0.9)
    assert store.claim(study, Owner.current(), 60).fence == 2


def test_trials_are_recorded(store: Store) -> None:
    lease = store.claim(store.create_study(spec(), {}).id, Owner.current(), 60)
    with LeasedSink(store, lease, Control()) as opened:
        sink: Sink = opened
        sink.record(trial(lease.study))
    assert store.trials(lease.study, with_epochs=True) == [trial(lease.study)]


def test_a_lost_lease_is_remembered_and_raised(store: Store, engine: Engine) -> None:
    study = store.create_study(spec(), {}).id
    control = Control()
    with LeasedSink(store, store.claim(study, elsewhere(), 0.15), control) as sink:
        with writing(engine) as connection:
            connection.execute(update(studies).values(fence=7))
        deadline = time.monotonic() + 10
        while sink._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        sink.store = None  # type: ignore[assignment]  # not asked again
        with pytest.raises(LeaseLost):
            sink.record(trial(study))
    assert control.aborting
    assert store.trials(study) == []


def test_what_a_study_without_a_trial_waits_for_is_its_trouble(
    store: Store, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.running.control.IDLE_SECONDS", 0.0)
    monkeypatch.setattr("service.cluster.sink.ASK_SECONDS", 0.05)
    control, told = Control("Ray gives it no worker"), list[str]()

    def trouble_is(text: str) -> bool:
        deadline = time.monotonic() + 10
        while text not in (store.study_by_id(lease.study).trouble or "none") and time.monotonic() < deadline:
            time.sleep(0.02)
        return text in (store.study_by_id(lease.study).trouble or "none")

    with LeasedSink(store, lease, control, told.append):
        assert trouble_is(" UTC: Ray gives it no worker")
        control.beat(2)
        assert trouble_is("none")
        control.beat(0)
        assert trouble_is("no trial under way since ")
    assert len(told) == 2
    assert [event.data["reason"] for event in store.events(lease.study)[2:]] == [told[0], None, told[1]]


@pytest.mark.parametrize("request_", list(Request))
def test_a_request_reaches_the_run(store: Store, lease: Lease, request_: Request) -> None:
    control = Control()
    with LeasedSink(store, lease, control):
        time.sleep(1.2)
        assert not control.draining
        store.ask(lease.study, request_, actor="alice")
        deadline = time.monotonic() + 10
        while not control.draining and time.monotonic() < deadline:
            time.sleep(0.01)
    assert (control.draining, control.aborting) == (True, request_ is not Request.PAUSE)


def test_a_trial_waits_for_a_database_that_is_away_and_is_stored_once(store: Store, lease: Lease) -> None:
    """When PostgreSQL restarts, the connection breaks before a commit, or after it but before its answer."""
    record, faults = store.record, iter(["before", "after", "not"])

    def unsteady(lease: Lease, done: TrialRecord) -> None:
        fault = next(faults)
        if fault != "before":
            record(lease, done)
        if fault != "not":
            raise DatabaseUnavailable("database broke the connection")

    store.record = unsteady  # type: ignore[method-assign]
    with LeasedSink(store, lease, Control()) as sink:
        sink.record(trial(lease.study))
        store.record = record  # type: ignore[method-assign]
        with pytest.raises(StoreError, match="is recorded already"):
            sink.record(trial(lease.study))
    assert store.trials(lease.study, with_epochs=True) == [trial(lease.study)]


@pytest.mark.parametrize("loss", [0.5, math.nan])
def test_a_trial_with_series_or_without_a_loss_is_known_again(
    store: Store, lease: Lease, loss: float
) -> None:
    done = trial(lease.study)
    epochs = tuple(replace(epoch, train_loss=loss) for epoch in done.epochs)
    done = replace(done, epochs=epochs, series=((Series.of("flip_ratio", [1], [0.5]),),))
    assert epochs
    record, breaks = store.record, iter([True, False])

    def unsteady(lease: Lease, done: TrialRecord) -> None:
        record(lease, done)
        if next(breaks):
            raise DatabaseUnavailable("database broke the connection")

    store.record = unsteady  # type: ignore[method-assign]
    with LeasedSink(store, lease, Control()) as sink:
        sink.record(done)
    (stored,) = store.trials(lease.study, with_series=True)
    assert stored.series[0][0].values.tolist() == [0.5]


def test_what_others_have_trained_is_not_waited_for(store: Store, lease: Lease) -> None:
    def away(addresses: Sequence[str]) -> Mapping[str, TrialRecord | ConfirmationRecord]:
        raise DatabaseUnavailable("database cannot be reached")

    store.at = away  # type: ignore[method-assign]
    assert LeasedSink(store, lease, Control()).at(["an-address"]) == {}


def test_a_failing_database_is_tried_again() -> None:
    class Failing:
        tries = 0

        def renew(self, lease: Lease) -> None:
            self.tries += 1
            if self.tries < 3:
                raise DatabaseError("database cannot be reached")

        def requested(self, lease: Lease) -> None:
            return None

    failing = Failing()
    with LeasedSink(failing, Lease("a-study", Owner.current(), 1, 0.03), Control()) as sink:  # type: ignore[arg-type]
        deadline = time.monotonic() + 10
        while failing.tries < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sink._lost is None
    assert failing.tries >= 5
