"""The Python client against servers that fail, and against the service itself."""

import inspect
import io
import json
import random
import sys
import threading
import time
import zipfile
from itertools import islice
from pathlib import Path

import anyio
import numpy as np
import pytest
from rude import Rude, answer, drop, event, hang, problem, stream, study
from served import Served
from writers import spec, trial

from service.client import AsyncClient, Client, retrying
from service.client.errors import (
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unauthorized,
    Unavailable,
)
from service.database.engine import connect, upgrade
from service.database.owner import Owner
from service.database.store import Store
from service.database.tokens import Scope, create, revoke
from service.errors import ServiceError
from service.schemas import Study, Trial, trial_id
from service.settings import DEFAULT_URL
from studies.analysis.comparison import compare
from studies.design.methods import METHODS
from studies.design.searchers import SEARCHERS
from studies.records import Series, StudyState, TrialState
from studies.results.export import export
from trainers.tasks import TASKS

DOCUMENT = Path(__file__).parents[3] / "docs" / "service-and-cluster.md"
SPEC = {"name": "s", "task": "spoken-digits", "methods": ["gradient-filter"]}
OPENING = b"id: %d\nretry: 1000\n\n"


def called(client_class, method, *arguments, **options):
    """Return the result of a method of either client, as a list if it is an iterator."""
    url, token, timeout = options.pop("url"), options.pop("token", None), options.pop("timeout", 20)
    if client_class is Client:
        with Client(url, token, timeout=timeout) as client:
            value = getattr(client, method)(*arguments, **options)
            return list(value) if inspect.isgenerator(value) else value

    async def call():
        async with AsyncClient(url, token, timeout=timeout) as client:
            value = getattr(client, method)(*arguments, **options)
            return [item async for item in value] if inspect.isasyncgen(value) else await value

    return anyio.run(call)


both = pytest.mark.parametrize("client_class", [Client, AsyncClient])


@both
def test_what_fails_in_passing_is_asked_again(client_class):
    answers = [
        drop,
        problem(503),
        answer(502, b"<html>"),
        problem(504),
        answer(200, b'{"id": "half', Content_Length="99"),
    ]
    with Rude(*answers, answer(200, study("running"))) as server:
        found = called(client_class, "study", "s-00000000", url=server.url)
    assert found.state == "running"
    assert [asked.line for asked in server.asked] == ["GET /v1/studies/s-00000000 HTTP/1.1"] * 6


@both
def test_a_submission_keeps_its_key_and_no_two_share_one(client_class):
    with Rude(drop, problem(503), answer(202, study()), answer(202, study())) as server:
        called(client_class, "submit", SPEC, url=server.url, labels=["a", "b"], priority=7)
        called(client_class, "submit", SPEC, url=server.url)
    first, second, third, other = server.asked
    assert (
        first.headers["idempotency-key"]
        == second.headers["idempotency-key"]
        == third.headers["idempotency-key"]
    )
    assert other.headers["idempotency-key"] != first.headers["idempotency-key"]
    assert first == second == third
    assert first.line == "POST /v1/studies?labels=a&labels=b&priority=7 HTTP/1.1"
    assert (json.loads(first.body), first.headers["content-type"]) == (SPEC, "application/json")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ApiError),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (422, Invalid),
        (500, ApiError),
    ],
)
@both
def test_a_refusal_is_an_exception_of_its_kind_and_final(client_class, status, kind):
    with Rude(problem(status, "because of this"), answer(200, study())) as server:
        with pytest.raises(ApiError, match="because of this") as refusal:
            called(client_class, "pause", "s-00000000", url=server.url, now=True)
        assert type(refusal.value) is kind
        assert isinstance(refusal.value, ServiceError)
        assert (refusal.value.problem.status, refusal.value.problem.type) == (status, "/problems/x")
        assert [asked.line for asked in server.asked] == [
            "POST /v1/studies/s-00000000/pause?now=true HTTP/1.1"
        ]


