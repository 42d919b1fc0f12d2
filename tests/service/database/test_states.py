"""A study changes its state only in the allowed ways, and each change is an event."""

import itertools
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, update
from writers import created, elsewhere, spec, stored, trial

from service.database.claims import Claims
from service.database.engine import now, writing
from service.database.lease import Lease, grant
from service.database.owner import Owner
from service.database.states import FROM, MAX_ATTEMPTS, change, locked, put_back
from service.database.store import Store
from service.database.tables import epochs, events, labels, studies, trials
from service.database.trial_order import TrialOrder
from service.errors import LeaseLost, StateError, StoreError, StudyUnknown
from service.records import FINISHED, EventKind
from studies.records import Request, StudyState, TrialState

QUEUED, STARTING, RUNNING, PAUSED, COMPLETED, FAILED, CANCELLED = StudyState


def bring(engine: Engine, study: str, state: StudyState, **values: Any) -> None:
    with writing(engine) as connection:
        connection.execute(update(studies).where(studies.c.id == study).values(state=state, **values))


def start(engine: Engine, study: str) -> Lease:
    """Start the study as the queue does."""
    with writing(engine) as connection:
        row = locked(connection, study)
        values = {"attempts": row["attempts"] + 1, "job": "a-job"}
        return grant(
            connection, row, STARTING, Owner.current(), 60, now(connection), actor="service", **values
        )


def told(store: Store, study: str) -> list[tuple[Any, ...]]:
    return [(e.data["from"], e.data["to"]) for e in store.events(study) if e.kind is EventKind.STATE]


def test_every_change_is_allowed_or_refused_with_both_states(store: Store, engine: Engine) -> None:
    study = store.create_study(spec(), {}).id
    allowed = 0
    for before, to in itertools.product(StudyState, StudyState):
        bring(engine, study, before)
        number = store.study_by_id(study).last_event
        with writing(engine) as connection:
            row = locked(connection, study)
            if before not in FROM[to]:
                with pytest.raises(
                    StateError, match=f"is {before}; only a study in one of the states .* can become {to}"
                ):
                    change(connection, row, to, actor="test", time=now(connection))
                continue
            change(connection, row, to, actor="test", time=now(connection), reason="so")
        allowed += 1
        record = store.study_by_id(study)
        (event,) = store.events(study, number)
        assert (record.state, record.last_event) == (to, number + 1)
        assert (event.number, event.actor, event.kind) == (number + 1, "test", EventKind.STATE)
        assert event.data == {"from": before, "to": to, "reason": "so"}
        assert (record.finished_at is not None) == (to in FINISHED)
        assert record.error == ("so" if to is FAILED else None)
    assert allowed == sum(map(len, FROM.values()))


def test_events_are_numbered_without_a_gap_and_read_from_any_number(store: Store, lease: Lease) -> None:
    for number in (1, 2, 3):
        store.record(lease, trial(lease.study, number=number))
    store.ask(lease.study, Request.PAUSE, actor="alice")
    store.edit(lease.study, actor="bob", labels=["b", "a", "b"], priority=3)
    store.finish(lease, PAUSED)
    found = store.events(lease.study)
    assert [event.number for event in found] == list(range(1, 9))
    assert [event.kind.value for event in found] == [
        "state",
        "state",
        "trial",
        "trial",
        "trial",
        "request",
        "edit",
        "state",
    ]
    assert found[3].data == {
        "arm": "gradient-filter",
        "run": 1,
        "trial": 2,
        "state": "completed",
        "objective": 0.5,
    }
    assert (found[5].actor, found[5].data) == ("alice", {"requested": "pause"})
    assert (found[6].actor, found[6].data) == ("bob", {"priority": 3, "labels": ["a", "b"]})
    assert store.events(lease.study, 6, limit=1) == [found[6]]
    assert store.last_events([lease.study, "none"]) == {lease.study: 8}
    assert all(abs(datetime.now(UTC) - event.time) < timedelta(seconds=30) for event in found)


def test_a_refused_trial_is_no_event(store: Store, lease: Lease) -> None:
    store.record(lease, trial(lease.study))
    before = store.study_by_id(lease.study)
    with pytest.raises(StoreError):
        store.record(lease, trial(lease.study))
    assert store.study_by_id(lease.study) == before


