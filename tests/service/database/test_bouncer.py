"""The service behind PgBouncer in transaction mode: all that it does, every transaction on its own connection."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bouncer import pgbouncer
from queues import Ray, queue
from serving import client_of, location, serving, token_of
from sqlalchemy import Engine, make_url
from writers import spec, trial

from service.cluster.sink import LeasedSink
from service.database.engine import connect, reading, upgrade, writing
from service.database.owner import Owner
from service.database.store import Store
from service.database.tokens import Scope
from service.errors import DatabaseError, DatabaseUnavailable
from studies.records import StudyState
from studies.running.control import Control

pytestmark = pytest.mark.postgres


@pytest.fixture
def bouncer(postgresql: str) -> Iterator[str]:
    """The URL of a PgBouncer in front of a schema without tables."""
    with pgbouncer(str(make_url(postgresql).query["options"]).partition("=")[2]) as url:
        yield url


@pytest.fixture
def behind(bouncer: str) -> Iterator[Store]:
    engine = connect(f"{bouncer}/here")
    upgrade(engine)
    yield Store(engine)
    engine.dispose()


@pytest.mark.slow
def test_every_answer_is_to_its_own_question(behind: Store, spoken_digits: Path) -> None:
    """Prepared statements belong to one connection, but here many clients share each connection."""
    with serving(behind, spoken_digits) as app, ThreadPoolExecutor(8) as threads:
        tokens = {name: token_of(app, Scope.SUBMIT, name) for name in ("ada", "bob", "cem", "dan")}
        clients = {name: client_of(app, token) for name, token in tokens.items()}

        def live(name: str, number: int) -> None:
            client, file = clients[name], spec(f"{name}-{number}").to_json()
            sent = client.post("/v1/studies", json=file, headers={"Idempotency-Key": f"{number}"})
            assert (sent.status_code, sent.json().get("submitted_by")) == (202, name), sent.text
            where = location(sent)
            for _ in range(6):  # psycopg prepares what it has seen five times
                found = client.get(where)
                assert (found.status_code, found.json().get("name")) == (200, f"{name}-{number}"), found.text
                listed = client.get("/v1/studies", params={"label": "none"})
                assert (listed.status_code, listed.json().get("items")) == (200, []), listed.text
                assert client.get(f"{where}/trials").json() == {"items": [], "next": None}
            edited = client.patch(where, json={"priority": number})
            assert (edited.status_code, edited.json().get("priority")) == (200, number), edited.text

        asked = [threads.submit(live, name, number) for name in clients for number in range(6)]
        for one in asked:
            one.result()
    assert len(behind.studies()) == 24


def test_a_study_is_started_recorded_and_given_back(behind: Store) -> None:
    ray = Ray()
    study = behind.create_study(spec(), {}).id
    with ThreadPoolExecutor(4) as threads:
        started = list(threads.map(lambda _: queue(behind, ray)._start_next(), range(8)))
    assert [lease.study for lease in started if lease] == [study]  # of all services, one starts it
    lease = behind.claim(study, Owner.current(), 60, fence=1)
    with LeasedSink(behind, lease, Control()) as sink:
        for method in ("gradient-filter", "latent-sgd"):
            for run in (1, 2):
                for number in (1, 2, 3):
                    sink.record(trial(study, method, run, number))
    behind.renew(lease)
    behind.finish(lease, StudyState.COMPLETED)
    assert behind.study_by_id(study).trials == 12
    assert len(behind.trials(study, with_epochs=True)) == 12
    behind.delete(study)


def _lock_timeouts(engine: Engine) -> set[str]:
    with ThreadPoolExecutor(4) as threads:

        def ask(_: int) -> str:
            with reading(engine) as connection:
                return str(
                    connection.exec_driver_sql(
                        "SELECT current_setting('lock_timeout'), pg_sleep(0.01)"
                    ).scalar()
                )

        return set(threads.map(ask, range(12)))


def test_nothing_is_left_on_a_connection_that_another_program_gets(behind: Store) -> None:
    with writing(behind.engine) as connection:
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "30s"
    assert _lock_timeouts(behind.engine) == {"0"}


def test_a_server_that_is_away_is_not_for_ever(bouncer: str) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"cannot be reached"):
        connect(f"{bouncer}/nowhere")


def test_a_schema_that_does_not_get_through_is_refused(bouncer: str) -> None:
    """PgBouncer drops options that it is told to ignore; the tables would be created in the wrong schema."""
    with pytest.raises(
        DatabaseError, match=r"search_path=elsewhere in the URL does not reach the server.*ALTER ROLE"
    ):
        connect(f"{bouncer}/here?options=-csearch_path%3Delsewhere")
