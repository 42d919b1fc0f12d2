"""Tasks: each has data, a network, a recipe and a metric. All data, nothing to run."""

from trainers.tasks.proxy import (
    FIRST_STEP_OPTIMIZERS,
    LEAST,
    MOST_EPOCHS,
    OF_SAMPLES,
    PARTS,
    PRECISIONS,
    WHOLE,
    WITHOUT,
    Least,
    Proxy,
)
from trainers.tasks.table import REAL_TASKS, TASKS, TEACHERS
from trainers.tasks.task import FirstStep, Recipe, Task

__all__ = [
    "FIRST_STEP_OPTIMIZERS",
    "LEAST",
    "MOST_EPOCHS",
    "OF_SAMPLES",
    "PARTS",
    "PRECISIONS",
    "REAL_TASKS",
    "TASKS",
    "TEACHERS",
    "WHOLE",
    "WITHOUT",
    "FirstStep",
    "Least",
    "Proxy",
    "Recipe",
    "Task",
]
