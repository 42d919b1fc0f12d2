"""Limits on open connections, in total and per client, and the choice of the connection to close beyond them."""

import resource
from typing import Generic, TypeVar

SPARE = 256  # descriptors for the database, files, Ray

Member = TypeVar("Member")


class ConnectionGroup(Generic[Member]):
    """Connections that are counted against one limit. An idle one, without a request, may be closed for a new one."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._busy: set[Member] = set()
        self._idle: dict[Member, None] = {}  # the longest idle first

    def __len__(self) -> int:
        return len(self._busy) + len(self._idle)

    @property
    def longest_idle(self) -> Member | None:
        """The connection that has been idle longest; None where all are busy."""
        return next(iter(self._idle), None)

    def mark_idle(self, member: Member) -> None:
        self._busy.discard(member)
        self._idle[member] = None

    def mark_busy(self, member: Member) -> None:
        self._idle.pop(member, None)
        self._busy.add(member)

    def remove(self, member: Member) -> None:
        self._busy.discard(member)
        self._idle.pop(member, None)


def connection_limit(connections: int, others: int) -> int:
    """Return how many of the wanted `connections` have a file descriptor, besides `others`.

    First increases the process's soft limit on descriptors if it is too low.
    """
    wanted = connections + others + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    return max(16, min(connections, (soft - SPARE) // 2))