def test_a_study_counts_its_trials_and_their_seconds(store: Store, lease: Lease) -> None:
    store.record(lease, trial(lease.study, number=1))
    store.record(lease, trial(lease.study, number=2, state=TrialState.DIVERGED, objective=0.0))
    store.record(lease, trial(lease.study, number=3, state=TrialState.FAILED, objective=None))
    study = store.study_by_id(lease.study)
    assert (study.completed, study.diverged, study.failed, study.trials) == (1, 1, 1, 3)
    assert study.suggest_seconds == pytest.approx(0.6)
    assert study.train_seconds == pytest.approx(4.5)
    n, suggest, train = store.seconds_per_trial("spoken-digits") or (0, 0, 0)
    assert (n, suggest, train) == (2, pytest.approx(0.3), pytest.approx(2.25))
    assert store.seconds_per_trial("another") is None


@pytest.mark.parametrize(("request_", "to"), [(Request.PAUSE, PAUSED), (Request.CANCEL, CANCELLED)])
def test_what_nobody_runs_stops_at_once_and_goes_on_when_resumed(
    store: Store, request_: Request, to: StudyState
) -> None:
    study = store.create_study(spec(), {}).id
    for _ in range(2):  # asked twice, done once
        assert store.ask(study, request_, actor="alice").state is to
    assert store.resume(study, actor="bob").state is QUEUED
    assert store.resume(study, actor="bob").state is QUEUED
    assert told(store, study) == [(None, "queued"), ("queued", to), (to, "queued")]


def test_a_running_study_is_asked_and_its_driver_hears_it(store: Store, lease: Lease) -> None:
    assert store.requested(lease) is None
    study = store.ask(lease.study, Request.PAUSE, actor="alice")
    assert (study.state, study.requested) == (RUNNING, Request.PAUSE)
    assert store.requested(lease) is Request.PAUSE
    store.ask(lease.study, Request.PAUSE_NOW, actor="alice")
    store.ask(lease.study, Request.PAUSE, actor="alice")  # milder than the current request
    assert store.requested(lease) is Request.PAUSE_NOW
    assert store.resume(lease.study, actor="alice").requested is None
    assert store.requested(lease) is None
    store.ask(lease.study, Request.CANCEL, actor="alice")
    store.finish(lease, CANCELLED)
    study = store.study_by_id(lease.study)
    assert (study.state, study.requested) == (CANCELLED, None)
    with pytest.raises(LeaseLost):
        store.requested(Lease(lease.study, lease.owner, lease.fence + 1, 60))


def test_a_completed_study_can_be_deleted_and_nothing_else(
    store: Store, engine: Engine, lease: Lease
) -> None:
    store.record(lease, trial(lease.study))
    store.edit(lease.study, actor="alice", labels=["paper"])
    with pytest.raises(
        StateError,
        match=r"is running; only a study in one of the states completed, failed, cancelled can be deleted",
    ):
        store.delete(lease.study)
    bring(engine, lease.study, COMPLETED)
    for act in (
        lambda: store.resume(lease.study, actor="a"),
        lambda: store.ask(lease.study, Request.PAUSE, actor="a"),
        lambda: store.ask(lease.study, Request.CANCEL, actor="a"),
    ):
        with pytest.raises(StateError, match="is completed; only a study in one of the states"):
            act()
    store.delete(lease.study)
    assert [stored(engine, table) for table in (studies, trials, epochs, events, labels)] == [0] * 5
    for unknown in (store.delete, store.study_by_id):
        with pytest.raises(StudyUnknown, match="no study"):
            unknown(lease.study)


# lost drivers


def test_a_lost_driver_is_replaced_and_waits_longer_each_time(store: Store, engine: Engine) -> None:
    study = store.create_study(spec(), {}).id
    waits = []
    for _ in range(MAX_ATTEMPTS):
        start(engine, study)
        with writing(engine) as connection:
            died_at = now(connection)
            put_back(connection, locked(connection, study), actor="service", time=died_at, reason="it died")
        record = store.study_by_id(study)
        waits.append(record.not_before and round((record.not_before - died_at).total_seconds()))
    assert waits == [2, 4, 8, 16, None]
    assert (record.state, record.attempts) == (FAILED, MAX_ATTEMPTS)
    assert record.error == "given up after 5 starts without a finished trial; the last start: it died"
    again = store.resume(study, actor="alice")
    assert (again.state, again.attempts, again.not_before, again.error) == (QUEUED, 0, None, None)


def test_a_finished_trial_makes_the_next_start_the_first_again(store: Store, engine: Engine) -> None:
    study = store.create_study(spec(), {}).id
    fence = start(engine, study).fence
    lease = store.claim(study, Owner.current(), 60, fence=fence)
    assert store.study_by_id(study).attempts == 1
    store.record(lease, trial(study))
    assert store.study_by_id(study).attempts == 0
    assert store.give_up(lease, "the cluster went away") is QUEUED
    record = store.study_by_id(study)
    assert (record.not_before, record.error) == (None, None)
    with pytest.raises(LeaseLost):
        store.record(lease, trial(study, number=2))