@both
def test_service_and_token_are_those_of_the_environment_unless_they_are_given(client_class, monkeypatch):
    with Rude(answer(200, study()), answer(200, study())) as server:
        monkeypatch.setenv("TUNEBENCH_URL", server.url)
        monkeypatch.setenv("TUNEBENCH_TOKEN", "tb_environment")
        called(client_class, "study", "s-00000000", url=None)
        monkeypatch.setenv("TUNEBENCH_URL", nobody())
        called(client_class, "study", "s-00000000", url=server.url, token="tb_given")
    assert [asked.headers["authorization"] for asked in server.asked] == [
        "Bearer tb_environment",
        "Bearer tb_given",
    ]
    monkeypatch.delenv("TUNEBENCH_URL")
    assert str(AsyncClient().url) == DEFAULT_URL


def test_every_fault_is_told():
    faults = [{"field": "runs", "message": "too few"}, {"field": "", "message": "and more"}]
    with Rude(problem(422, "2 faults", faults)) as server, Client(server.url) as client:
        with pytest.raises(Invalid) as refusal:
            client.validate(SPEC)
        assert str(refusal.value) == "runs: too few\nand more"
        assert [fault.field for fault in refusal.value.faults] == ["runs", ""]


def test_the_service_says_when_to_come_back():
    with Rude(problem(503, Retry_After="1"), answer(200, study())) as server, Client(server.url) as client:
        began = time.monotonic()
        client.study("s-00000000")
        assert time.monotonic() - began > 1.0


@both
def test_later_than_the_timeout_is_never(client_class):
    with Rude(problem(503, "busy", Retry_After="30"), answer(200, study())) as server:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="busy") as refusal:
            called(client_class, "study", "s-00000000", url=server.url, timeout=5)
        assert time.monotonic() - began < 10
        assert refusal.value.retry_after == 30
        assert len(server.asked) == 1


def nobody():
    with Rude() as server:
        return server.url


@both
def test_where_nobody_answers_the_url_is_told_after_the_timeout(client_class):
    url = nobody()
    began = time.monotonic()
    with pytest.raises(Unavailable, match=f"{url} cannot be reached"):
        called(client_class, "study", "s-00000000", url=url, timeout=1)
    assert 1 <= time.monotonic() - began < 10


@both
def test_a_server_that_hangs_is_left_after_the_timeout(client_class):
    began = time.monotonic()
    with Rude(hang(20)) as server, pytest.raises(Unavailable, match="cannot be reached"):
        called(client_class, "study", "s-00000000", url=server.url, timeout=1.5)
    assert 1.0 < time.monotonic() - began < 15


def test_a_service_in_trouble_is_asked_less_and_less():
    with Rude(*[drop] * 60) as server, pytest.raises(Unavailable):
        called(Client, "study", "s-00000000", url=server.url, timeout=2)
    assert 3 <= len(server.asked) <= 8  # one request per 0.1 seconds would be about twenty


def test_what_a_lost_answer_has_removed_is_removed():
    with Rude(drop, problem(404)) as server, Client(server.url) as client:
        client.delete("s-00000000")
    assert [asked.line.split()[0] for asked in server.asked] == ["DELETE", "DELETE"]
    with Rude(problem(404)) as server, Client(server.url) as client, pytest.raises(NotFound):
        client.delete("s-00000000")


def test_what_is_no_service_is_told():
    url = nobody()
    answers = [answer(200, b"<html>"), answer(200, b"[1"), answer(302, Location=url)]
    with Rude(*answers) as server, Client(server.url, "tb_secret") as client:
        for ask in (client.study, client.curves):
            with pytest.raises(ApiError, match=f"{server.url} did not answer like a tunebench service"):
                ask("s-00000000")
        with pytest.raises(ApiError, match=f"{server.url} answered 302"):
            client.study("s-00000000")


def test_what_a_newer_service_says_more_is_left_out():
    more = study("running", colour="blue") | {"trials": study()["trials"] | {"lost": 3}}
    with Rude(answer(200, more)) as server, Client(server.url) as client:
        assert client.study("s-00000000").state == "running"


