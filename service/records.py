"""What every part of the service means by the same words: the states of a study and the events of its life."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from studies.records import StudyState

QUEUED, STARTING, RUNNING, PAUSED, COMPLETED, FAILED, CANCELLED = StudyState
ACTIVE = (STARTING, RUNNING)  # somebody holds the study's lease
FINISHED = (COMPLETED, FAILED, CANCELLED)


class EventKind(StrEnum):
    STATE = "state"  # from, to, reason
    REQUEST = "request"  # requested: pause, pause-now, cancel, or null where it was taken back
    TRIAL = "trial"  # arm, run, trial, state, objective
    CONFIRMATION = "confirmation"  # arm, run, trial, number, state, test_metric
    EDIT = "edit"  # name, labels, priority: what has changed; published: of which arms and rows something is stated


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """Numbered 1, 2, ... within the study, without a gap. `data` are JSON values, infinities as texts."""

    study: str
    number: int
    time: datetime
    actor: str
    kind: EventKind
    data: Mapping[str, Any]


def as_json(value: float | None) -> float | str | None:
    """A number as JSON can hold it: "inf", "-inf" and "nan" are texts."""
    return value if value is None or math.isfinite(value) else str(value)
