"""Events: what happened to a study, in order, for whoever watches it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, insert, select, update

from service.tables import events, studies


class EventKind(StrEnum):
    STATE = "state"  # from, to, reason
    REQUEST = "request"  # requested: pause, pause-now, cancel, or null where it was taken back
    TRIAL = "trial"  # method, run, trial, state, objective
    EDIT = "edit"  # name, labels, priority: what has changed


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """Numbered 1, 2, ... within the study, without a gap. `data` are JSON values, infinities as texts."""

    study: str
    number: int
    time: datetime
    actor: str
    kind: EventKind
    data: Mapping[str, Any]


def append(
    connection: Connection,
    study: str,
    kind: EventKind,
    data: Mapping[str, Any],
    *,
    actor: str,
    time: datetime,
) -> int:
    """Give the study its next event, in the transaction that makes it true. Returns the event's number.

    The study's row is locked until the transaction ends, so that numbers become visible in their order.
    """
    counted = update(studies).where(studies.c.id == study).values(last_event=studies.c.last_event + 1)
    number: int = connection.scalars(counted.returning(studies.c.last_event)).one()
    row = {"study": study, "number": number, "time": time, "actor": actor, "kind": kind, "data": dict(data)}
    connection.execute(insert(events).values(row))
    return number


def after(connection: Connection, study: str, number: int, limit: int) -> list[EventRecord]:
    """The events of the study after `number`, at most `limit`."""
    query = select(events).where(events.c.study == study, events.c.number > number)
    rows = connection.execute(query.order_by(events.c.number).limit(limit)).mappings()
    return [EventRecord(**{**row, "kind": EventKind(row["kind"])}) for row in rows]


def as_json(value: float | None) -> float | str | None:
    """A number as JSON can hold it: "inf", "-inf" and "nan" are texts."""
    return value if value is None or math.isfinite(value) else str(value)