def test_a_url_may_have_a_path_and_names_are_no_path():
    with Rude(answer(200, study()), answer(200, study())) as server:
        with Client(f"{server.url}/bench/", "tb_secret") as client:
            client.study("a/../b?c#d")
        with Client(f"{server.url}/bench") as client:
            client.study("s-00000000")
            for name in ("", ".", ".."):
                with pytest.raises(NotFound):
                    client.study(name)
    assert server.asked[0].line == "GET /bench/v1/studies/a%2F..%2Fb%3Fc%23d HTTP/1.1"
    assert server.asked[0].headers["authorization"] == "Bearer tb_secret"
    assert server.asked[1].line == "GET /bench/v1/studies/s-00000000 HTTP/1.1"
    assert "authorization" not in server.asked[1].headers


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://x",
        "http://",
        "http://x?y=1",
        "http://x:port",
        "http://x:99999",
        "http://..",
        f"http://{300 * 'a'}",
    ],
)
def test_a_url_that_cannot_be_one_is_refused(url):
    with pytest.raises(ServiceError, match="URL"):
        Client(url)


def test_a_password_in_a_url_is_refused_and_not_shown():
    with pytest.raises(ServiceError) as refusal:
        Client("http://me:secret@example.org")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("token", ["", " ", "a\nb", "é"])
def test_a_token_that_cannot_be_one_is_refused(token):
    with pytest.raises(ServiceError, match="token"):
        Client("http://127.0.0.1", token)


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", nobody())
    with Rude(answer(200, study())) as server, Client(server.url, timeout=2) as client:
        client.study("s-00000000")


def test_what_is_not_json_is_not_sent():
    with Client(nobody()) as client, pytest.raises(ServiceError, match="cannot be written as JSON"):
        client.submit({"runs": object()})


def events(client_class, url, number, after=0, timeout=20):
    """Return the numbers of the first `number` events."""
    if client_class is Client:
        with Client(url, timeout=timeout) as client:
            return [event.number for event in islice(client.events("s-00000000", after), number)]

    async def listen():
        async with AsyncClient(url, timeout=timeout) as client:
            found = []
            async for event in client.events("s-00000000", after):
                found.append(event.number)
                if len(found) == number:
                    break
            return found

    return anyio.run(listen)


@both
def test_a_listener_loses_and_doubles_no_event(client_class):
    """Half a message, half a line, half a character, duplicates, a gap, no answer at all, a refusal that passes."""
    text = event(3, end="\r\n", name="a\u2028b\x85c🙂")
    cut = text.index("🙂".encode()) + 2
    with Rude(
        stream(OPENING % 0, event(1), event(2) + text[:cut]),
        stream(OPENING % 2, event(2) + text[:cut], text[cut:], b": still here\n\n", event(5)),
        drop,
        problem(503, Retry_After="0"),
        stream(OPENING % 3, event(4), event(5)[:-1]),
        stream(OPENING % 4, event(5), b"data: {}"),
    ) as server:
        assert events(client_class, server.url, 5) == [1, 2, 3, 4, 5]
    assert [asked.headers["last-event-id"] for asked in server.asked] == ["0", "2", "3", "3", "3", "4"]


def test_a_gap_is_not_waited_out():
    began = time.monotonic()
    with Rude(stream(event(1), event(3), then=hang(20)), stream(event(2), event(3))) as server:
        assert events(Client, server.url, 3) == [1, 2, 3]
    assert time.monotonic() - began < 10


def test_an_event_is_given_whole():
    with (
        Rude(stream(event(8, "trial", objective="-inf", name="a\u2028b"))) as server,
        Client(server.url) as client,
    ):
        (found,) = islice(client.events("s-00000000", after=7), 1)
    assert (found.number, found.kind, found.actor) == (8, "trial", "local")
    assert found.data == {"objective": "-inf", "name": "a\u2028b"}


def test_a_study_that_was_deleted_and_made_anew_is_told_from_its_start():
    with Rude(stream(OPENING % 0, event(1), event(2))) as server:
        assert events(Client, server.url, 2, after=40) == [1, 2]


def test_listening_ends_where_there_is_no_such_study():
    with Rude(stream(event(1)), problem(404, "gone")) as server, Client(server.url) as client:
        listening = client.events("s-00000000")
        assert next(listening).number == 1
        with pytest.raises(NotFound, match="gone"):
            next(listening)


