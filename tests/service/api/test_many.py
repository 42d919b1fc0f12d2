"""A thousand studies queued at once, and five hundred listeners: nothing is lost, and memory stays flat."""

import asyncio
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import psutil
import pytest
from served import Served
from writers import spec

from service.database.engine import connect, upgrade
from service.database.store import Store
from service.records import QUEUED

STUDIES, SUBMITTED, LISTENERS = 1000, 200, 500
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def served(tmp_path: Path, spoken_digits: Path) -> Iterator[Served]:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    upgrade(connect(url))
    with Served(url, spoken_digits) as found:
        yield found


async def hears(at: str, study: str, last: int) -> list[int]:
    """Return the numbers of the study's events up to `last`, without the costs of a real client."""
    host, _, port = at.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /v1/studies/{study}/events?after=0 HTTP/1.1\r\nHost: {at}\r\n\r\n".encode())
    assert b" 200 " in await reader.readline()
    numbers: list[int] = []
    while numbers[-1:] < [last]:
        line = await reader.readline()
        assert line, "the stream has ended"
        if line.startswith(b"data: "):
            numbers.append(json.loads(line.removeprefix(b"data: "))["number"])
    writer.close()
    return numbers


def test_a_thousand_studies_and_five_hundred_listeners(served: Served) -> None:
    store = Store(connect(served.database_url))
    process, resident = psutil.Process(served.pid), []

    def happen(ids: list[str], priority: int) -> None:
        for study in ids[:LISTENERS]:
            store.edit(study, actor="ada", priority=priority)

    async def main() -> list[str]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=served.url, limits=limits, timeout=120) as http:
            sending = asyncio.Semaphore(20)

            async def submit(number: int) -> str:
                async with sending:
                    study = spec(f"queued-{number}").to_json()
                    answer = await http.post("/v1/studies", json=study)
                assert answer.status_code == 202, answer.text
                found: str = answer.json()["id"]
                return found

            ids = await asyncio.gather(*map(submit, range(SUBMITTED)))
            ids += [store.create_study(spec(f"queued-{n}"), {}).id for n in range(SUBMITTED, STUDIES)]
            for last in (2, 3, 4):
                listening = [hears(served.url.rpartition("/")[2], study, last) for study in ids[:LISTENERS]]
                async with asyncio.timeout(300):
                    _, *heard = await asyncio.gather(asyncio.to_thread(happen, ids, last), *listening)
                assert heard == [list(range(1, last + 1))] * LISTENERS
                resident.append(process.memory_info().rss)
        return ids

    ids = asyncio.run(main())
    assert {study.id: study.state for study in store.studies()} == dict.fromkeys(ids, QUEUED)
    # each round fills the caches more or less; 10 kB kept per listener would add 5 MB in each round
    assert min(after - before for before, after in pairwise(resident)) < 4e6, resident
