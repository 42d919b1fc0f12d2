"""Analyses by the service: the same as computed here, and computed once, whatever happens to the computing process."""

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from synthetic import confirmed_study
from writers import spec, trial

from service import priority
from service.api import analyses, analyst
from service.api.analyses import Analysis
from service.api.analyst import ANALYSES
from service.api.app import create_app
from service.api.services import Services
from service.api.stream import Streams
from service.cluster.jobs import Jobs
from service.database.lease import Lease
from service.database.owner import Owner
from service.database.store import Store
from service.errors import AnalysisStopped, DatabaseError, StudyUnknown
from service.schemas import ComparisonAnswer, Curves, DifferingSigns
from service.settings import Settings
from studies.analysis.comparison import compare
from studies.design.spec import stored
from studies.records import Request, Series, StudyState, TrialState
from studies.results.data_tables import FORMS, TABLES, table
from studies.results.export import IMAGES, archive, image

# for tests of computing, processes, caching and answers, which do not depend on the database
on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


def run(test: Callable[[Analysis], Awaitable[None]], store: Store) -> None:
    """Run the test with its own Analysis."""

    async def main() -> None:
        computing = Analysis(store)
        try:
            async with asyncio.timeout(120):
                await test(computing)
        finally:
            computing.close()

    asyncio.run(main())


def fill(store: Store, lease: Lease, runs: int = 2, trials: int = 3) -> None:
    """Store every trial of both methods: objectives rise, except that one trial diverged and one failed."""
    for method in ("gradient-filter", "latent-sgd"):
        for r in range(1, runs + 1):
            for n in range(1, trials + 1):
                changes: dict[str, Any] = {"objective": 0.5 + 0.01 * n * r}
                if (method, r, n) == ("latent-sgd", 2, 1):
                    changes = {"objective": float("-inf"), "state": TrialState.DIVERGED}
                if (method, r, n) == ("gradient-filter", 1, 2):
                    changes = {
                        "objective": None,
                        "test_metric": None,
                        "state": TrialState.FAILED,
                        "error": "x",
                    }
                store.record(lease, trial(lease.study, method, r, n, **changes))


def children() -> set[int]:
    """Return the pids of the processes that compute for this one."""
    found = set()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # ended, or about to be reaped
            if "service.api.analyst" in child.cmdline():
                found.add(child.pid)
    return found


