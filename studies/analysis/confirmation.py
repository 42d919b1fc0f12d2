"""Incumbents trained anew: what a run's best so far is worth."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from studies.analysis.curves import best_so_far
from trainers.hyperparameters import Value


def representatives(
    objectives: Sequence[float | None],
    hyperparameters: Sequence[Mapping[str, Value]],
    direction: Literal["maximize", "minimize"],
) -> tuple[int, ...]:
    """After each trial of a run, the trial (from 1) that is trained again for the incumbent; 0 where there is none.

    That is the incumbent, or an earlier incumbent with the same hyperparameters. A control has one for all of its run.
    """
    _, incumbents = best_so_far(objectives, direction)
    first: dict[tuple[tuple[str, Value], ...], int] = {}
    chosen = []
    for incumbent in np.asarray(incumbents).tolist():
        values = tuple(sorted(hyperparameters[incumbent - 1].items())) if incumbent else ()
        chosen.append(first.setdefault(values, incumbent) if incumbent else 0)
    return tuple(chosen)