@both
def test_a_service_that_stays_away_is_given_up(client_class):
    began = time.monotonic()
    with Rude(stream(event(1))) as server, pytest.raises(Unavailable):
        events(client_class, server.url, 2, timeout=1)
    assert 0.5 < time.monotonic() - began < 10


def test_a_service_that_opens_streams_and_says_nothing_is_given_up():
    with Rude(*[stream(OPENING % 0)] * 30) as server, pytest.raises(Unavailable):
        events(Client, server.url, 1, timeout=1)
    assert 2 < len(server.asked) < 30


@pytest.mark.slow
def test_the_patience_with_an_outage_begins_with_it_and_ends_with_it():
    answers = [stream(event(1)), drop, stream(event(2)), drop, stream(event(3))]
    with Rude(*answers) as server, Client(server.url, timeout=2) as client:
        listening = client.events("s-00000000")
        assert next(listening).number == 1
        for number in (2, 3):
            time.sleep(2.2)  # the listener is busy
            assert next(listening).number == number


def test_a_stream_that_falls_silent_is_opened_again(monkeypatch):
    monkeypatch.setattr("service.client.event_stream.SILENCE_SECONDS", 0.5)
    with Rude(stream(event(1), b":\n\n", then=hang(20)), stream(event(2))) as server:
        assert events(Client, server.url, 2) == [1, 2]
    assert server.asked[1].headers["last-event-id"] == "1"


def test_a_listener_that_leaves_closes_its_connection():
    left = []

    def until_closed(connection):
        left.append(connection.recv(1))

    with Rude(stream(event(1), then=until_closed)) as server, Client(server.url) as client:
        listening = client.events("s-00000000")
        next(listening)
        listening.close()
        while not left:
            time.sleep(0.01)
    assert left == [b""]


def test_a_watch_that_comes_late_to_the_end_misses_no_trial():
    """The study is completed before the watch hears that it is running."""
    completed, finished = study("completed", last_event=5), Trial.of(trial("s-00000000"))
    heard = [
        event(3, "state", to="running"),
        event(4, "trial", arm=finished.arm, run=finished.run, trial=finished.trial),
        event(5, "state", to="completed"),
    ]
    answers = [study("running", last_event=2), {"items": [], "next": None}, None]
    answers += [completed, finished.model_dump(mode="json"), completed]
    given = [answer(200, content) if content else stream(b"".join(heard)) for content in answers]
    with Rude(*given) as server, Client(server.url) as client:
        seen = list(client.watch("s-00000000"))
    assert [found.state for found in seen] == ["running", "completed", "completed", "completed"]
    assert seen[2] == finished


@both
def test_the_log_comes_in_lines(client_class):
    log = "one\r\ntwo\u2028still two\nth\x1b[31mree".encode()
    with Rude(answer(200, log)) as server:
        lines = called(client_class, "logs", "s-00000000", url=server.url, tail=3)
    assert lines == ["one\r", "two\u2028still two", "th\x1b[31mree"]
    assert server.asked[0].line == "GET /v1/studies/s-00000000/logs?tail=3&follow=false HTTP/1.1"


