"""The queue: which study is next, how many run at once, and what happens to a study whose driver is gone."""

import os
import shlex
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from heads import within
from queues import Ray, queue
from sqlalchemy import Engine, update
from writers import created, elsewhere, spec, trial

from service.cluster.queue import ASK_RAY_SECONDS, Queue
from service.database.claims import SLOW_SECONDS
from service.database.engine import writing
from service.database.owner import Owner
from service.database.store import Store
from service.database.tables import studies
from service.errors import LeaseLost, RayUnavailable
from studies.records import Request, StudyState

QUEUED, STARTING, RUNNING, PAUSED, COMPLETED, FAILED, CANCELLED = StudyState


@pytest.fixture
def ray() -> Ray:
    return Ray()


def settle(store: Store, ray: Ray) -> None:
    """Step twice, as a job that is told to stop takes its time."""
    watching = queue(store, ray)
    watching.step()
    watching.step()


def states(store: Store) -> dict[str, StudyState]:
    return {study.name: study.state for study in store.studies()}


def change(engine: Engine, study: str, **values: object) -> None:
    with writing(engine) as connection:
        connection.execute(update(studies).where(studies.c.id == study).values(**values))


def test_priority_goes_first_then_first_come_and_no_more_than_may_run(store: Store, ray: Ray) -> None:
    for i, (name, priority) in enumerate([("first", 0), ("second", 0), ("urgent", 5), ("idle", -1)]):
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=i)
        created(store, spec(name), at, priority=priority)
    order = []
    for _ in range(4):
        queue(store, ray).step()
        queue(store, ray).step()  # there is no room
        (name,) = [name for name, state in states(store).items() if state is STARTING]
        order.append(name)
        study = store.study(name)
        lease = store.claim(study.id, Owner.current(), 60, fence=1)
        queue(store, ray).step()
        assert len(ray.submitted) == len(order)
        store.finish(lease, PAUSED)
    assert order == ["urgent", "first", "second", "idle"]


def test_a_started_study_is_a_ray_job_that_says_what_it_is(store: Store, ray: Ray) -> None:
    study = store.create_study(spec(), {}).id
    queue(store, ray).step()
    ((job, (command, metadata)),) = ray.submitted.items()
    assert job == f"{study}-1" == store.study(study).job
    assert shlex.split(command) == [sys.executable, "-m", "service.worker", study, "--fence", "1"]
    assert metadata == {
        "study": study,
        "name": "a-study",
        "task": "spoken-digits",
        "arms": "gradient-filter, latent-sgd",
        "trials": "0 of 12 when it started",
    }


def test_several_may_run_at_once(store: Store, ray: Ray) -> None:
    for i in range(5):
        store.create_study(spec(f"s{i}"), {})
    queue(store, ray, at_once=3).step()
    assert len(ray.submitted) == 3


def test_two_services_start_each_study_once(store: Store, ray: Ray) -> None:
    for i in range(30):
        store.create_study(spec(f"s{i}"), {})
    services = [queue(store, ray, at_once=30) for _ in range(4)]
    for number, service in enumerate(
        services
    ):  # like separate processes: with one owner, each would take the others' unsent jobs for lost
        service._claims._owner = replace(elsewhere(), pid=number)
    with ThreadPoolExecutor(4) as pool:  # `submitted` refuses a job that it has
        list(pool.map(Queue.step, services))
    assert len(ray.submitted) == 30
    assert set(states(store).values()) == {STARTING}
    assert {study.attempts for study in store.studies()} == {1}


def test_nothing_starts_while_ray_is_away(store: Store, ray: Ray) -> None:
    study = store.create_study(spec(), {}).id
    ray.away = True
    with pytest.raises(RayUnavailable):
        queue(store, ray).step()
    assert store.study(study).last_event == 1
    ray.away, ray.refuses = False, True
    for _ in range(7):  # more often than a study may be started in vain
        with pytest.raises(RayUnavailable):
            queue(store, ray).step()  # each time another service
    record = store.study(study)
    assert (record.state, record.attempts, record.job) == (QUEUED, 0, None)
    ray.refuses = False
    queue(store, ray).step()
    assert store.study(study).state is STARTING


