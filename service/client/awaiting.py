"""The asynchronous Python client of a service: every request, and the results made of its answer."""

import io
import json
import uuid
import zipfile
from collections.abc import AsyncGenerator, Callable, Container, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from service.client.errors import unknown
from service.client.event_stream import EventStream
from service.client.proxies import client_options
from service.client.retrying import AsyncTransport, Call, Caller, Params, RetrySchedule, Transport
from service.errors import ServiceError
from service.records import FINISHED, EventKind
from service.schemas import (
    ComparisonAnswer,
    Confirmation,
    Curves,
    DifferingSigns,
    Epoch,
    Event,
    Items,
    Method,
    Page,
    Run,
    Searcher,
    Study,
    StudySummary,
    Task,
    Trial,
    TrialSeries,
    Validation,
    trial_id,
)
from service.settings import service_token, service_url
from studies.design.notation import read
from studies.design.spec import StudySpec
from studies.records import StudyState, TrialState
from studies.results.output_folder import OWNER
from studies.results.table_names import Form, TableName

M = TypeVar("M", bound=BaseModel)
StudyFile = StudySpec | Mapping[str, Any] | Path
Sort = Literal["number", "objective", "test_metric", "train_seconds", "suggest_seconds", "finished_at"]
STUDIES_A_PAGE, TRIALS_A_PAGE = 200, 1000  # the most that a service gives at once
LONGEST_POLL = 2.0  # seconds