@pytest.mark.parametrize(
    ("request_", "to"), [(Request.PAUSE, PAUSED), (Request.PAUSE_NOW, PAUSED), (Request.CANCEL, CANCELLED)]
)
def test_what_a_lost_driver_was_asked_for_is_done(
    store: Store, engine: Engine, request_: Request, to: StudyState
) -> None:
    study = store.create_study(spec(), {}).id
    start(engine, study)
    store.ask(study, request_, actor="alice")
    with writing(engine) as connection:
        row = locked(connection, study)
        assert put_back(connection, row, actor="service", time=now(connection), reason="it died") is to
    record = store.study_by_id(study)
    assert (record.state, record.requested) == (to, None)


@pytest.mark.parametrize(
    ("request_", "to"), [(Request.PAUSE, PAUSED), (Request.PAUSE_NOW, PAUSED), (Request.CANCEL, CANCELLED)]
)
def test_what_was_asked_for_is_done_too_by_a_driver_that_is_interrupted_and_after_a_refused_start(
    store: Store, engine: Engine, request_: Request, to: StudyState
) -> None:
    study = store.create_study(spec(), {}).id
    for otherwise in (QUEUED, PAUSED):
        lease = store.claim(study, Owner.current(), 60)
        store.ask(study, request_, actor="alice")
        assert store.finish(lease, otherwise) is to
    lease = store.claim(study, Owner.current(), 60)
    store.ask(study, request_, actor="alice")
    assert store.finish(lease, FAILED, error="it cannot go on") is FAILED
    store.resume(study, actor="alice")
    claims = Claims(engine, Owner.current(), max_running=1)
    started = claims.claim(again=False)
    assert started is not None
    store.ask(study, request_, actor="alice")
    claims.refused(started, "Ray has no room")
    record = store.study_by_id(study)
    assert (record.state, record.requested, record.attempts) == (to, None, 0)


def test_a_study_that_is_held_is_left_to_who_stored_it(store: Store, engine: Engine) -> None:
    claims = Claims(engine, Owner.current(), max_running=2)
    study = store.create_study(spec(), {}, hold=60).id
    assert claims.next() is None
    bring(engine, study, QUEUED, not_before=datetime(2024, 1, 1, tzinfo=UTC))
    assert claims.next() == study  # its sender has died
    held = store.create_study(spec("held"), {}, hold=60).id
    store.claim(held, Owner.current(), 60)
    assert store.study_by_id(held).not_before is None


def test_a_driver_that_has_come_back_keeps_its_study(store: Store, engine: Engine) -> None:
    study = store.create_study(spec(), {}).id
    lease = store.claim(study, elsewhere(), 0.2)
    claims = Claims(engine, Owner.current(), max_running=1)
    time.sleep(0.3)
    (seen,) = claims.held()
    assert seen.free
    store.renew(replace(lease, seconds=60))
    assert claims.put_back(seen, "its driver is gone") is None
    assert store.study_by_id(study).state is RUNNING


def test_a_driver_takes_up_only_the_last_start(store: Store, engine: Engine) -> None:
    study = store.create_study(spec(), {}).id
    first = start(engine, study)
    with writing(engine) as connection:
        row = locked(connection, study)
        put_back(connection, row, actor="service", time=now(connection), reason="it was slow")
    with pytest.raises(LeaseLost, match="is queued: this start of the study was superseded"):
        store.claim(study, Owner.current(), 60, fence=first.fence)
    second = start(engine, study)
    with pytest.raises(LeaseLost):
        store.claim(study, elsewhere(), 60, fence=first.fence)
    lease = store.claim(study, elsewhere(), 60, fence=second.fence)
    assert store.study_by_id(study).state is RUNNING
    with pytest.raises(LeaseLost):
        store.claim(study, elsewhere(), 60, fence=second.fence)
    store.record(lease, trial(study))


def test_a_study_taken_up_in_a_terminal_forgets_what_its_last_driver_was_asked(
    store: Store, engine: Engine
) -> None:
    study = store.create_study(spec(), {}).id
    start(engine, study)
    store.ask(study, Request.CANCEL, actor="alice")
    with writing(engine) as connection:
        past = now(connection) - timedelta(seconds=1)
        connection.execute(update(studies).values(lease_expires_at=past))
    store.claim(study, Owner.current(), 60)
    record = store.study_by_id(study)
    assert (record.state, record.requested, record.job) == (RUNNING, None, None)


# submitting


