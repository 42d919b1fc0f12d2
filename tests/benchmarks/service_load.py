"""The service's reads while a study runs: 50 clients, each asking once a second, over a database of 100,000 trials.

    python tests/benchmarks/service_load.py [--database sqlite|POSTGRESQL_URL] [--scale 1] [--seconds 60] [--no-study]

Fills a new database with 200 studies (times --scale, as all its trials, epochs and events), 50 of them of 1,000 trials.
`tunebench serve` serves it and runs a study of 1,000 trials on the same cores: a Ray head that has run for a minute, a
driver, as many workers as cores; --no-study leaves that study queued for comparison. Each request goes to a random
route and to one of the fifty 1,000-trial studies, one request in five to the running one. A latency is that of a whole
answer as the client sees it; answers that must be computed, because nobody has asked that of the study before, are
shown separately. All this happens twice: the first time nothing is computed yet. Then the same clients ask without a
pause, which gives the throughput. Beside the latencies it prints how long the service, its analysts and the study ran
on the cores, and how long the former two were ready but had no core. Finally it prints which of these queries' plans
read a whole table.
"""

import argparse
import asyncio
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import psutil
import psycopg
from sqlalchemy import Column, Engine, event, insert

from service.api.analyses import Analysis
from service.api.analyst import IDLE_SECONDS
from service.api.app import create_app
from service.api.services import Services
from service.api.stream import Streams
from service.cluster.head import STEADY_SECONDS
from service.cluster.jobs import Jobs
from service.database.engine import connect, reading, upgrade, writing
from service.database.rows import outline
from service.database.store import EPOCH_COLUMNS, TRIAL_COLUMNS, Store
from service.database.tables import epochs, events, labels, metadata, studies, trials
from service.records import EventKind
from service.settings import Settings
from studies.design.spec import StudySpec, from_json
from studies.records import EpochRecord, TrialRecord, TrialState

sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))
from synthetic import START, figure8_like

STUDIES, LARGE = 200, 50
METHODS = ["gradient-filter", "latent-sgd"]
SHAPES = {True: (20, 25), False: (7, 24)}  # runs and trials of a large study and of any other
# the paths that are asked for, and the milliseconds that 99 of 100 answers may take; None: no limit
ROUTES: dict[str, tuple[str, float | None]] = {
    "studies": ("/v1/studies?limit=50", 50),
    "studies, filtered": ("/v1/studies?state=completed&task=spoken-digits&label=team:{team}&limit=50", 50),
    "study": ("/v1/studies/{study}", 50),
    "trials, a page": ("/v1/studies/{study}/trials?sort=objective&order=desc&limit=100", 50),
    "curves": ("/v1/studies/{study}/curves", 150),
    "comparison": ("/v1/studies/{study}/comparison", 150),
    "figure8.svg": ("/v1/studies/{study}/figure8.svg", 1000),
}
COMPUTED = ("curves", "comparison", "figure8.svg")


def spec_of(number: int, large: bool) -> StudySpec:
    runs, budget = SHAPES[large]
    study = {"name": f"load-{number}", "task": "spoken-digits", "methods": METHODS, "seed": number}
    return from_json(study | {"runs": runs, "trials": budget})


@cache
def template(large: bool, kind: int) -> tuple[tuple[str, int, int, float], ...]:
    """Return method, run, trial and objective of every trial of a study; there are ten kinds."""
    runs, budget = SHAPES[large]
    _, made = figure8_like(runs, budget, seed=kind)
    return tuple((t.arm, t.run, t.trial, t.objective or 0.0) for t in made)


