"""How many connections there may be, in all and of one client, and which give way where there are too many."""

import resource
from typing import Generic, TypeVar

SPARE = 256  # descriptors for the database, files, Ray

Member = TypeVar("Member")


class Crowd(Generic[Member]):
    """Those that are counted together. Who waits has asked for nothing yet, and gives way to who comes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._busy: set[Member] = set()
        self._waiting: dict[Member, None] = {}  # the longest waiting first

    def __len__(self) -> int:
        return len(self._busy) + len(self._waiting)

    @property
    def oldest(self) -> Member | None:
        """Who has waited longest."""
        return next(iter(self._waiting), None)

    def waits(self, member: Member) -> None:
        self._busy.discard(member)
        self._waiting[member] = None

    def asks(self, member: Member) -> None:
        self._waiting.pop(member, None)
        self._busy.add(member)

    def leaves(self, member: Member) -> None:
        self._busy.discard(member)
        self._waiting.pop(member, None)


def affordable(connections: int, others: int) -> int:
    """How many of so many connections there are descriptors for, besides `others`; asks for more of them first."""
    wanted = connections + others + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    return max(16, min(connections, (soft - SPARE) // 2))
