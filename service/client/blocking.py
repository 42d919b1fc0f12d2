"""The Python client of a service: `Client`, and `AsyncClient` with the same methods, asynchronous.

with Client("http://127.0.0.1:8000") as client:
    study = client.submit(Path("study.yaml"), labels=["paper"])
    for seen in client.watch(study.id):
        print(seen.id, seen.state)
    frame = client.to_dataframe(study.id)
"""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from service.client.awaiting import AsyncClient
from service.client.retrying import BlockingTransport, items, result

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["Client", P], T]:
    @wraps(method)
    def call(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return result(method(self._client, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[AsyncClient, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate["Client", P], Generator[T, None, None]]:
    @wraps(method)
    def call(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        return items(method(self._client, *args, **kwargs))

    return call


class Client:
    """An `AsyncClient` that blocks: the same methods, results and errors, without `await`."""

    def __init__(self, url: str | None = None, token: str | None = None, *, timeout: float = 60.0) -> None:
        self._client = AsyncClient(url, token, timeout=timeout, transport=BlockingTransport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    close = _blocking(AsyncClient.close)
    submit = _blocking(AsyncClient.submit)
    validate = _blocking(AsyncClient.validate)
    studies = _iterating(AsyncClient.studies)
    study = _blocking(AsyncClient.study)
    edit = _blocking(AsyncClient.edit)
    pause = _blocking(AsyncClient.pause)
    resume = _blocking(AsyncClient.resume)
    cancel = _blocking(AsyncClient.cancel)
    delete = _blocking(AsyncClient.delete)
    runs = _blocking(AsyncClient.runs)
    trials = _iterating(AsyncClient.trials)
    trial = _blocking(AsyncClient.trial)
    epochs = _blocking(AsyncClient.epochs)
    series = _blocking(AsyncClient.series)
    confirmations = _blocking(AsyncClient.confirmations)
    curves = _blocking(AsyncClient.curves)
    differing_signs = _blocking(AsyncClient.differing_signs)
    comparison = _blocking(AsyncClient.comparison)
    figure8 = _blocking(AsyncClient.figure8)
    table = _blocking(AsyncClient.table)
    to_dataframe = _blocking(AsyncClient.to_dataframe)
    export = _blocking(AsyncClient.export)
    methods = _blocking(AsyncClient.methods)
    tasks = _blocking(AsyncClient.tasks)
    searchers = _blocking(AsyncClient.searchers)
    events = _iterating(AsyncClient.events)
    watch = _iterating(AsyncClient.watch)
    wait = _blocking(AsyncClient.wait)
    logs = _iterating(AsyncClient.logs)