def record_of(study: str, method: str, run: int, number: int, objective: float) -> TrialRecord:
    begun = START + timedelta(seconds=number)
    values = (
        {"alpha": 0.01 * run, "gamma": 0.1}
        if method == METHODS[0]
        else {"learning_rate": 0.1, "scaling": True}
    )
    return TrialRecord(
        study=study,
        arm=method,
        run=run,
        trial=number,
        state=TrialState.COMPLETED,
        hyperparameters=values,
        source="sobol" if number <= 5 else "model",
        seed=1000 * run + number,
        objective=objective,
        test_metric=objective - 0.01,
        suggest_seconds=0.2,
        train_seconds=0.5,
        attempts=1,
        error=None,
        started_at=begun,
        finished_at=begun + timedelta(seconds=1),
        epochs=tuple(
            EpochRecord(
                epoch=epoch,
                train_loss=1 / epoch,
                validation_metric=objective,
                test_metric=objective,
                flip_ratio=0.01,
                train_seconds=0.15,
                evaluate_seconds=0.01,
            )
            for epoch in (1, 2, 3)
        ),
    )


def values_of(record: object, columns: list[Column[Any]]) -> dict[str, Any]:
    return {column.name: getattr(record, column.name) for column in columns}


def fill(engine: Engine, scale: int) -> tuple[list[str], int]:
    """Store the studies. Returns the ids of the large ones and the number of trials in all."""
    large_ids, row, total = [], 0, 0
    for number in range(STUDIES * scale):
        large = number % (STUDIES // LARGE) == 0
        spec, done = spec_of(number, large), template(large, number % 10)
        if large:
            large_ids.append(spec.study_id)
        rows: dict[Any, list[dict[str, Any]]] = {studies: [], labels: [], trials: [], epochs: [], events: []}
        created = START + timedelta(minutes=number)
        finished = created + timedelta(minutes=9)
        provenance = {
            "commit": "0" * 40,
            "python": "3.11",
            "versions": {"torch": "2.13"},
            "hardware": {"cores": 2},
        }
        rows[studies].append(
            {
                "id": spec.study_id,
                "name": spec.name,
                "state": "completed",
                "direction": "maximize",
                "task": spec.task,
            }
            | {"spec": spec.to_json(), "outline": outline(spec.to_json())}
            | {"provenance": provenance, "submitted_by": "load"}
            | {"created_at": created, "started_at": created, "finished_at": finished}
            | {"completed": len(done), "last_event": len(done) + 2}
            | {"suggest_seconds": 0.2 * len(done), "train_seconds": 0.5 * len(done)}
        )
        rows[labels].append({"study": spec.study_id, "label": f"team:{number % 10}"})
        about = {"study": spec.study_id, "time": created, "actor": "load"}
        changes = [
            {"from": None, "to": "queued", "reason": None},
            {"from": "queued", "to": "running", "reason": None},
        ]
        for place, data in enumerate(changes, start=1):
            rows[events].append(about | {"number": place, "kind": EventKind.STATE, "data": data})
        for place, (method, run, trial, objective) in enumerate(done, start=3):
            row += 1
            record = record_of(spec.study_id, method, run, trial, objective)
            rows[trials].append({"id": row} | values_of(record, TRIAL_COLUMNS))
            rows[epochs] += [{"trial": row} | values_of(epoch, EPOCH_COLUMNS) for epoch in record.epochs]
            data = {
                "arm": method,
                "run": run,
                "trial": trial,
                "state": "completed",
                "objective": objective,
            }
            rows[events].append(about | {"number": place, "kind": EventKind.TRIAL, "data": data})
        with writing(engine) as connection:
            for table, content in rows.items():
                connection.execute(insert(table), content)
        total += len(done)
    if engine.dialect.name == "postgresql":
        with writing(engine) as connection:  # the ids were given; the planner is told as autovacuum would
            connection.exec_driver_sql(
                "SELECT setval(pg_get_serial_sequence('trials', 'id'), max(id)) FROM trials"
            )
            connection.exec_driver_sql("ANALYZE")
    return large_ids, total


@contextmanager
def serving(url: str, folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Run `tunebench serve` with its own Ray head; yield its process and its address."""
    data = Settings.from_environment().data_dir / "spoken-digits"
    if not data.exists():
        sys.exit("the study trains on spoken-digits: run tunebench data fetch spoken-digits first")
    (folder / "spoken-digits").symlink_to(data)
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "service.cli", "serve", "--db", url, "--port", str(port)]
    more = {"TUNEBENCH_DATA_DIR": str(folder), "PYTHONPATH": str(Path(__file__).parents[2])}
    kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with (folder / "serve.log").open(
        "w"
    ) as log:  # a session of its own, as a terminal or systemd would give it
        process = subprocess.Popen(
            command, env=kept | more, stdout=log, stderr=log, start_new_session=True, cwd=folder
        )
    try:
        yield psutil.Process(process.pid), f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def trials_of(http: httpx.Client, study: str) -> int:
    found = http.get(f"/v1/studies/{study}").json()["trials"]
    return sum(found[state] for state in ("completed", "diverged", "failed"))


def wait_for_trials(http: httpx.Client, study: str, wanted: int) -> None:
    """Wait until the study has that many trials; exit the program if it does not get there."""
    until = time.monotonic() + 300
    while trials_of(http, study) < wanted:
        if time.monotonic() > until:
            sys.exit(f"the study does not run: {http.get(f'/v1/studies/{study}').text}")
        time.sleep(0.5)


def ask(
    base: str,
    large: list[str],
    running: str,
    seconds: float,
    clients: int,
    pause: float,
    asked: set[tuple[str, str]],
    results: Any,
) -> None:
    """Let the clients ask; `results` gets each request's (route, first time, status, seconds), and the set `asked`."""

    async def client(http: httpx.AsyncClient, number: int, until: float) -> None:
        choose = random.Random(f"{len(asked)} {number}")
        await asyncio.sleep(choose.random() * pause)
        while (began := time.perf_counter()) < until:
            route = choose.choice(list(ROUTES))
            study = running if choose.random() < 0.2 else choose.choice(large)
            path = ROUTES[route][0].format(study=study, team=choose.randrange(10))
            first = (route, study) not in asked
            asked.add((route, study))
            response = await http.get(path)
            took = time.perf_counter() - began
            found.append((route, first and route in COMPUTED, response.status_code, took))
            await asyncio.sleep(max(0.0, pause - took))

    async def main() -> None:
        limits = httpx.Limits(max_connections=clients, keepalive_expiry=2)  # before the server closes them
        async with httpx.AsyncClient(base_url=base, limits=limits, timeout=60) as http:
            until = time.perf_counter() + seconds
            await asyncio.gather(*(client(http, number, until) for number in range(clients)))

    found: list[tuple[str, bool, int, float]] = []
    asyncio.run(main())
    results.put((found, asked))


def shown(found: list[tuple[str, bool, int, float]]) -> None:
    """Print a table of latencies by route."""
    by_route: dict[str, dict[bool, list[float]]] = defaultdict(lambda: {False: [], True: []})
    for route, first, _, seconds in found:
        by_route[route][first].append(1000 * seconds)
    heads = ("requests", "median", "p99", "longest", "p99 wanted")
    print(f"{'milliseconds':34}" + "".join(f"{head:>12}" for head in heads))
    for route, (_, wanted) in ROUTES.items():
        again, first = by_route[route][False], by_route[route][True]
        rows = {route: first + again}
        if route in COMPUTED:
            rows |= {"  asked for the first time": first, "  again": again}
        for name, taken in rows.items():
            if taken:
                median, p99 = np.quantile(taken, [0.5, 0.99])
                cells = (f"{len(taken)}", f"{median:.1f}", f"{p99:.1f}", f"{max(taken):.1f}")
                goal = f"{wanted:.0f}" if name == route and wanted else ""
                print(f"{name:34}" + "".join(f"{cell:>12}" for cell in (*cells, goal)))


def plans(url: str, study: str) -> Iterator[str]:
    """Yield the queries of all routes that read a whole table, with the table."""
    engine = connect(url)
    queries: dict[str, Any] = {}

    def note(*args: Any) -> None:
        if args[2].startswith("SELECT") and "FROM" in args[2]:
            queries.setdefault(args[2], args[3])

    event.listen(engine, "before_cursor_execute", note)
    store = Store(engine)
    queries.clear()

    async def main() -> None:
        analysis = Analysis(store)
        jobs, streams = Jobs("http://127.0.0.1:1", None), Streams(store, 10)
        services = Services(
            Settings(url, Path(tempfile.gettempdir())), store, jobs, analysis, streams, lambda: None
        )
        transport = httpx.ASGITransport(create_app(services), client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            for path, _ in ROUTES.values():
                (await http.get(path.format(study=study, team=3))).raise_for_status()
        analysis.close()

    asyncio.run(main())
    store.trials(study, with_epochs=True)  # what the other process reads
    store.outcomes(study)
    store.events(study, 7)
    store.last_events([study])
    sqlite = engine.dialect.name == "sqlite"
    with reading(engine) as connection:
        for query, values in list(queries.items()):
            explain = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN "
            for *_, line in connection.exec_driver_sql(explain + query, values):
                if found := re.search(r"Seq Scan on (\w+)|^SCAN (\w+)(?!.* INDEX )", line):
                    name = found[1] or found[2]
                    if name in metadata.tables or len(name) == 1:  # a letter: an alias within the view
                        yield f"{line.strip()}: {' '.join(query.split())[:100]} ..."
    print(f"\n{len(queries)} different queries")
    engine.dispose()


def parts(service: psutil.Process) -> dict[str, list[psutil.Process]]:
    """Return the processes of the service, of its analysts, and of everything of its Ray."""
    found: dict[str, list[psutil.Process]] = {"service": [service], "analysts": [], "study": []}
    for child in service.children():
        with suppress(psutil.NoSuchProcess):
            if "service.api.analyst" in child.cmdline():
                found["analysts"].append(child)
            else:
                found["study"] += [child, *child.children(recursive=True)]
    return found


def core_seconds(service: psutil.Process) -> Counter[tuple[int, int, str, str]]:
    """Return the seconds that each thread `ran`, and that it was ready but `waited` for a core (Linux's schedstat)."""
    seconds: Counter[tuple[int, int, str, str]] = Counter()
    for part, processes in parts(service).items():
        for process in processes:
            for thread in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
                with suppress(OSError):  # ended
                    ran, waited, _ = map(int, thread.read_text().split())
                    where = process.pid, int(thread.parent.name), part
                    seconds[*where, "ran"], seconds[*where, "waited"] = ran / 1e9, waited / 1e9
    return seconds


def memory(service: psutil.Process) -> str:
    """Return the memory of the service and of the processes that compute for it."""
    found = parts(service)
    held = [f"{process.memory_info().rss / 1e6:.0f}" for process in found["service"] + found["analysts"]]
    return f"{' + '.join(held)} MB in {len(held)} processes"


@contextmanager
def database(where: str) -> Iterator[str]:
    """Make a new database, removed at the end; yield its URL."""
    if where == "sqlite":
        folder = tempfile.mkdtemp()
        try:
            yield f"sqlite:///{folder}/load.db"
        finally:
            shutil.rmtree(folder)
        return
    schema = f"load_{uuid4().hex}"
    with psycopg.connect(where, autocommit=True) as server:
        server.execute(f"CREATE SCHEMA {schema}")
        try:
            yield where + ("&" if "?" in where else "?") + f"options=-csearch_path%3D{schema}"
        finally:
            server.execute("SET client_min_messages = warning")
            server.execute(f"DROP SCHEMA {schema} CASCADE")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", default="sqlite", help="sqlite or a PostgreSQL URL")
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument(
        "--no-study", action="store_false", dest="study", help="measure without one that runs"
    )
    parser.add_argument("--idle", action="store_true", help="wait until the service idles, and measure that")
    arguments = parser.parse_args()
    load = f"load before {os.getloadavg()[0]:.1f}"
    print(f"python {' '.join(sys.argv)}, {os.cpu_count()} cores, {load}", flush=True)
    with database(arguments.database) as url:
        measure(url, arguments)


def measure(url: str, arguments: argparse.Namespace) -> None:
    engine = connect(url)
    upgrade(engine)
    began = time.perf_counter()
    large, total = fill(engine, arguments.scale)
    large = large[:: arguments.scale]  # as many studies are asked about, whatever else there is
    took = time.perf_counter() - began
    print(
        f"{STUDIES * arguments.scale} studies, {total} trials on {engine.dialect.name}, filled in {took:.0f} s"
    )
    engine.dispose()
    context = get_context("spawn")
    results = context.Queue()
    with tempfile.TemporaryDirectory() as folder, serving(url, Path(folder)) as (service, base):
        http = httpx.Client(base_url=base, timeout=60)
        while True:
            with suppress(httpx.ConnectError):
                http.get("/healthz").raise_for_status()
                break
            time.sleep(0.1)
        running = http.post("/v1/studies", json=spec_of(10**6, True).to_json()).json()["id"]
        if arguments.study:
            wait_for_trials(http, running, 20)
            time.sleep(
                max(0.0, service.create_time() + STEADY_SECONDS + 10 - time.time())
            )  # see RayStart.lower_priority
        else:
            http.post(f"/v1/studies/{running}/pause").raise_for_status()
        for route in ("curves", "figure8.svg"):
            began = time.perf_counter()
            http.get(ROUTES[route][0].format(study=running)).raise_for_status()
            took = time.perf_counter() - began
            print(f"the first {route}, which starts a process to compute it: {took:.2f} s")
        asked: set[tuple[str, str]] = set()
        for title, pause, seconds in (
            ("each asking once a second, at first nothing is computed", 1.0, arguments.seconds),
            ("each asking once a second, a little later", 1.0, arguments.seconds),
            ("asking without a pause", 0.0, arguments.seconds / 4),
        ):
            given = (base, large, running, seconds, arguments.clients, pause, asked, results)
            load = context.Process(target=ask, args=given)
            before, trials_before = core_seconds(service), trials_of(http, running)
            load.start()
            found, asked = results.get(timeout=seconds + 120)
            load.join()
            refused = sum(status != 200 for _, _, status, _ in found)
            answers = f"{len(found) / seconds:.0f} answers a second, {refused} of them refusals"
            print(f"\n{arguments.clients} clients {title}: {answers}; load {os.getloadavg()[0]:.1f}")
            spent: Counter[tuple[str, str]] = Counter()
            for (_, _, part, what), value in (core_seconds(service) - before).items():
                spent[part, what] += value / seconds
            for part in ("service", "analysts", "study"):
                print(
                    f"{part}: {spent[part, 'ran']:.0%} of a core, waiting for one {spent[part, 'waited']:.0%}"
                )
            print(f"the study: {trials_of(http, running) - trials_before} trials")
            shown(found)
        print(f"\nthe service: {memory(service)}")
        if arguments.idle:
            http.post(f"/v1/studies/{running}/cancel")
            time.sleep(IDLE_SECONDS + 5)
            before = core_seconds(service)
            time.sleep(20)
            used = core_seconds(service) - before
            own = sum(value for (*_, part, what), value in used.items() if (part, what) == ("service", "ran"))
            print(f"idle: {memory(service)}, {own / 20:.2%} of a core")
    whole = list(plans(url, large[0]))
    print("\n".join(["queries that read a whole table:", *whole]) if whole else "none reads a whole table")


if __name__ == "__main__":
    main()
