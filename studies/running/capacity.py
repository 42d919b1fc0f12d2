"""What a trial takes of a machine, and whether any machine has it; without Ray, for code that accepts studies."""

import os
from collections.abc import Iterable, Mapping, Sequence

from studies.design.spec import StudySpec

WORKER_BYTES = 700 * 2**20  # what a worker with Ray, torch and Ax holds before it trains anything
KEYS = {"CPU": "resources.cpus", "GPU": "resources.gpus"}


def needs(spec: StudySpec) -> dict[str, float]:
    """Return what one trial takes, by Ray's names of resources."""
    all_kinds = {"CPU": float(spec.resources.cpus), "GPU": spec.resources.gpus, "memory": float(WORKER_BYTES)}
    return {kind: amount for kind, amount in all_kinds.items() if amount}


def room(spec: StudySpec, machines: Iterable[Mapping[str, float]]) -> float:
    """Return how many trials the machines can run at the same time."""
    trial = needs(spec)
    return sum(min(_times(amount, has.get(kind, 0.0)) for kind, amount in trial.items()) for has in machines)


def fault(spec: StudySpec, machines: Sequence[Mapping[str, float]]) -> tuple[str, str] | None:
    """Return the study file's key that asks for more than any machine has, and a message; None if a machine has
    enough."""
    if room(spec, machines):
        return None
    trial = needs(spec)
    lacking = (
        key
        for kind, key in KEYS.items()
        if kind in trial and not any(_times(trial[kind], has.get(kind, 0.0)) for has in machines)
    )
    there = dict.fromkeys(told({kind: has.get(kind, 0.0) for kind in trial}) for has in machines)
    message = f"a trial needs {told(trial)} on one machine; the cluster's machines have {'; '.join(there) or 'nothing'}"
    return next(lacking, "resources"), message


def here(spec: StudySpec) -> dict[str, float]:
    """Return this machine's resources of the kinds that a trial needs, found without starting Ray."""
    gpus = 0
    if spec.resources.gpus:
        import torch  # takes seconds

        gpus = torch.cuda.device_count()
    return {"CPU": float(os.cpu_count() or 1), "GPU": float(gpus), "memory": float("inf")}


def told(resources: Mapping[str, float]) -> str:
    return ", ".join(
        f"{amount / 1e9:.1f} GB memory" if kind == "memory" else f"{amount:g} {kind}"
        for kind, amount in resources.items()
        if amount != float("inf")
    )


def _times(amount: float, available: float) -> float:
    """Return how often `amount` fits; a share of a GPU must come from one device."""
    if available == float("inf"):
        return available
    return int(available) * int(1 / amount) if amount < 1 else int(available / amount)
