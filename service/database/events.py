"""The events of a study: numbering and reading them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from service.database.tables import events, studies
from service.records import EventKind, EventRecord


def append(
    connection: Connection,
    study: str,
    kind: EventKind,
    data: Mapping[str, Any],
    *,
    actor: str,
    time: datetime,
) -> int:
    """Append the study's next event, in the transaction that makes it true. Returns the event's number.

    The study's row is locked until the transaction ends, so that events become visible in the order of their numbers.
    """
    counted = update(studies).where(studies.c.id == study).values(last_event=studies.c.last_event + 1)
    number: int = connection.scalars(counted.returning(studies.c.last_event)).one()
    row = {"study": study, "number": number, "time": time, "actor": actor, "kind": kind, "data": dict(data)}
    connection.execute(insert(events).values(row))
    return number


def after(connection: Connection, study: str, number: int, limit: int) -> list[EventRecord]:
    """Return the study's events after event `number`, at most `limit`."""
    query = select(events).where(events.c.study == study, events.c.number > number)
    rows = connection.execute(query.order_by(events.c.number).limit(limit)).mappings()
    return [EventRecord(**{**row, "kind": EventKind(row["kind"])}) for row in rows]
