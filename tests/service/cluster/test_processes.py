"""Several processes, one database: nothing is lost, stored twice or half written."""

import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
import writers
from sqlalchemy import Engine, select
from writers import elsewhere, processes, spec, stored, trial

from service.database.engine import reading
from service.database.owner import Owner
from service.database.store import Store
from service.database.tables import epochs, studies, trials
from service.errors import LeaseLost


def run_all(target: Callable[..., None], *arguments: tuple[Any, ...]) -> None:
    """Run a process for each tuple of arguments, all at once, and check that all end well."""
    started = [processes.Process(target=target, args=given) for given in arguments]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * len(started)


def test_eight_processes_write_one_study(url: str, store: Store, engine: Engine) -> None:
    lease = store.claim(store.create_study(spec(runs=8, trials=25), {}).id, Owner.current(), 60)
    together = processes.Barrier(8)
    run_all(writers.write_run, *[(url, lease, run, 25, together) for run in range(1, 9)])
    written = store.trials(lease.study, with_epochs=True)
    assert written == [trial(lease.study, run=run, number=n) for run in range(1, 9) for n in range(1, 26)]
    assert stored(engine, epochs) == 8 * 25 * 3


def test_of_eight_processes_one_gets_the_study(url: str, store: Store) -> None:
    study = store.create_study(spec(), {}).id
    together, results = processes.Barrier(8), processes.SimpleQueue()
    run_all(writers.claim, *[(url, study, together, results)] * 8)
    answers = [results.get() for _ in range(8)]
    assert [answer for answer in answers if isinstance(answer, int)] == [1]
    assert sum(study in str(answer) for answer in answers) == 7
    # its process has ended: no need to wait for the lease to expire
    assert store.claim(study, Owner.current(), 60).fence == 2


def test_processes_may_create_a_study_at_once(url: str, store: Store, engine: Engine) -> None:
    together, results = processes.Barrier(4), processes.SimpleQueue()
    run_all(writers.create, *[(url, together, results)] * 4)
    assert len({results.get() for _ in range(4)}) == 1
    assert stored(engine, studies) == 1


def kill(process: Any) -> None:
    assert process.is_alive()
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_process_killed_within_a_write_leaves_no_half_trial(url: str, store: Store, engine: Engine) -> None:
    study = store.create_study(spec(), {}).id
    inside = processes.Event()
    process = processes.Process(target=writers.stop_within_a_transaction, args=(url, study, inside))
    process.start()
    assert inside.wait(60)
    kill(process)
    lease = store.claim(study, Owner.current(), 60)
    assert lease.fence == 2
    assert store.trials(study, with_epochs=True) == [trial(study)]
    assert stored(engine, epochs) == 3
    store.record(lease, trial(study, number=2))


def test_a_process_killed_at_any_moment_leaves_whole_trials(url: str, store: Store, engine: Engine) -> None:
    study = store.create_study(spec(), {}).id
    whole = 0
    for fence in (1, 2, 3):
        process = processes.Process(target=writers.write_on, args=(url, study, 50, whole))
        process.start()
        while store.study(study).trials < whole + 3:
            assert process.is_alive()
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.05))
        kill(process)
        numbers = [(t.trial, len(t.epochs)) for t in store.trials(study, with_epochs=True)]
        assert numbers == [(n, 50) for n in range(1, len(numbers) + 1)]
        whole = len(numbers)
        assert stored(engine, epochs) == 50 * whole
        with reading(engine) as connection:
            assert connection.scalar(select(studies.c.fence)) == fence


def test_a_stale_process_writes_nothing(url: str, store: Store, engine: Engine) -> None:
    """Two writers under different fencing numbers: only the newer one writes trials."""
    study = store.create_study(spec(), {}).id
    stale = store.claim(study, elsewhere(), 0.001)
    time.sleep(0.01)
    fresh = store.claim(study, Owner.current(), 60)
    for number in range(1, 4):
        with pytest.raises(LeaseLost):
            store.record(stale, trial(study, number=number, source="stale"))
        store.record(fresh, trial(study, number=number))
    with reading(engine) as connection:
        assert set(connection.scalars(select(trials.c.source))) == {"sobol"}
