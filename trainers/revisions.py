"""The revisions of methods, tasks and the compiler: a new one means that trainings of this name have other numbers.

Studies and kept trainings of different revisions are different: their ids and file names differ. What is not listed is
still at its first revision.
"""

from collections.abc import Iterable

METHODS: dict[str, int] = {
    "proxquant-l1": 2,  # lambda_rate is the last epoch's, no longer multiplied by the learning rate; projected
    "proxquant-l2": 2,
    "bnew": 2,
}
TASKS: dict[str, int] = {
    "cifar10-bvgg": 2,  # Adam at 1e-2 for real-valued parameters, Keras's normalisation
    "cifar10-bvgg-layer": 2,  # and biases
    "cifar10-denoise": 2,  # and 100 epochs, a sign before the last layer, PSNR with a peak of 1
    "cifar10-real-denoise": 2,
}
COMPILED = 2  # the filter's step is no longer compiled


def revisions(task: str, methods: Iterable[str | None], *, compiled: bool) -> dict[str, int]:
    """Return the task's, methods' and compiler's revisions by name, except first ones. None is no method."""
    changed = {name: METHODS[name] for name in sorted({m for m in methods if m in METHODS})}
    return {
        **({task: TASKS[task]} if task in TASKS else {}),
        **changed,
        **({"compile": COMPILED} if compiled else {}),
    }
