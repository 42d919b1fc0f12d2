"""Studies as Ray jobs, over the HTTP side of Ray's Jobs API: the service itself does not load Ray."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from functools import cache
from typing import Any

import httpx

from service.errors import RayUnavailable

ENDED = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
SECONDS = 5.0  # how long Ray may take to answer
CHECK_SECONDS = 1.0
SUBMIT_SECONDS = 15.0  # the first job waits until Ray's agent is up
LOOK_SECONDS = 1.0  # how often the state of a followed job is looked at while its log is silent


@cache
def _certificates() -> ssl.SSLContext:
    """Return the one context of all clients: making it takes 20 ms and half a megabyte."""
    return httpx.create_ssl_context(trust_env=False)


class Jobs:
    """The jobs of one cluster, for any number of threads. Every method raises RayUnavailable rather than wait.

    `dashboard` is the URL of Ray's dashboard, or returns it if it may change. A submission id names one job for good.
    Ray forgets all jobs when its head starts again; a job that Ray does not know has no state and no log. `why` returns
    what is known to be wrong with the cluster, or an empty text.
    """

    def __init__(
        self, dashboard: str | Callable[[], str], token: str | None, why: Callable[[], str] = str
    ) -> None:
        self._dashboard, self.why = dashboard, why
        self._http: dict[str, Any] = {
            "headers": {"Authorization": f"Bearer {token}"} if token else {},
            "timeout": SECONDS,
            "trust_env": False,  # no proxy: those of the environment are for the outside
            "verify": _certificates(),
        }
        self._client = httpx.Client(**self._http)
        self.known: frozenset[str] = frozenset()  # the jobs that Ray listed when it was last asked

    @property
    def dashboard_url(self) -> str:
        return self._dashboard if isinstance(self._dashboard, str) else self._dashboard()

    def close(self) -> None:
        self._client.close()

    def require_answer(self) -> None:
        """Raise RayUnavailable unless the cluster answers, and soon."""
        self._ask("GET", "/api/version", timeout=CHECK_SECONDS)

    def submit(self, submission_id: str, entrypoint: str, metadata: Mapping[str, str]) -> None:
        """Run a shell command on the head's machine, in the head's environment. It reserves no resources."""
        job = {"submission_id": submission_id, "entrypoint": entrypoint, "metadata": dict(metadata)}
        self._ask("POST", "/api/jobs/", json=job, timeout=SUBMIT_SECONDS)

    def states(self) -> dict[str, str]:
        """Return the state of every job: PENDING, RUNNING or one of `ENDED`."""
        self.known, jobs = frozenset(), self._ask("GET", "/api/jobs/").json()
        states = {job["submission_id"]: job["status"] for job in jobs if job["submission_id"] is not None}
        self.known = frozenset(states)
        return states

    def workers(self, submission_id: str) -> int:
        """Return how many workers of the job are still alive."""
        if (job := self._job(submission_id).get("job_id")) is None:
            return 0
        chosen = {
            "filter_keys": ["job_id", "state"],
            "filter_predicates": ["=", "!="],
            "filter_values": [job, "DEAD"],
        }
        return len(self._listed("actors", chosen))

    def nodes(self) -> list[dict[str, float]]:
        """Return the resources of each machine of the cluster: CPU, GPU, memory in bytes and Ray's own kinds."""
        alive = {"filter_keys": "state", "filter_predicates": "=", "filter_values": "ALIVE", "detail": "true"}
        return [node["resources_total"] for node in self._listed("nodes", alive)]

    def _listed(self, kind: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return entries of a kind from Ray's state API, at most a hundred."""
        answer = self._ask("GET", f"/api/v0/{kind}", params=params).json()
        found: list[dict[str, Any]] = answer["data"]["result"]["result"]
        return found

    def metrics(self) -> list[dict[str, Any]]:
        """Return the addresses of the nodes' metrics, in the format of Prometheus' HTTP service discovery."""
        found: list[dict[str, Any]] = self._ask("GET", "/api/prometheus/sd").json()
        return found

    def stop(self, submission_id: str) -> None:
        """Make Ray end the job: SIGTERM, some seconds later SIGKILL. Returns before the job has ended."""
        self._ask("POST", f"/api/jobs/{submission_id}/stop")

    def logs(self, submission_id: str, lines: int) -> str | None:
        """Return the last lines of the job's log; None if Ray does not know the job."""
        if not (job := self._job(submission_id)):
            return None
        log = _log(job, lines)
        return "" if log is None else self._ask("GET", "/api/v0/logs/file", params=log).text

    async def follow(self, submission_id: str, lines: int) -> AsyncIterator[str]:
        """Yield the last lines of the job's log, then what is added to it, until the job has ended."""
        job = await asyncio.to_thread(self._job, submission_id)
        while (log := _log(job, lines)) is None and not _has_ended(job):
            await asyncio.sleep(LOOK_SECONDS)
            job = await asyncio.to_thread(self._job, submission_id)
        if log is None:
            return
        async with aclosing(self._streamed(log)) as chunks:
            async for chunk in chunks:
                if chunk is not None:
                    yield chunk
                elif _has_ended(job):
                    return
                else:
                    job = await asyncio.to_thread(self._job, submission_id)

    async def _streamed(self, log: Mapping[str, Any]) -> AsyncGenerator[str | None, None]:
        """Yield a log as it comes, and None when nothing has come for a while."""
        url, params = f"{self.dashboard_url}/api/v0/logs/stream", {**log, "interval": "0.5"}
        try:
            async with (
                httpx.AsyncClient(**self._http) as client,
                client.stream("GET", url, params=params, timeout=None) as response,
                aclosing(_with_silences(response.aiter_text())) as chunks,
            ):
                if response.is_error:
                    await response.aread()
                    self._check(response)
                async for chunk in chunks:
                    yield chunk
        except httpx.HTTPError as error:
            raise self._unavailable(error) from error

    def _job(self, submission_id: str) -> dict[str, Any]:
        """Return Ray's entry of the job, empty if Ray does not know the job."""
        response = self._ask("GET", f"/api/jobs/{submission_id}")
        return response.json() if response.status_code == httpx.codes.OK else {}

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Return the answer; a 404 counts as an answer."""
        try:
            response = self._client.request(method, f"{self.dashboard_url}{path}", **request)
        except httpx.HTTPError as error:
            raise self._unavailable(error) from error
        self._check(response)
        return response

    def _check(self, response: httpx.Response) -> None:
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise RayUnavailable(
                f"Ray at {self.dashboard_url} refuses the token; set RAY_AUTH_TOKEN to the cluster's token, or "
                "put it into the file that RAY_AUTH_TOKEN_PATH names, or into ~/.ray/auth_token"
            )
        if response.is_error and response.status_code != httpx.codes.NOT_FOUND:
            told = [line for line in response.text.splitlines() if line.strip(". ")]  # a traceback, mostly
            reason = told[-1] if told else "no reason given"
            raise RayUnavailable(f"Ray at {self.dashboard_url} answers {response.status_code}: {reason}")

    def _unavailable(self, error: httpx.HTTPError) -> RayUnavailable:
        reason = self.why() or str(error) or type(error).__name__
        return RayUnavailable(f"Ray at {self.dashboard_url} does not answer: {reason}")


def _has_ended(job: Mapping[str, Any]) -> bool:
    return not job or job["status"] in ENDED


def _log(job: Mapping[str, Any], lines: int) -> dict[str, str] | None:
    """Return the parameters to request the job's log with; None if it has no log yet."""
    if not job or job["driver_node_id"] is None:
        return None
    return {"node_id": job["driver_node_id"], "submission_id": job["submission_id"], "lines": str(lines)}


async def _with_silences(chunks: AsyncIterator[str]) -> AsyncGenerator[str | None, None]:
    """Yield the chunks as they come, and None after every LOOK_SECONDS without a chunk."""
    arriving = asyncio.ensure_future(anext(chunks, None))
    try:
        while True:
            done, _ = await asyncio.wait({arriving}, timeout=LOOK_SECONDS)
            if not done:
                yield None
                continue
            if (chunk := arriving.result()) is None:
                return
            yield chunk
            arriving = asyncio.ensure_future(anext(chunks, None))
    finally:
        arriving.cancel()