def test_a_submission_sent_again_is_one_study(store: Store, engine: Engine) -> None:
    first = store.create_study(spec(), {}, actor="alice", labels=["x"], key="k")
    store.edit(first.id, actor="alice", name="renamed")
    again = store.create_study(spec(), {}, actor="alice", labels=["x"], key="k")
    assert (again.id, again.name, again.labels) == (first.id, "renamed", ("x",))
    with pytest.raises(StoreError, match="Idempotency-Key 'k' was used before for another submission"):
        store.create_study(spec("another"), {}, actor="alice", key="k")
    with pytest.raises(StoreError, match="Idempotency-Key"):
        store.create_study(spec(), {}, actor="alice", labels=["y"], key="k")
    assert store.create_study(spec("another"), {}, actor="bob", key="k").name == "another"  # his own key
    assert stored(engine, studies) == 2


def test_a_key_is_forgotten_with_its_study_and_after_a_week(store: Store, engine: Engine) -> None:
    study = store.create_study(spec(), {}, key="k").id
    bring(engine, study, CANCELLED)
    store.delete(study)
    assert store.create_study(spec(), {}, key="k").state is QUEUED
    from service.database.tables import submissions

    with writing(engine) as connection:
        old = now(connection) - timedelta(days=8)
        connection.execute(update(submissions).values(created_at=old))
    assert store.create_study(spec("another"), {}, key="k").name == "another"
    assert stored(engine, submissions) == 1


# lists


def test_lists_are_filtered_and_paged(store: Store, engine: Engine) -> None:
    start_ = datetime(2024, 1, 1, tzinfo=UTC)
    for i in range(7):
        chosen = ["even"] if i % 2 == 0 else ["odd", "paper"]
        at = start_ + timedelta(seconds=i // 2)  # pairs made at the same moment
        study = created(store, spec(f"s{i}"), at, labels=chosen).id
        if i < 3:
            bring(engine, study, PAUSED)
    every = store.studies()
    assert sorted(study.name for study in every) == [f"s{i}" for i in range(7)]
    seen, place = [], None
    while page := store.studies(before=place, limit=2):
        seen += page
        place = (page[-1].created_at, page[-1].id)
    assert seen == every
    assert {study.name for study in store.studies(label="paper")} == {"s1", "s3", "s5"}
    assert {study.name for study in store.studies(states=[PAUSED, RUNNING])} == {"s0", "s1", "s2"}
    assert {study.name for study in store.studies(states=[PAUSED], label="even")} == {"s0", "s2"}
    assert store.studies(task="another") == []
    assert len(store.studies(task="spoken-digits")) == 7


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", [None, "objective", "finished_at"])
def test_trials_are_sorted_and_paged_each_once(
    store: Store, lease: Lease, sort: str | None, descending: bool
) -> None:
    objectives = [0.5, None, 0.5, float("inf"), None, 0.1, float("-inf"), 0.9]
    for n, objective in enumerate(objectives, start=1):
        state = TrialState.FAILED if objective is None else TrialState.COMPLETED
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=n * 7 % 5)
        store.record(
            lease, trial(lease.study, number=n, state=state, objective=objective, finished_at=at, epochs=())
        )
    seen: list[Any] = []
    after, order = None, TrialOrder(sort, descending)
    while page := store.trials_page(lease.study, order=order, after=after, limit=3):
        seen += [record for record, _ in page]
        after = page[-1][1]
    assert sorted(record.trial for record in seen) == list(range(1, 9))
    if sort is None:
        assert [record.trial for record in seen] == sorted(range(1, 9), reverse=descending)
    elif sort == "finished_at":
        times = [record.finished_at for record in seen]
        assert times == sorted(times, reverse=descending)
    else:
        finite = [r.objective for r in seen if r.objective is not None and abs(r.objective) < 1]
        assert finite == sorted(finite, reverse=descending)
        assert {r.objective for r in seen[-3:]} <= {None, float("-inf" if descending else "inf")}


def test_the_incumbents_are_the_first_best_of_each_method(store: Store, lease: Lease) -> None:
    assert store.incumbents(lease.study, maximize=True) == {}
    for number, objective in enumerate([0.3, 0.7, 0.7], start=1):
        store.record(lease, trial(lease.study, number=number, objective=objective, epochs=()))
    store.record(lease, trial(lease.study, "latent-sgd", state=TrialState.FAILED, objective=None, epochs=()))
    assert {m: t.trial for m, t in store.incumbents(lease.study, maximize=True).items()} == {
        "gradient-filter": 2
    }
    assert {m: t.trial for m, t in store.incumbents(lease.study, maximize=False).items()} == {
        "gradient-filter": 1
    }
    assert store.trial(lease.study, "gradient-filter", 1, 2) == trial(
        lease.study, number=2, objective=0.7, epochs=()
    )
    assert store.trial(lease.study, "gradient-filter", 1, 4) is None