def test_starts_that_ray_refuses_are_tried_after_ever_longer_pauses_and_told_once(
    store: Store, ray: Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    monkeypatch.setattr("time.monotonic", lambda: clock)
    study, service = store.create_study(spec(), {}).id, queue(store, ray)
    ray.refuses = True
    tried = []
    for clock in range(240):
        before = ray.asked
        with suppress(RayUnavailable):
            service.step()
        if ray.asked > before:
            tried.append(clock)
    assert [after - before for before, after in pairwise(tried)] == [1, 3, 7, 15, 31, 60, 60, 60]
    reason = "Ray answers 500: no space left on device"
    record = store.study(study)
    assert (record.state, record.trouble, record.attempts) == (QUEUED, reason, 0)
    told = [event.data["reason"] for event in store.events(study, 0, limit=100)]
    assert told == [None, None, reason]  # queued, starting, queued again
    ray.refuses = False
    clock += 60
    service.step()
    record = store.study(study)
    assert (record.state, record.trouble) == (STARTING, None)
    assert store.events(study, 3, limit=100)[0].data == {"from": "starting", "to": "starting", "reason": None}


def test_what_keeps_a_study_from_starting_is_told_at_it(
    store: Store, ray: Ray, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.cluster.queue.TICK_SECONDS", 0.01)
    monkeypatch.setattr("service.cluster.queue.TROUBLE_SECONDS", 0.1)
    study = store.create_study(spec(), {}).id
    ray.away = True
    with queue(store, ray):
        assert within(10, lambda: store.study(study).trouble) == "Ray does not answer"
        time.sleep(0.1)
    assert store.study(study).last_event == 2, "once"
    ray.away, ray.cause = False, "bash: no Python here (raylet.err)"
    service = queue(store, ray)
    service.step()
    assert store.study(study).trouble is None
    change(engine, study, lease_since=datetime.now(UTC) - timedelta(seconds=SLOW_SECONDS + 1))
    for _ in range(2):
        service.step()
    record = store.study(study)
    assert (record.state, record.last_event) == (STARTING, 4)
    assert record.trouble == "its driver has not started after 45 s; Ray: bash: no Python here (raylet.err)"
    change(engine, study, lease_expires_at=datetime.now(UTC) - timedelta(seconds=1))
    service.step()  # tells its job to stop
    service.step()
    record = store.study(study)
    assert (record.state, record.trouble) == (
        QUEUED,
        "its driver is gone, and its Ray job was stopped; Ray: bash: no Python here (raylet.err)",
    )


def test_a_dead_driver_is_replaced_at_once_and_one_elsewhere_when_its_lease_ends(
    store: Store, ray: Ray, engine: Engine
) -> None:
    study = store.create_study(spec(), {}).id
    queue(store, ray).step()
    dead = Owner(Owner.current().host, 2**22 + 1, Owner.current().numbering, "1")
    lease = store.claim(study, dead, 60, fence=1)
    store.record(lease, trial(study))
    settle(store, ray)
    record = store.study(study)
    assert (record.state, record.job) == (STARTING, f"{study}-3")
    far = store.claim(study, elsewhere(), 60, fence=3)
    queue(store, ray).step()
    assert store.study(study).state is RUNNING
    change(engine, study, lease_expires_at=datetime.now(UTC) - timedelta(seconds=1))
    settle(store, ray)
    record = store.study(study)
    assert (record.state, record.attempts) == (QUEUED, 1)  # it had not finished a trial
    with pytest.raises(LeaseLost):
        store.record(far, trial(study, number=2))
    queue(store, ray).step()
    assert store.study(study).state is QUEUED  # not yet
    change(engine, study, not_before=datetime.now(UTC) - timedelta(seconds=1))
    queue(store, ray).step()
    assert store.study(study).state is STARTING
    reasons = [event.data.get("reason") for event in store.events(study)]
    assert reasons.count("its driver is gone, and its Ray job was stopped") == 2


def test_the_job_of_a_lost_driver_is_stopped_before_another_starts(
    store: Store, ray: Ray, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = store.create_study(spec(), {}).id
    watching = queue(store, ray)
    watching.step()
    store.claim(study, elsewhere(), 60, fence=1)
    ray.states_[f"{study}-1"], ray.busy, ray.stubborn = "RUNNING", 2, True
    ray.logs_[f"{study}-1"] = "its last words\n"
    change(engine, study, lease_expires_at=datetime.now(UTC) - timedelta(seconds=1))
    for _ in range(3):
        watching.step()
        assert (store.study(study).state, ray.stopped) == (RUNNING, [f"{study}-1"])
    ray.states_[f"{study}-1"] = "STOPPED"
    watching.step()
    assert store.study(study).state is RUNNING  # its workers are alive
    ray.busy = 0
    watching.step()
    assert store.study(study).state is QUEUED
    assert store.events(study)[-1].data["reason"] == "its driver is gone, and its Ray job was stopped"
    assert store.log(study) == "its last words\n"
    change(engine, study, not_before=None)
    watching.step()
    store.claim(study, elsewhere(), 60, fence=3)
    change(engine, study, lease_expires_at=datetime.now(UTC) - timedelta(seconds=1))
    watching.step()
    monkeypatch.setattr("service.cluster.queue.STOP_SECONDS", 0.0)  # Ray does not manage it in time
    watching.step()
    told = "its driver is gone, and Ray has not ended its job within 0 s"
    assert store.events(study)[-1].data["reason"] == told
    assert not watching._stopping.keys() - {f"{study}-3"}


def test_a_job_that_ray_has_lost_is_submitted_again(store: Store, ray: Ray, engine: Engine) -> None:
    study = store.create_study(spec("one"), {}).id
    queue(store, ray).step()
    ray.states_.clear()  # its head was killed
    queue(store, ray).step()
    found = store.study(study)
    assert (found.state, found.job) == (QUEUED, f"{study}-1")
    assert store.events(study)[-1].data["reason"] == "Ray restarted and lost its job"
    change(engine, study, not_before=None)
    queue(store, ray).step()
    assert store.study(study).job == f"{study}-2"
    lease = store.claim(study, Owner.current(), 60, fence=2)
    ray.states_.clear()  # a running driver may belong to another cluster
    queue(store, ray).step()
    store.renew(lease)


@pytest.mark.parametrize("ended", ["FAILED", "STOPPED", "SUCCEEDED"])
def test_a_job_that_has_ended_without_its_study_is_noticed(store: Store, ray: Ray, ended: str) -> None:
    study = store.create_study(spec(), {}).id
    watching = queue(store, ray)
    watching.step()
    watching._asked_ray -= ASK_RAY_SECONDS
    ray.states_ = {f"{study}-1": "RUNNING", "another": "FAILED"}
    watching.step()
    assert store.study(study).state is STARTING
    ray.states_ = {f"{study}-1": ended}
    watching._asked_ray -= ASK_RAY_SECONDS
    watching.step()
    assert store.study(study).state is QUEUED
    assert store.events(study)[-1].data["reason"] == f"its Ray job has {ended.lower()}"


@pytest.mark.parametrize(("asked", "to"), [(Request.PAUSE, PAUSED), (Request.CANCEL, CANCELLED)])
def test_what_a_dead_driver_was_asked_for_is_done(
    store: Store, ray: Ray, asked: Request, to: StudyState
) -> None:
    study = store.create_study(spec(), {}).id
    queue(store, ray).step()
    dead = Owner(Owner.current().host, 2**22 + 1, Owner.current().numbering, "1")
    store.claim(study, dead, 60, fence=1)
    store.ask(study, asked, actor="alice")
    settle(store, ray)
    assert store.study(study).state is to


def test_a_study_run_in_a_terminal_counts_and_is_left_alone(store: Store, ray: Ray) -> None:
    lease = store.claim(store.create_study(spec("local"), {}).id, Owner.current(), 60)
    store.create_study(spec("queued"), {})
    queue(store, ray).step()
    assert states(store) == {"local": RUNNING, "queued": QUEUED}
    store.finish(lease, PAUSED)
    queue(store, ray).step()
    assert states(store) == {"local": PAUSED, "queued": STARTING}


def test_its_thread_survives_faults_and_ends_with_its_context(
    store: Store, ray: Ray, caplog: pytest.LogCaptureFixture
) -> None:
    ray.away = True
    study = store.create_study(spec(), {}).id
    with queue(store, ray) as working:
        for _ in range(3):
            working.wake()
        deadline = datetime.now(UTC) + timedelta(seconds=10)
        while not caplog.records and datetime.now(UTC) < deadline:
            os.sched_yield()
        ray.away = False
        working.wake()
        while store.study(study).state is not STARTING and datetime.now(UTC) < deadline:
            os.sched_yield()
    assert store.study(study).state is STARTING
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "Ray does not answer"
    ]
    assert not working._thread.is_alive()