class AsyncClient:
    """A client of the service at `url`, else TUNEBENCH_URL, else on this machine, with `token`, else TUNEBENCH_TOKEN.
    Results are models of `service.schemas`. A study is named by its whole id.

    Transient failures (no connection, 502, 503, 504) are retried for up to `timeout` seconds, even of changes, which
    are idempotent; a submission carries a key. A refusal raises an ApiError: NotFound, Conflict, Invalid with its
    faults, Unauthorized, Forbidden, Unavailable. Any number of tasks (threads, for `Client`) may share a client.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = 60.0,
        transport: Callable[..., Transport] = AsyncTransport,
    ) -> None:
        self.url = _checked(service_url(url))
        token = service_token(token)
        headers = {"User-Agent": "tunebench"}
        if token is not None:
            if not (token.isascii() and token.isprintable() and token.strip()):
                raise ServiceError("the token must be one line of printable ASCII")
            headers["Authorization"] = f"Bearer {token.strip()}"
        way, limits = client_options(self.url), httpx.Limits(max_connections=None)
        http = transport(base_url=self.url, headers=headers, limits=limits, **way)
        self._caller = Caller(self.url, http, timeout, way["proxy"])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._caller.transport.close()

    async def submit(self, study: StudyFile, *, labels: Iterable[str] = (), priority: int = 0) -> Study:
        """Queue a study: a spec, or the content or the path of a study file. The same study is queued only once."""
        return await self._ask(
            Study,
            Call(
                "POST",
                "v1/studies",
                params={"labels": list(labels), "priority": priority},
                content=_content(study),
                headers={"Idempotency-Key": str(uuid.uuid4())},
            ),
        )

    async def validate(self, study: StudyFile) -> Validation:
        """Check a study without queueing it, and return its size and cost. Raises Invalid."""
        return await self._ask(Validation, Call("POST", "v1/studies:validate", content=_content(study)))

    async def studies(
        self, *, states: Iterable[StudyState | str] = (), task: str | None = None, label: str | None = None
    ) -> AsyncGenerator[StudySummary, None]:
        """Yield the studies, newest first."""
        params: Params = {"state": list(states), "task": task, "label": label, "limit": STUDIES_A_PAGE}
        async with aclosing(self._pages(Page[StudySummary], "v1/studies", params)) as studies:
            async for study in studies:
                yield study

    async def study(self, study: str) -> Study:
        return await self._ask(Study, Call("GET", _of(study)))

    async def edit(
        self,
        study: str,
        *,
        name: str | None = None,
        labels: Iterable[str] | None = None,
        priority: int | None = None,
    ) -> Study:
        """Change what is not part of the spec; None changes nothing."""
        given = {"name": name, "labels": None if labels is None else list(labels), "priority": priority}
        changes = {key: value for key, value in given.items() if value is not None}
        return await self._ask(Study, Call("PATCH", _of(study), content=json.dumps(changes).encode()))

    async def pause(self, study: str, *, now: bool = False) -> Study:
        """Stop after the trials in flight, or at once (`now`). Resumed, the study has the same trials as without it."""
        return await self._ask(Study, Call("POST", _of(study, "pause"), params={"now": now}))

    async def resume(self, study: str) -> Study:
        """Queue a paused, failed or cancelled study again."""
        return await self._ask(Study, Call("POST", _of(study, "resume")))

    async def cancel(self, study: str) -> Study:
        return await self._ask(Study, Call("POST", _of(study, "cancel")))

    async def delete(self, study: str) -> None:
        """Remove a finished study with its trials."""
        await self._caller.ask(Call("DELETE", _of(study)))

    async def runs(self, study: str) -> tuple[Run, ...]:
        return (await self._ask(Items[Run], Call("GET", _of(study, "runs")))).items

    async def trials(
        self,
        study: str,
        *,
        arm: str | None = None,
        run: int | None = None,
        states: Iterable[TrialState | str] = (),
        sort: Sort = "number",
        descending: bool = False,
    ) -> AsyncGenerator[Trial, None]:
        """Yield the finished trials. Those without a value to sort by come last."""
        params: Params = {
            "arm": arm,
            "run": run,
            "state": list(states),
            "sort": sort,
            "order": "desc" if descending else "asc",
            "limit": TRIALS_A_PAGE,
        }
        async with aclosing(self._pages(Page[Trial], _of(study, "trials"), params)) as trials:
            async for trial in trials:
                yield trial

    async def trial(self, study: str, trial: str) -> Trial:
        return await self._ask(Trial, Call("GET", _of(study, "trials", trial)))

    async def epochs(self, study: str, trial: str) -> tuple[Epoch, ...]:
        return (await self._ask(Items[Epoch], Call("GET", _of(study, "trials", trial, "epochs")))).items

    async def series(self, study: str, trial: str, *, signs: bool = False) -> tuple[TrialSeries, ...]:
        """Return the series that a trial's trainings recorded by step; `signs` adds all signs, up to 32 MiB each."""
        call = Call("GET", _of(study, "trials", trial, "series"), params={"signs": signs})
        return (await self._ask(Items[TrialSeries], call)).items

    async def confirmations(self, study: str, trial: str) -> tuple[Confirmation, ...]:
        """Return an incumbent's confirmations."""
        call = Call("GET", _of(study, "trials", trial, "confirmations"))
        return (await self._ask(Items[Confirmation], call)).items

    async def curves(self, study: str) -> Curves:
        """Return every run's best so far, and each arm's median and mean with their intervals."""
        return await self._ask(Curves, Call("GET", _of(study, "curves")))

    async def comparison(self, study: str) -> ComparisonAnswer:
        """Return the comparison of the arms, in words and numbers."""
        return await self._ask(ComparisonAnswer, Call("GET", _of(study, "comparison")))

    async def differing_signs(self, study: str) -> DifferingSigns:
        """Return how many signs differ between two arms by step, if the study records signs."""
        return await self._ask(DifferingSigns, Call("GET", _of(study, "differing-signs")))

    async def figure8(self, study: str, format: Literal["png", "svg", "pdf"] = "png") -> bytes:
        return await self._caller.ask(Call("GET", _of(study, f"figure8.{format}")))

    async def table(self, study: str, table: TableName = "trials", format: Form = "csv") -> bytes:
        """Return a table of the export as a file in this format."""
        return await self._caller.ask(Call("GET", _of(study, "export", f"{table}.{format}")))

    async def to_dataframe(self, study: str, table: TableName = "trials") -> Any:
        """Return a table of the export as a pandas DataFrame; needs pandas."""
        try:
            import pandas  # type: ignore[import-untyped]
        except ImportError as error:
            raise ServiceError("to_dataframe needs pandas; run: pip install pandas") from error
        return pandas.read_parquet(io.BytesIO(await self.table(study, table, "parquet")))

    async def export(self, study: str, to: Path) -> list[Path]:
        """Write the export (figures, tables, comparison, provenance, report) into the folder `to`."""
        return _unpacked(await self._caller.ask(Call("GET", _of(study, "export.zip"))), to)

    async def methods(self) -> tuple[Method, ...]:
        return (await self._ask(Items[Method], Call("GET", "v1/methods"))).items

    async def tasks(self) -> tuple[Task, ...]:
        return (await self._ask(Items[Task], Call("GET", "v1/tasks"))).items

    async def searchers(self) -> tuple[Searcher, ...]:
        return (await self._ask(Items[Searcher], Call("GET", "v1/searchers"))).items

    async def events(self, study: str, after: int = 0) -> AsyncGenerator[Event, None]:
        """Yield the study's events after event `after`, each once and in order, for as long as the study exists.

        A connection that breaks or falls silent is retried for up to `timeout` seconds, and continues where it was.
        """
        stream = EventStream(self._caller, _of(study, "events"), after)
        async with aclosing(stream.events()) as events:
            async for event in events:
                yield event

    async def watch(self, study: str) -> AsyncGenerator[Study | Trial, None]:
        """Yield the study, each of its trials once, and the study again whenever it changes, until it is finished."""
        now = await self.study(study)
        yield now
        seen = set[str]()
        async with aclosing(self.trials(study)) as trials:
            async for trial in trials:
                seen.add(trial.id)
                yield trial
        if now.state in FINISHED:
            return
        async with aclosing(self.events(study, now.last_event)) as events:
            async for event in events:
                found = await self._news(study, event, seen)
                if found is not None:
                    yield found
                if isinstance(found, Study) and found.state in FINISHED and event.number >= found.last_event:
                    return

    async def _news(self, study: str, event: Event, seen: Container[str]) -> Study | Trial | None:
        """Return what the event changed: the study, or a trial that was not `seen` yet. None for a confirmation."""
        if event.kind is EventKind.CONFIRMATION:
            return None
        if event.kind is not EventKind.TRIAL:
            return await self.study(study)
        name = trial_id(*(event.data[key] for key in ("arm", "run", "trial")))
        return None if name in seen else await self.trial(study, name)

    async def wait(self, study: str, timeout: float | None = None) -> Study:
        """Return the study once it is completed, failed or cancelled. Raises TimeoutError after `timeout` seconds."""
        patience, poll = RetrySchedule(float("inf") if timeout is None else timeout), 0.1
        while (now := await self.study(study)).state not in FINISHED:
            if not patience.left:
                raise TimeoutError(f"study {study} is still {now.state} after {timeout:g} s")
            await self._caller.transport.sleep(min(poll, patience.left))
            poll = min(1.5 * poll, LONGEST_POLL)
        return now

    async def logs(self, study: str, *, tail: int = 200, follow: bool = False) -> AsyncGenerator[str, None]:
        """Yield the last lines of the study's job's log; with `follow`, new lines too, until the job ends."""
        silence = None if follow else self._caller.seconds
        params: Params = {"tail": tail, "follow": follow}
        stream = self._caller.stream(Call("GET", _of(study, "logs"), params=params), silence=silence)
        rest = b""
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace")
        if rest:
            yield rest.decode(errors="replace")

    async def _ask(self, kind: type[M], call: Call) -> M:
        return self._caller.read(kind, await self._caller.ask(call))

    async def _pages(self, kind: type[Page[M]], path: str, params: Params) -> AsyncGenerator[M, None]:
        cursor: str | None = None
        while True:
            page = await self._ask(kind, Call("GET", path, params={**params, "cursor": cursor}))
            for item in page.items:
                yield item
            if (cursor := page.next) is None:
                return