async def soon(done: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not done():
            await asyncio.sleep(0.02)


def test_everything_that_can_be_exported_can_be_asked_for() -> None:
    assert ANALYSES.keys() == (
        {"curves", "comparison", "differing-signs", "export.zip"}
        | {f"figure8.{kind}" for kind in IMAGES}
        | {f"{name}.{form}" for name in TABLES for form in FORMS}
    )


@pytest.mark.slow
@on_sqlite
def test_what_comes_out_is_what_is_computed_here(store: Store, lease: Lease) -> None:
    fill(store, lease)
    store.finish(lease, StudyState.COMPLETED)
    study, trials = store.study_by_id(lease.study), store.trials(lease.study, with_epochs=True)

    async def main(computing: Analysis) -> None:
        found = {what: await computing.get(study.id, what) for what in ANALYSES}
        for pid in children():
            assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text(), "a second and 200 MB more"
        assert {one.last_event for one in found.values()} == {study.last_event}
        content = {what: one.content for what, one in found.items()}

        curves = Curves.model_validate_json(content["curves"])
        best = [[1, [0.51, 0.51, 0.53]], [2, [0.52, 0.54, 0.56]]]
        assert [[one.run, list(one.best_so_far)] for one in curves.arms["gradient-filter"].runs] == best
        assert curves.arms["latent-sgd"].runs[1].best_so_far == (float("-inf"), 0.54, 0.56)
        assert curves.arms["latent-sgd"].label == "latent SGD"
        assert curves.arms["gradient-filter"].median == (0.515, 0.525, 0.545)
        assert (curves.task, curves.direction, curves.last_event) == (
            "spoken-digits",
            "maximize",
            study.last_event,
        )

        comparison = ComparisonAnswer.model_validate_json(content["comparison"])
        assert comparison.comparison == compare(study, trials)
        assert comparison.summary.startswith("Gradient filter (2 hyperparameters)")
        assert "epochs of a completed trial" in [check.what for check in comparison.comparison.parity]

        for kind in IMAGES:
            assert content[f"figure8.{kind}"] == image(study, trials, kind)
        for name in TABLES:
            for form in FORMS:
                assert content[f"{name}.{form}"] == table(study, trials, name, form)
        with_epochs = store.trials(study.id, with_epochs=True)
        assert zipfile.ZipFile(io.BytesIO(content["export.zip"])).testzip() is None
        assert content["export.zip"] == archive(study, with_epochs)

    run(main, store)


@pytest.mark.slow
@on_sqlite
def test_what_is_confirmed_is_in_all_that_is_answered(store: Store) -> None:
    made, made_trials, made_confirmations = confirmed_study(runs=6, trials=3, seeds=2)
    study = store.create_study(stored(made), {}).id
    lease = store.claim(study, Owner.current(), 60)
    for each in made_trials:
        store.record(lease, replace(each, study=study))
    for fresh in made_confirmations:
        store.confirm(lease, replace(fresh, study=study))
    record, trials, confirmations = store.study_by_id(study), store.trials(study), store.confirmations(study)

    found = {what: compute(store, record) for what, compute in ANALYSES.items()}
    comparison = ComparisonAnswer.model_validate_json(found["comparison"])
    assert comparison.comparison == compare(record, trials, confirmations=confirmations)
    assert comparison.comparison.endpoint == "confirmed"
    curves = Curves.model_validate_json(found["curves"]).arms
    control = curves["filter-published"]
    assert control.confirmed[0] == control.confirmed[2]
    assert control.confirmed_low[0] < control.confirmed[0] < control.confirmed_high[0]
    assert len(curves["gradient-filter"].held_out) == 3
    assert found["figure8.svg"] == image(record, trials, "svg", confirmations)
    assert found["confirmations.csv"] == table(record, trials, "confirmations", "csv", confirmations)
    assert len(found["confirmations.csv"].splitlines()) == 1 + len(confirmations)
    with zipfile.ZipFile(io.BytesIO(found["export.zip"])) as packed:
        assert f"{study}/confirmations.csv" in packed.namelist()


@pytest.mark.slow
@on_sqlite
def test_differing_signs_are_answered_where_they_are_recorded(store: Store) -> None:
    study = store.create_study(spec(record={"signs": True}, runs=2, trials=1), {}).id
    lease = store.claim(study, Owner.current(), 60)
    packed = {("gradient-filter", 1): [[0], [7]], ("latent-sgd", 1): [[1], [7]]}
    packed |= {("gradient-filter", 2): [[0]], ("latent-sgd", 2): [[255]]}
    for (method, number), rows in packed.items():
        series = ((Series.of("signs", range(5, 5 + 5 * len(rows), 5), np.uint8(rows)),),)
        store.record(lease, trial(study, method, number, series=series))

    async def main(computing: Analysis) -> None:
        found = DifferingSigns.model_validate_json((await computing.get(study, "differing-signs")).content)
        assert found.last_event == store.study_by_id(study).last_event
        (pair,) = found.pairs
        assert (pair.first, pair.second_label, pair.steps) == ("gradient-filter", "latent SGD", (5, 10))
        assert [(each.run, each.differing) for each in pair.runs] == [(1, (1, 0)), (2, (8, None))]
        assert pair.mean == (4.5, 0)
        rows = (await computing.get(study, "differing-signs.csv")).content.decode().splitlines()
        counted = ("1,1,1,5,1", "1,1,1,10,0", "2,1,1,5,8")
        assert rows[1:] == [f"{study},gradient-filter,latent-sgd,{row}" for row in counted]

    run(main, store)


@pytest.mark.slow
@on_sqlite
def test_a_study_without_trials_has_every_analysis(store: Store) -> None:
    study = store.create_study(spec(), {})
    found = {what: compute(store, study) for what, compute in ANALYSES.items()}
    assert all(found.values())
    methods = json.loads(found["curves"])["arms"]
    assert [method["runs"][1] for method in methods.values()] == [{"run": 2, "best_so_far": []}] * 2
    assert "nothing to compare yet" in json.loads(found["comparison"])["summary"]
    assert b"gradient filter" in found["figure8.svg"]


@on_sqlite
def test_many_who_ask_at_once_cost_one_computation(store: Store, lease: Lease) -> None:
    fill(store, lease)

    async def main(computing: Analysis) -> None:
        asked = [asyncio.create_task(computing.get(lease.study, "comparison")) for _ in range(50)]
        await asyncio.sleep(0.1)
        asked.pop(0).cancel()  # the request that it was started for
        found = await asyncio.gather(*asked)
        assert len({id(one) for one in found}) == 1
        assert len(children()) == 1
        later = await computing.get(lease.study, "comparison")
        assert later is found[0]

    run(main, store)


@on_sqlite
def test_nothing_is_older_than_what_has_happened_unless_the_study_runs(
    store: Store, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyses, "STALE_TIMES", 1e9)

    async def main(computing: Analysis) -> None:
        async def last() -> int:
            return (await computing.get(lease.study, "curves")).last_event

        await computing.get(lease.study, "comparison")  # the process is up
        first = await last()
        store.record(lease, trial(lease.study))
        assert await last() == first  # computed a moment ago
        await asyncio.sleep(analyses.STALE_SECONDS)
        assert await last() == first + 1
        store.record(lease, trial(lease.study, number=2))
        assert await last() == first + 1
        store.finish(lease, StudyState.PAUSED)
        assert await last() == first + 3
        store.edit(lease.study, actor="ada", priority=3)
        assert await last() == first + 4

    run(main, store)


@on_sqlite
def test_a_quick_analysis_is_seldom_old(store: Store, lease: Lease) -> None:
    async def main(computing: Analysis) -> None:
        await computing.get(lease.study, "comparison")  # the process is up
        began = time.monotonic()
        first = await computing.get(lease.study, "curves")
        new_at = began + analyses.STALE_TIMES * (time.monotonic() - began)
        store.record(lease, trial(lease.study))
        await asyncio.sleep(new_at - time.monotonic())
        assert (await computing.get(lease.study, "curves")).last_event == first.last_event + 1

    run(main, store)


def test_a_study_submitted_again_is_another_one(store: Store) -> None:
    study = store.create_study(spec(), {})
    store.ask(study.id, Request.CANCEL, actor="ada")

    async def main(computing: Analysis) -> None:
        before = await computing.get(study.id, "curves")
        store.delete(study.id)
        with pytest.raises(StudyUnknown):
            await computing.get(study.id, "curves")
        store.create_study(spec(), {})
        again = await computing.get(study.id, "curves")
        assert (before.last_event, again.last_event) == (2, 1)

    run(main, store)


@on_sqlite
def test_what_is_kept_has_a_limit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [store.create_study(spec(seed=seed), {}).id for seed in range(4)]

    async def main(computing: Analysis) -> None:
        size = len((await computing.get(ids[0], "curves")).content)
        monkeypatch.setattr(analyses, "KEPT_BYTES", int(2.5 * size))
        found = {study: await computing.get(study, "curves") for study in ids[:2]}
        assert await computing.get(ids[0], "curves") is found[ids[0]]  # now the other answer is the oldest
        await computing.get(ids[2], "curves")
        assert await computing.get(ids[0], "curves") is found[ids[0]]
        assert await computing.get(ids[1], "curves") is not found[ids[1]]
        monkeypatch.setattr(analyses, "KEPT_BYTES", 10)  # not even one
        assert await computing.get(ids[3], "curves") is not await computing.get(ids[3], "curves")

    run(main, store)


@on_sqlite
def test_a_process_that_is_killed_is_replaced(store: Store, lease: Lease) -> None:
    fill(store, lease)

    async def main(computing: Analysis) -> None:
        await computing.get(lease.study, "curves")
        (idle,) = children()
        os.kill(idle, signal.SIGKILL)
        store.edit(lease.study, actor="ada", priority=1)
        await asyncio.sleep(analyses.STALE_SECONDS)
        await computing.get(lease.study, "curves")  # killed while it waited
        (busy,) = children()
        assert busy != idle

        os.kill(busy, signal.SIGSTOP)  # so that it is killed before it is done
        asked = asyncio.create_task(computing.get(lease.study, "comparison"))
        await asyncio.sleep(0.2)
        assert not asked.done()
        os.kill(busy, signal.SIGKILL)
        assert json.loads((await asked).content)["comparison"]["study"] == lease.study
        (third,) = children()
        assert third not in (idle, busy)

    run(main, store)


@on_sqlite
def test_a_process_that_is_killed_again_is_a_problem_of_this_request_only(store: Store, lease: Lease) -> None:
    async def main(computing: Analysis) -> None:
        asked = asyncio.create_task(computing.get(lease.study, "curves"))
        killed: set[int] = set()
        while not asked.done():
            for child in children() - killed:
                os.kill(child, signal.SIGKILL)
                killed.add(child)
            await asyncio.sleep(0.005)
        with pytest.raises(AnalysisStopped, match="was killed before it finished"):
            await asked
        assert len(killed) == 2
        assert (await computing.get(lease.study, "curves")).content

    run(main, store)


@on_sqlite
def test_a_computation_without_end_is_given_up(
    store: Store, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(computing: Analysis) -> None:
        await computing.get(lease.study, "curves")
        (stuck,) = children()
        os.kill(stuck, signal.SIGSTOP)
        monkeypatch.setattr(analyst, "LONGEST_SECONDS", 0.5)
        with pytest.raises(AnalysisStopped, match=r"longer than 0\.5 seconds"):
            await computing.get(lease.study, "comparison")
        await soon(lambda: not children())
        monkeypatch.undo()
        assert (await computing.get(lease.study, "comparison")).content

    run(main, store)


@on_sqlite
def test_an_idle_process_ends(store: Store, lease: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(computing: Analysis) -> None:
        monkeypatch.setattr(analyst, "IDLE_SECONDS", 0.3)
        await computing.get(lease.study, "curves")
        await soon(lambda: not children())
        assert (await computing.get(lease.study, "comparison")).content

    run(main, store)


@on_sqlite
def test_a_process_ends_with_the_service(url: str, lease: Lease) -> None:
    code = (
        "import asyncio, sys\n"
        "from service.api.analyses import Analysis\n"
        "from service.database.engine import connect\n"
        "from service.database.store import Store\n"
        "async def main():\n"
        "    computing = Analysis(Store(connect(sys.argv[1])))\n"
        "    await computing.get(sys.argv[2], 'curves')\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, url, lease.study], stdout=subprocess.PIPE) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == b"ready\n"
        (child,) = psutil.Process(service.pid).children()
        assert (child.nice(), os.getsid(child.pid)) == (priority.NUMBERS, child.pid)
        service.kill()
    assert service.returncode == -signal.SIGKILL
    child.wait(10)


@on_sqlite
def test_what_is_wrong_in_the_process_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    study = store.create_study(spec(), {})

    async def main(computing: Analysis) -> None:
        with pytest.raises(StudyUnknown, match="no study 'nothing-00000000'"):
            await computing.get("nothing-00000000", "curves")
        with pytest.raises(RuntimeError, match="KeyError: 'moon'"):
            await computing.get(study.id, "moon")
        assert (await computing.get(study.id, "curves")).content

    run(main, store)
    # the process cannot reach the database, the service can: the process's faults become the same errors
    url = "postgresql://postgres@127.0.0.1:1/none"
    monkeypatch.setattr(analyses, "url_of", lambda _: url)

    async def away(computing: Analysis) -> None:
        with pytest.raises(DatabaseError, match="cannot be reached"):
            await computing.get(study.id, "curves")

    run(away, store)


def test_the_service_loads_nothing_that_computes() -> None:
    code = (
        "import sys, service.serve; "
        "print(*({'scipy', 'matplotlib', 'pandas', 'pyarrow', 'torch', 'ray', 'ax'} & sys.modules.keys()))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


@on_sqlite
def test_over_http(url: str, store: Store, lease: Lease, tmp_path: Path) -> None:
    fill(store, lease)
    store.finish(lease, StudyState.COMPLETED)

    async def main(computing: Analysis) -> None:
        jobs, streams = Jobs("http://127.0.0.1:1", None), Streams(store, 10)
        services = Services(Settings(url, tmp_path), store, jobs, computing, streams, lambda: None)
        transport = httpx.ASGITransport(create_app(services), client=("127.0.0.1", 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            path = f"/v1/studies/{lease.study}"
            types = {
                "curves": "application/json",
                "comparison": "application/json",
                "differing-signs": "application/json",
                "figure8.png": "image/png",
                "figure8.svg": "image/svg+xml",
                "figure8.pdf": "application/pdf",
                "export.zip": "application/zip",
                "export/trials.csv": "text/csv; charset=utf-8",
                "export/curves.csv": "text/csv; charset=utf-8",
                "export/confirmations.csv": "text/csv; charset=utf-8",
                "export/epochs.csv": "text/csv; charset=utf-8",
                "export/repeats.csv": "text/csv; charset=utf-8",
                "export/traces.csv": "text/csv; charset=utf-8",
                "export/differing-signs.csv": "text/csv; charset=utf-8",
                "export/published.csv": "text/csv; charset=utf-8",
                "export/trials.json": "application/json",
                "export/curves.json": "application/json",
                "export/confirmations.json": "application/json",
                "export/epochs.json": "application/json",
                "export/repeats.json": "application/json",
                "export/traces.json": "application/json",
                "export/differing-signs.json": "application/json",
                "export/published.json": "application/json",
                "export/trials.parquet": "application/vnd.apache.parquet",
                "export/curves.parquet": "application/vnd.apache.parquet",
                "export/confirmations.parquet": "application/vnd.apache.parquet",
                "export/epochs.parquet": "application/vnd.apache.parquet",
                "export/repeats.parquet": "application/vnd.apache.parquet",
                "export/traces.parquet": "application/vnd.apache.parquet",
                "export/differing-signs.parquet": "application/vnd.apache.parquet",
                "export/published.parquet": "application/vnd.apache.parquet",
            }
            assert len(types) == len(ANALYSES)
            for what, media_type in types.items():
                full = await client.get(f"{path}/{what}")
                assert full.status_code == 200, full.text
                assert full.headers["content-type"] == media_type
                expected = await computing.get(lease.study, what.removeprefix("export/"))
                assert full.content == expected.content
                assert full.headers["tunebench-last-event"] == str(expected.last_event)
                for tag in (full.headers["etag"], f'"other", {full.headers["etag"][2:]}', "*"):
                    same = await client.get(f"{path}/{what}", headers={"If-None-Match": tag})
                    assert (same.status_code, same.content) == (304, b"")
                    assert same.headers["etag"] == full.headers["etag"]
                other = await client.get(f"{path}/{what}", headers={"If-None-Match": '"other"'})
                assert other.status_code == 200
            named = await client.get(f"{path}/export/trials.csv")
            assert named.headers["content-disposition"] == f'attachment; filename="{lease.study}-trials.csv"'
            drawn = await client.get(f"{path}/figure8.svg")
            assert drawn.headers["content-disposition"] == f'inline; filename="{lease.study}-figure8.svg"'
            assert "script" not in drawn.headers["content-security-policy"]
            for missing in ("/v1/studies/nothing-00000000/curves", "/v1/studies/nothing-00000000/export.zip"):
                refused = await client.get(missing)
                assert (refused.status_code, refused.json()["type"]) == (404, "/problems/unknown-study")
            for wrong in ("figure8.gif", "export/trials.xlsx", "export/steps.csv"):
                assert (await client.get(f"{path}/{wrong}")).status_code == 422

    run(main, store)


@on_sqlite
def test_curves_wait_for_one_comparison_and_no_more(store: Store) -> None:
    ids = [store.create_study(spec(seed=seed), {}).id for seed in range(6)]

    async def main(computing: Analysis) -> None:
        comparisons = [asyncio.create_task(computing.get(study, "comparison")) for study in ids]
        await soon(lambda: len(computing._computing) == len(ids))
        await computing.get(ids[0], "curves")
        assert sum(task.done() for task in comparisons) <= 2
        await asyncio.gather(*comparisons)

    run(main, store)