def archive(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in files.items():
            packed.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def test_an_export_stays_in_its_folder(tmp_path):
    content = archive(study__a="new", **{"..__..__b": "b", "__c": "c"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("old")
    with Rude(answer(200, content)) as server, Client(server.url) as client:
        written = client.export("s-00000000", tmp_path / "out")
    assert written == [tmp_path / "out" / name for name in "abc"]
    assert [path.read_text() for path in written] == ["new", "b", "c"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "c", "out"]


def test_an_export_that_cannot_be_written_or_read_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with Rude(answer(200, archive(a="a")), answer(200, b"PK no")) as server, Client(server.url) as client:
        with pytest.raises(ServiceError, match="file cannot be written"):
            client.export("s-00000000", tmp_path / "file")
        with pytest.raises(ServiceError, match="the export is damaged"):
            client.export("s-00000000", tmp_path / "out")


def test_waiting_ends_with_the_study_or_the_time():
    states = ["queued", "running", "failed"] + ["paused"] * 10
    with Rude(*[answer(200, study(state)) for state in states]) as server, Client(server.url) as client:
        assert client.wait("s-00000000").state == "failed"
        with pytest.raises(TimeoutError, match=r"s-00000000 is still paused after 0\.5 s"):
            client.wait("s-00000000", timeout=0.5)


def test_both_clients_have_the_same_methods():
    def public(client_class):
        return {name for name, _ in inspect.getmembers(client_class, callable) if not name.startswith("_")}

    assert public(Client) == public(AsyncClient)
    for name in public(Client):
        assert inspect.signature(getattr(Client, name)) == inspect.signature(getattr(AsyncClient, name)), name
        assert getattr(Client, name).__doc__ == getattr(AsyncClient, name).__doc__
        assert not inspect.iscoroutinefunction(getattr(Client, name))


def test_a_coroutine_that_waits_for_something_else_is_an_error():
    with pytest.raises(RuntimeError, match="waited for something else"):
        retrying.result(_suspended())


async def _suspended():
    class Forever:
        def __await__(self):
            yield

    await Forever()


@pytest.fixture(scope="module")
def service(tmp_path_factory, spoken_digits):
    """A service that all of these tests share, and its database."""
    url = f"sqlite:///{tmp_path_factory.mktemp('service') / 'study.db'}"
    upgrade(connect(url))
    with Served(url, spoken_digits) as served:
        yield served.url, Store(connect(url))


@pytest.fixture
def client(service):
    with Client(service[0], timeout=120) as client:
        yield client


def results(study):
    """Yield the trials of 2 methods x 2 runs x 3, the runs in parallel."""
    for number in (1, 2, 3):
        for method in ("gradient-filter", "latent-sgd"):
            for run in (1, 2):
                yield trial(study, method, run, number, objective=(50 + 10 * number + run) / 100)


def run(store, study, trials, state=StudyState.COMPLETED, pause=0.0):
    """Store the trials and finish the study, as a driver does."""
    lease = store.claim(study, Owner.current(), 60)
    for finished in trials:
        store.record(lease, finished)
        time.sleep(pause)
    store.finish(lease, state)


def test_a_study_is_submitted_found_changed_and_removed(client, tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text("name: life\ntask: spoken-digits\nmethods: [gradient-filter]\nruns: 2\n")
    queued = client.submit(file, labels=["b", "a"], priority=3)
    assert isinstance(queued, Study)
    assert (queued.state, queued.labels, queued.priority, queued.submitted_by) == (
        "queued",
        ("a", "b"),
        3,
        "local",
    )
    assert queued.id == spec("life", methods=["gradient-filter"], runs=2, trials=25).study_id
    assert client.submit(file) == queued
    assert client.study(queued.id) == queued
    assert [found.id for found in client.studies(label="a", states=["queued"])] == [queued.id]
    assert list(client.studies(label="a", states=["running", "paused"])) == []
    edited = client.edit(queued.id, labels=[], priority=-3)
    assert (edited.name, edited.labels, edited.priority) == ("life", (), -3)
    assert client.edit(queued.id, name="afterlife").name == "afterlife"
    assert client.pause(queued.id).state == "paused"
    assert client.resume(queued.id).state == "queued"
    with pytest.raises(Conflict, match="queued"):
        client.delete(queued.id)
    assert client.cancel(queued.id).state == "cancelled"
    client.delete(queued.id)
    with pytest.raises(NotFound, match="no study"):
        client.study(queued.id)
    with pytest.raises(NotFound):
        client.delete(queued.id)


def test_a_spec_a_mapping_and_a_file_are_the_same_study(client, tmp_path):
    study = spec("same", seed=7)
    (tmp_path / "s.json").write_text(json.dumps(study.to_json()))
    found = {client.submit(given).id for given in (study, study.to_json(), tmp_path / "s.json")}
    assert found == {study.study_id}


def test_a_running_study_is_asked_to_pause(client, service):
    study = service[1].create_study(spec("asked"), {}).id
    lease = service[1].claim(study, Owner.current(), 60)
    assert client.pause(study).requested == "pause"
    assert client.pause(study, now=True).requested == "pause-now"
    assert client.resume(study).requested is None
    service[1].finish(lease, StudyState.PAUSED)


def test_a_study_that_cannot_run_is_refused_with_all_its_faults(client):
    with pytest.raises(Invalid) as refusal:
        client.submit({"name": "Bad name", "task": "spoken-digits", "methods": ["sgd"], "runs": 0})
    assert [fault.field for fault in refusal.value.faults] == ["name", "methods.0", "runs"]
    assert "methods.0: unknown method 'sgd'; known are gradient-filter" in str(refusal.value)
    with pytest.raises(Invalid, match="labels"):
        client.submit(SPEC, labels=["no label"])


def test_a_dry_run_tells_what_a_study_would_be(client):
    study = spec("dry")
    validation = client.validate(study)
    assert (validation.id, validation.exists, validation.planned) == (study.study_id, None, 12)
    assert [found.id for found in client.studies() if found.name == "dry"] == []


@both
def test_lists_come_in_pages_and_are_whole(service, monkeypatch, client_class):
    monkeypatch.setattr("service.client.awaiting.STUDIES_A_PAGE", 2)
    monkeypatch.setattr("service.client.awaiting.TRIALS_A_PAGE", 5)
    label = f"paged-{client_class.__name__}"
    studies = [service[1].create_study(spec(f"page-{i}", seed=i), {}, labels=[label]).id for i in range(5)]
    if client_class is AsyncClient:  # the studies exist already
        for study in studies:
            service[1].edit(study, actor="test", labels=[label])
    else:
        run(service[1], studies[0], results(studies[0]))
    found = called(client_class, "studies", url=service[0], label=label)
    assert [study.id for study in found] == studies[::-1]
    trials = called(client_class, "trials", studies[0], url=service[0])
    assert [found.id for found in trials] == sorted(
        f"{method}-r0{run}-t0{number}"
        for method in ("gradient-filter", "latent-sgd")
        for run in (1, 2)
        for number in (1, 2, 3)
    )


def test_trials_are_chosen_and_sorted(client, service):
    study = service[1].create_study(spec("sorted"), {}).id
    failed = {"state": TrialState.FAILED, "objective": None, "test_metric": None, "error": "x"}
    diverged = {"state": TrialState.DIVERGED, "objective": float("-inf")}
    given = [
        trial(study, "latent-sgd", 2, number, **changes) for number, changes in ((1, failed), (2, diverged))
    ]
    others = [found for found in results(study) if (found.arm, found.run) != ("latent-sgd", 2)][:6]
    run(service[1], study, others + given, StudyState.PAUSED)
    best_first = [found.objective for found in client.trials(study, sort="objective", descending=True)]
    assert best_first == [0.72, 0.71, 0.71, 0.62, 0.61, 0.61, float("-inf"), None]
    assert [found.trial for found in client.trials(study, arm="latent-sgd", run=2)] == [1, 2]
    ended_badly = client.trials(study, states=["failed", TrialState.DIVERGED])
    assert [found.state for found in ended_badly] == ["failed", "diverged"]
    assert client.trial(study, "latent-sgd-r2-t1").error == "x"
    assert [epoch.epoch for epoch in client.epochs(study, "latent-sgd-r02-t02")] == [1, 2, 3]
    assert client.series(study, "latent-sgd-r02-t02") == ()
    recorded = (Series.of("flip_ratio", [5], [0.5]), Series.of("signs", [5], np.uint8([[1, 255]])))
    more = service[1].create_study(spec("recorded"), {}).id
    run(service[1], more, [trial(more, series=(recorded,))], StudyState.PAUSED)
    assert [found.values for found in client.series(more, "gradient-filter-r01-t01")] == [(0.5,)]
    assert [found.rows for found in client.series(more, "gradient-filter-r01-t01", signs=True)] == [
        None,
        ("01ff",),
    ]
    with pytest.raises(NotFound, match="no finished trial"):
        client.trial(study, "latent-sgd-r02-t03")
    runs = {(found.arm, found.run): (found.trials, found.best_so_far) for found in client.runs(study)}
    assert runs[("latent-sgd", 2)] == (2, float("-inf"))
    assert client.study(study).trials.failed == 1


@pytest.mark.slow
def test_what_is_computed_is_what_is_computed_here(client, service, tmp_path):
    store, study = service[1], service[1].create_study(spec("computed"), {}).id
    run(store, study, results(study))
    here = export(store.study_by_id(study), store.trials(study, with_epochs=True), tmp_path / "here")
    there = client.export(study, tmp_path / "there")
    assert [path.name for path in there] == [path.name for path in here]
    assert [path.read_bytes() for path in there] == [path.read_bytes() for path in here]
    files = {path.name: path.read_bytes() for path in here}
    assert client.figure8(study) == files["figure8.png"]
    assert client.figure8(study, "svg") == files["figure8.svg"]
    assert client.table(study) == files["trials.csv"]
    assert client.table(study, "curves", "json") == files["curves.json"]
    found = client.comparison(study)
    in_figures = compare(store.study_by_id(study), store.trials(study, with_epochs=True))
    assert found.comparison == in_figures
    assert found.comparison.to_json() == json.loads(files["comparison.json"])
    assert found.summary in files["report.md"].decode()
    assert found.last_event == client.study(study).last_event
    curves = client.curves(study).arms["latent-sgd"]
    assert [run.best_so_far for run in curves.runs] == [(0.61, 0.71, 0.81), (0.62, 0.72, 0.82)]


def test_a_study_is_a_data_frame(client, service):
    study = service[1].create_study(spec("frame"), {}).id
    diverged = trial(study, number=2, state=TrialState.DIVERGED, objective=float("-inf"))
    run(service[1], study, [trial(study), diverged], StudyState.PAUSED)
    frame = client.to_dataframe(study)
    assert list(frame.objective) == [0.5, float("-inf")]
    assert list(frame["hp.alpha"]) == [0.1, 0.1]
    assert list(frame.trial) == [1, 2]
    assert list(client.to_dataframe(study, "curves")["median"]) == [0.5, 0.5]


def test_without_pandas_it_is_named(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ServiceError, match="pip install pandas"):
        client.to_dataframe("s-00000000")


def test_what_studies_are_made_of(client):
    assert [method.name for method in client.methods()] == list(METHODS)
    assert [task.name for task in client.tasks()] == list(TASKS)
    assert [searcher.name for searcher in client.searchers()] == list(SEARCHERS)


def test_a_log_that_is_not_there_is_told(client, service):
    study = service[1].create_study(spec("no-job"), {}).id
    with pytest.raises(NotFound, match="no-job"):
        list(client.logs(study))


@both
def test_a_watch_ends_with_the_study(service, client_class):
    study = service[1].create_study(spec(f"watched-{client_class.__name__.lower()}"), {}).id
    lease = service[1].claim(study, Owner.current(), 60)
    every = list(results(study))
    for finished in every[:5]:
        service[1].record(lease, finished)
    service[1].finish(lease, StudyState.FAILED, error="at first")
    service[1].resume(study, actor="test")
    driver = threading.Thread(target=run, args=(service[1], study, every[5:]), kwargs={"pause": 0.05})
    driver.start()
    seen = called(client_class, "watch", study, url=service[0])
    driver.join()
    trials = [found for found in seen if isinstance(found, Trial)]
    assert sorted(found.id for found in trials) == sorted(trial_id(t.arm, t.run, t.trial) for t in every)
    assert isinstance(seen[0], Study)
    assert (seen[-1].state, seen[-1].trials.completed) == ("completed", 12)
    again = called(client_class, "watch", study, url=service[0])
    assert [type(found) for found in again] == [Study] + [Trial] * 12


def test_the_example_in_the_documentation(service, monkeypatch, tmp_path, capsys):
    (example,) = (
        block.removeprefix("python\n")
        for block in DOCUMENT.read_text().split("```")
        if "service.client" in block
    )
    monkeypatch.chdir(tmp_path)
    url, store = service
    study = spec("example")
    Path("study.yaml").write_text(json.dumps(study.to_json()))
    store.create_study(study, {})
    driver = threading.Thread(target=run, args=(store, study.study_id, results(study.study_id)))
    driver.start()
    monkeypatch.setenv("TUNEBENCH_URL", url)
    exec(example)
    driver.join()
    printed = capsys.readouterr().out.splitlines()
    assert f"{study.study_id} completed" in printed
    assert {f"{trial_id(t.arm, t.run, t.trial)} completed" for t in results(study.study_id)} < set(printed)
    assert Path("results/mine/figure8.png").exists()


def test_waiting_ends_with_the_study(client, service):
    study = service[1].create_study(spec("awaited"), {}).id
    driver = threading.Thread(target=run, args=(service[1], study, results(study)), kwargs={"pause": 0.02})
    driver.start()
    assert client.wait(study, timeout=60).trials.completed == 12
    driver.join()


@pytest.fixture
def own(tmp_path, spoken_digits):
    """A service for one test alone, and its database."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    upgrade(connect(url))
    with Served(url, spoken_digits) as served:
        yield served, Store(connect(url))


def test_a_token_is_needed_and_enough(own):
    served, store = own
    study = store.create_study(spec(), {}).id
    reader, submitter, admin = (create(store.engine, scope, scope) for scope in Scope)
    with (
        Client(served.url) as client,
        pytest.raises(Unauthorized, match=r"send a token.*set TUNEBENCH_TOKEN"),
    ):
        client.study(study)
    with Client(served.url, reader) as client:
        assert client.study(study).id == study
        assert [event.number for event in islice(client.events(study), 1)] == [1]
        with pytest.raises(Forbidden, match="scope submit"):
            client.submit(SPEC)
    with Client(served.url, submitter) as client:
        assert client.submit(SPEC).submitted_by == "submit"
        client.cancel(study)
        with pytest.raises(Forbidden, match="scope admin"):
            client.delete(study)
    with Client(served.url, admin) as client:
        client.delete(study)
        revoke(store.engine, "admin")
        with pytest.raises(Unauthorized, match="revoked"):
            list(client.studies())


def killed_at_random_moments(served, driver):
    """Kill the service and start it again until the driver is done. Returns the number of kills."""
    kills = 0
    while driver.is_alive() or kills < 2:
        time.sleep(random.uniform(0.1, 1.0))
        served.kill()
        kills += 1
        time.sleep(random.uniform(0, 0.5))
        served.start()
    return kills


@pytest.mark.slow
def test_a_listener_gets_every_event_once_however_often_the_service_is_killed(own):
    served, store = own
    study = store.create_study(spec(runs=20, trials=3), {}).id
    trials = [trial(study, run=run, number=number) for run in range(1, 21) for number in (1, 2, 3)]
    heard = []

    def listen():
        with Client(served.url) as client:
            for event in client.events(study):
                heard.append((event.number, event.kind, event.data.get("run"), event.data.get("trial")))
                if event.data.get("to") == "paused":
                    return

    listener = threading.Thread(target=listen)
    driver = threading.Thread(
        target=run, args=(store, study, trials, StudyState.PAUSED), kwargs={"pause": 0.1}
    )
    listener.start()
    driver.start()
    assert killed_at_random_moments(served, driver) >= 2
    listener.join(60)
    assert [number for number, *_ in heard] == list(range(1, len(heard) + 1))
    assert [rest for _, kind, *rest in heard if kind == "trial"] == [[t.run, t.trial] for t in trials]
    assert heard[-1][0] == store.study_by_id(study).last_event


@pytest.mark.slow
def test_a_watch_outlives_the_service(own):
    served, store = own
    study = store.create_study(spec(), {}).id
    driver = threading.Thread(target=run, args=(store, study, results(study)), kwargs={"pause": 0.3})
    seen = []

    def watch():
        with Client(served.url) as client:
            seen.extend(client.watch(study))

    watcher = threading.Thread(target=watch)
    watcher.start()
    driver.start()
    assert killed_at_random_moments(served, driver) >= 2
    watcher.join(60)
    assert sorted(found.id for found in seen if isinstance(found, Trial)) == sorted(
        trial_id(found.arm, found.run, found.trial) for found in results(study)
    )
    assert seen[-1].state == "completed"
