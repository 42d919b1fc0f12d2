"""The records that the tests store, and the processes that store them."""

import os
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier, Event
from typing import Any

from sqlalchemy import Engine, event, func, select, update

from service.database.engine import connect, reading, upgrade, writing
from service.database.lease import Lease
from service.database.owner import Owner
from service.database.store import Store
from service.database.tables import studies
from service.errors import LeaseHeld
from studies.design.spec import StudySpec, from_json
from studies.records import EpochRecord, StudyRecord, StudyState, TrialRecord, TrialState

SERVER = os.environ.get("TUNEBENCH_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
START = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)

# Forked from a clean process that has the service imported: quick, and no engine or thread is inherited.
processes = get_context("forkserver")
processes.set_forkserver_preload(["service.api.app", "service.api.server", "starlette.testclient"])


def created(store: Store, study: StudySpec, at: datetime, **more: Any) -> StudyRecord:
    """Store the study as if it had been stored at this time."""
    id = store.create_study(study, {}, **more).id
    with writing(store.engine) as connection:
        connection.execute(update(studies).where(studies.c.id == id).values(created_at=at))
    return store.study_by_id(id)


def spec(name: str = "a-study", **changes: Any) -> StudySpec:
    study = {
        "name": name,
        "task": "spoken-digits",
        "runs": 2,
        "trials": 3,
    }
    arms = {} if "arms" in changes else {"methods": ["gradient-filter", "latent-sgd"]}
    return from_json(study | arms | changes)


def trial(
    study: str, method: str = "gradient-filter", run: int = 1, number: int = 1, **changes: Any
) -> TrialRecord:
    epochs = tuple(
        EpochRecord(
            epoch=epoch,
            train_loss=2.0 / epoch,
            validation_metric=0.5,
            test_metric=0.4,
            flip_ratio=0.01,
            train_seconds=0.3,
            evaluate_seconds=0.1,
            validation_top5=0.9,
        )
        for epoch in (1, 2, 3)
    )
    values: dict[str, Any] = {
        "state": TrialState.COMPLETED,
        "hyperparameters": {"alpha": 0.1, "gamma": 0.9},
        "source": "sobol",
        "seed": 7,
        "objective": 0.5,
        "test_metric": 0.4,
        "suggest_seconds": 0.2,
        "train_seconds": 1.5,
        "attempts": 1,
        "error": None,
        "started_at": START,
        "finished_at": START + timedelta(seconds=2),
        "epochs": epochs,
    }
    return TrialRecord(study=study, arm=method, run=run, trial=number, **values | changes)


def finish(
    store: Store,
    study: StudyRecord,
    state: StudyState = StudyState.COMPLETED,
    error: str | None = None,
    pause: float = 0.0,
) -> None:
    """Run the study as a driver does, with made-up trials."""
    lease = store.claim(study.id, Owner.current(), 60)
    for number in (1, 2, 3):
        for run in (1, 2):
            for method in ("gradient-filter", "latent-sgd"):
                store.record(lease, trial(study.id, method, run, number, objective=0.5 + number / 10))
                time.sleep(pause)
    store.finish(lease, state, error=error)


def elsewhere() -> Owner:
    """Return a process about which nothing can be known on this host."""
    return Owner("another-host", 1, "another-boot", "1")


def stored(engine: Engine, table: Any) -> int:
    """Return how many rows the table has."""
    with reading(engine) as connection:
        return connection.scalars(select(func.count()).select_from(table)).one()


def write_run(url: str, lease: Lease, run: int, trials: int, together: Barrier) -> None:
    store = Store(connect(url))
    together.wait()
    for number in range(1, trials + 1):
        store.record(lease, trial(lease.study, run=run, number=number))


def claim(url: str, study: str, together: Barrier, results: Any) -> None:
    store = Store(connect(url))
    together.wait()
    try:
        results.put(store.claim(study, Owner.current(), 60).fence)
    except LeaseHeld as error:
        results.put(str(error))
    together.wait()  # the process that got it must stay alive while the others try


def create(url: str, together: Barrier, results: Any) -> None:
    store = Store(connect(url))
    together.wait()
    results.put(store.create_study(spec(), {"pid": os.getpid()}).provenance["pid"])


def upgrade_at_once(url: str, together: Barrier) -> None:
    engine = connect(url)
    together.wait()
    upgrade(engine)
    Store(engine)


def write_on(url: str, study: str, epochs: int, written: int) -> None:
    store = Store(connect(url))
    lease = store.claim(study, Owner.current(), 60)
    first = trial(study).epochs[0]
    many = tuple(
        EpochRecord(**{n: getattr(first, n) for n in first.__slots__} | {"epoch": e}) for e in range(epochs)
    )
    for number in count(written + 1):
        store.record(lease, trial(study, number=number, epochs=many))


def stop_within_a_transaction(url: str, study: str, inside: Event) -> None:
    """Record one trial, then hang in the transaction of the second, with its rows sent but not committed."""
    engine = connect(url)
    store = Store(engine)
    lease = store.claim(study, Owner.current(), 60)
    store.record(lease, trial(study, number=1))

    @event.listens_for(engine, "commit")
    def hang(_connection: object) -> None:
        inside.set()
        time.sleep(600)

    store.record(lease, trial(study, number=2))
