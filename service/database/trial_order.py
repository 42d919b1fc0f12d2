"""The order in which a study's trials are listed, page after page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, literal, tuple_

from service.database.tables import trials


@dataclass(frozen=True, slots=True)
class TrialOrder:
    """An order by arm, run and trial, or by the column `sort`; trials without a number there always come last."""

    sort: str | None = None
    descending: bool = False

    def keys(self) -> list[ColumnElement[Any]]:
        """Return the keys that trials are compared by, the most important first; no two trials are equal in all."""
        if self.sort is None:
            return [trials.c.arm, trials.c.run, trials.c.trial]
        column = trials.c[self.sort]
        if self.sort == "finished_at":
            return [column, trials.c.id]
        number = and_(column.is_not(None), column != literal(math.nan, column.type))
        last = case((number, int(self.descending)), else_=int(not self.descending))
        return [last, case((number, column), else_=literal(0.0, column.type)), trials.c.id]

    def clauses(self) -> list[ColumnElement[Any]]:
        """Return the keys for ORDER BY."""
        return [key.desc() if self.descending else key for key in self.keys()]

    def after(self, place: Sequence[Any]) -> ColumnElement[bool]:
        """Return the condition that a trial comes after the trial whose keys have the values `place`."""
        keys = self.keys()
        bound = tuple_(*(literal(value, key.type) for value, key in zip(place, keys, strict=True)))
        return tuple_(*keys) < bound if self.descending else tuple_(*keys) > bound


BY_NUMBER = TrialOrder()
