"""The states of a study and its events, as every part of the service uses them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from studies.records import StudyState

QUEUED, STARTING, RUNNING, PAUSED, COMPLETED, FAILED, CANCELLED = StudyState
ACTIVE = (STARTING, RUNNING)  # some process holds the study's lease
FINISHED = (COMPLETED, FAILED, CANCELLED)


class EventKind(StrEnum):
    STATE = "state"  # from, to, reason
    REQUEST = "request"  # requested: pause, pause-now, cancel, or null if it was withdrawn
    TRIAL = "trial"  # arm, run, trial, state, objective
    CONFIRMATION = "confirmation"  # arm, run, trial, number, state, test_metric
    EDIT = "edit"  # name, labels, priority if changed; published: arms and rows with published results


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """An event of a study. Events are numbered 1, 2, ... without gaps; `data` is JSON, with infinities as strings."""

    study: str
    number: int
    time: datetime
    actor: str
    kind: EventKind
    data: Mapping[str, Any]


def as_json(value: float | None) -> float | str | None:
    """Return the number as JSON can hold it: "inf", "-inf" and "nan" are strings."""
    return value if value is None or math.isfinite(value) else str(value)
