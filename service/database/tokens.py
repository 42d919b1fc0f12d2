"""API tokens: whoever has one may do what its scope allows. The database holds their digests only."""

import hashlib
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Engine, exists, func, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from service.database.engine import now, reading, writing
from service.database.tables import tokens
from service.errors import StoreError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
RESERVED = ("local", "service")  # actors without a token
COLUMNS = (tokens.c.name, tokens.c.scope, tokens.c.created_at, tokens.c.revoked_at, tokens.c.expires_at)
MAX_DAYS = 36_500


class Scope(StrEnum):
    """The rights of a token. Each scope includes the ones before it."""

    READ = "read"
    SUBMIT = "submit"  # and pause, resume, cancel, edit
    ADMIN = "admin"  # and delete

    def allows(self, needed: "Scope") -> bool:
        return list(Scope).index(self) >= list(Scope).index(needed)


@dataclass(frozen=True, slots=True)
class Token:
    """The stored facts about a token, not the token itself."""

    name: str
    scope: Scope
    created_at: datetime
    revoked_at: datetime | None
    expires_at: datetime | None


def create(engine: Engine, name: str, scope: Scope, days: int | None = None) -> str:
    """Create a token that lasts for `days`, or for good, and return it; it cannot be read again.

    Raises StoreError if the name is invalid or taken, even by a revoked token.
    """
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise ValueError(f"days must be from 1 to {MAX_DAYS}, got {days}")
    if not NAME.fullmatch(name) or name in RESERVED:
        raise StoreError(
            f"{name!r} is not a valid token name; use 1 to 63 letters, digits, dots, hyphens and underscores, "
            f"not {' or '.join(RESERVED)}"
        )
    token = "tb_" + secrets.token_urlsafe(32)
    row = {"name": name, "digest": _digest(token), "scope": scope}
    try:
        with writing(engine) as connection:
            time = now(connection)
            until = None if days is None else time + timedelta(days=days)
            connection.execute(insert(tokens).values(row | {"created_at": time, "expires_at": until}))
    except IntegrityError as error:
        raise StoreError(f"a token {name!r} exists already; use another name") from error
    return token


def created(engine: Engine) -> list[Token]:
    """Return all tokens, including revoked ones, ordered by name."""
    with reading(engine) as connection:
        rows = connection.execute(select(*COLUMNS).order_by(tokens.c.name)).all()
    return [_token(*row) for row in rows]


def named(engine: Engine, name: str) -> Token:
    """Return the token with this name. Raises StoreError if there is none."""
    found = [token for token in created(engine) if token.name == name]
    if not found:
        raise StoreError(f"no token {name!r}")
    return found[0]


def revoke(engine: Engine, name: str) -> None:
    """Revoke the token from now on; repeating this changes nothing. Raises StoreError if there is none."""
    if not NAME.fullmatch(name):
        raise StoreError(f"no token {name!r}")
    this = tokens.c.name == name
    with writing(engine) as connection:
        if connection.scalar(select(tokens.c.name).where(this)) is None:
            raise StoreError(f"no token {name!r}")
        first = update(tokens).where(this, tokens.c.revoked_at.is_(None))
        connection.execute(first.values(revoked_at=now(connection)))


def find(engine: Engine, token: str) -> Token | None:
    """Return what is stored of this token, None if it is unknown, revoked or has expired."""
    query = select(*COLUMNS).where(tokens.c.digest == _digest(token), _valid(engine))
    with reading(engine) as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _token(*row)


def allowed(engine: Engine, names: Collection[str]) -> set[str]:
    """Return the actors that may ask: those of `names` with a valid token, and "local" while there are no tokens."""
    with reading(engine) as connection:
        found = connection.scalars(select(tokens.c.name).where(tokens.c.name.in_(names), _valid(engine)))
        any_created = connection.scalar(select(exists(select(tokens.c.name))))
        return {*found, *([] if any_created else ["local"])}


def _valid(engine: Engine) -> ColumnElement[bool]:
    # by the clock that all processes sharing the database see, without a query of its own
    here = engine.dialect.name == "sqlite"
    moment = literal(datetime.now(UTC), tokens.c.expires_at.type) if here else func.clock_timestamp()
    lasting = or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > moment)
    return tokens.c.revoked_at.is_(None) & lasting


def any_created(engine: Engine) -> bool:
    """Return whether there has ever been a token, even if all are revoked now."""
    with reading(engine) as connection:
        return bool(connection.scalar(select(exists(select(tokens.c.name)))))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _token(name: str, scope: str, *times: datetime | None) -> Token:
    created_at, revoked_at, expires_at = times
    assert created_at is not None
    return Token(name, Scope(scope), created_at, revoked_at, expires_at)
