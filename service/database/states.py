"""The states of a study and the changes between them: each change is one guarded update and one event."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update

from service.database.events import append
from service.database.tables import studies
from service.errors import StateError, StudyUnknown
from service.records import (
    ACTIVE,
    CANCELLED,
    COMPLETED,
    FAILED,
    FINISHED,
    PAUSED,
    QUEUED,
    RUNNING,
    STARTING,
    EventKind,
)
from studies.records import Request, StudyState

FROM: Mapping[StudyState, tuple[StudyState, ...]] = {
    QUEUED: (STARTING, RUNNING, PAUSED, FAILED, CANCELLED),
    STARTING: (QUEUED,),
    RUNNING: (QUEUED, STARTING, RUNNING, PAUSED, FAILED, CANCELLED),
    PAUSED: (QUEUED, STARTING, RUNNING),
    COMPLETED: (RUNNING,),
    FAILED: (STARTING, RUNNING),
    CANCELLED: (QUEUED, STARTING, RUNNING, PAUSED, FAILED),
}
MAX_ATTEMPTS = 5  # after so many starts without a finished trial, a study is failed
NO_LEASE = {"lease_owner": None, "lease_since": None, "lease_expires_at": None}


def locked(connection: Connection, study: str) -> RowMapping:
    """Return the study's row, locked until the transaction ends. Raises StudyUnknown."""
    query = select(studies).where(studies.c.id == study).with_for_update()
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise StudyUnknown(f"no study {study!r}")
    return row


def change(
    connection: Connection,
    row: RowMapping,
    to: StudyState,
    *,
    actor: str,
    time: datetime,
    reason: str | None = None,
    quiet: bool = False,
    **values: Any,
) -> None:
    """Bring the study of the locked `row` into another state and append the event. Raises StateError.

    A `quiet` change appends none: it repeats itself, like a start that Ray refuses again.
    """
    now = StudyState(row["state"])
    if now not in FROM[to]:
        allowed = ", ".join(FROM[to])
        raise StateError(
            f"study {row['id']} is {now}; only a study in one of the states {allowed} can become {to}"
        )
    if to not in ACTIVE:
        values |= NO_LEASE | {"requested": None}
    values.setdefault("not_before", None)
    values.setdefault("trouble", reason if to is QUEUED else None)
    ended = {"finished_at": time if to in FINISHED else None, "error": reason if to is FAILED else None}
    guarded = update(studies).where(studies.c.id == row["id"], studies.c.state == now)
    connection.execute(guarded.values(state=to, **ended, **values))
    if not quiet:
        data = {"from": now, "to": to, "reason": reason}
        append(connection, row["id"], EventKind.STATE, data, actor=actor, time=time)


def tell(connection: Connection, row: RowMapping, trouble: str | None, *, actor: str, time: datetime) -> None:
    """Record why the study of the locked `row` does not go on, or that it does; with an event if this is new."""
    if row["trouble"] == trouble:
        return
    connection.execute(update(studies).where(studies.c.id == row["id"]).values(trouble=trouble))
    data = {"from": row["state"], "to": row["state"], "reason": trouble}
    append(connection, row["id"], EventKind.STATE, data, actor=actor, time=time)


def requested(row: RowMapping, otherwise: StudyState) -> StudyState:
    """Return the state that a pending request wants the study of `row` in when it stops; without one, `otherwise`."""
    match row["requested"]:
        case Request.PAUSE | Request.PAUSE_NOW:
            return PAUSED
        case Request.CANCEL:
            return CANCELLED
    return otherwise


def put_back(
    connection: Connection, row: RowMapping, *, actor: str, time: datetime, reason: str
) -> StudyState:
    """Queue a study again after its driver is gone, or pause or cancel it if that was requested. Returns the new state.

    After `MAX_ATTEMPTS` starts without a finished trial the study is failed; until then it waits twice as long each
    time.
    """
    attempts = row["attempts"]
    values: dict[str, Any] = {}
    to = requested(row, FAILED if attempts >= MAX_ATTEMPTS else QUEUED)
    if to is FAILED:
        reason = f"given up after {attempts} starts without a finished trial; the last start: {reason}"
    elif to is QUEUED and attempts:
        values["not_before"] = time + timedelta(seconds=2**attempts)
    change(connection, row, to, actor=actor, time=time, reason=reason, **values)
    return to