def _checked(text: str) -> httpx.URL:
    """Return the URL of a service. Raises ServiceError, which does not show a password."""
    try:
        url = httpx.URL(text)
        url.host.encode("idna")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ServiceError(f"the service's URL cannot be read: {error}") from error
    plain = not (url.query or url.fragment or url.userinfo)
    if url.scheme not in ("http", "https") or not url.host or not plain or (url.port or 0) >= 2**16:
        shown = "***@" + url.host if url.userinfo else text
        raise ServiceError(f"{shown!r} is not a service's URL; use one like http://127.0.0.1:8000")
    return url


def _of(study: str, *rest: str) -> str:
    """Return the path of a study's resource. Raises NotFound for a name that is empty, "." or "..", unfit for paths."""
    names = (study, *rest)
    if bad := [name for name in names if name in ("", ".", "..")]:
        raise unknown(f"{bad[0]!r} cannot name a study or a trial")
    return "/".join(["v1/studies", *(quote(name, safe="", errors="replace") for name in names)])


def _content(study: StudyFile) -> bytes:
    content: Any = study
    if isinstance(study, Path):
        content = read(study)
    elif isinstance(study, StudySpec):
        content = study.to_json()
    try:
        return json.dumps(content).encode()  # with NaN: the service says where it is
    except (TypeError, ValueError, RecursionError) as error:
        raise ServiceError(f"the study cannot be written as JSON: {error}") from error


def _unpacked(archive: bytes, folder: Path) -> list[Path]:
    """Write the archive's files, which share one folder there, into `folder`, each as a whole. Return their paths."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            folder.mkdir(parents=True, exist_ok=True)
            paths = {folder / name.rpartition("/")[2]: name for name in packed.namelist()}
            for path in sorted(paths, key=lambda path: path.name != OWNER):
                part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
                part.write_bytes(packed.read(paths[path]))
                part.replace(path)
    except OSError as error:
        raise ServiceError(f"{folder} cannot be written: {error.strerror or error}") from error
    except (zipfile.BadZipFile, ValueError, RuntimeError) as error:
        raise ServiceError(f"the export is damaged: {error}") from error
    return list(paths)
