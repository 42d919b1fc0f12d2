"""How often what a method's or a task's name stands for has changed so that trainings have other numbers.

Studies and kept trainings of another revision are others: their ids and file names differ. What is not here has never
changed.
"""

from collections.abc import Iterable

METHODS: dict[str, int] = {
    "proxquant-l1": 2,  # lambda_rate is that of the last epoch and no longer times the learning rate; projected
    "proxquant-l2": 2,
    "bnew": 2,
}
TASKS: dict[str, int] = {
    "cifar10-bvgg": 2,  # Adam at 1e-2 for what is real-valued, Keras's normalisation
    "cifar10-bvgg-layer": 2,  # and biases
    "cifar10-denoise": 2,  # and 100 epochs, a sign before the last layer, PSNR with a peak of 1
    "cifar10-real-denoise": 2,
}
COMPILED = 2  # the filter's step no longer is


def revisions(task: str, methods: Iterable[str | None], *, compiled: bool) -> dict[str, int]:
    """By name those of the task, the methods and the compiler that are not the first; None is no method."""
    changed = {name: METHODS[name] for name in sorted({m for m in methods if m in METHODS})}
    return {
        **({task: TASKS[task]} if task in TASKS else {}),
        **changed,
        **({"compile": COMPILED} if compiled else {}),
    }
