"""Revisions are in study ids and in fingerprints and addresses of trainings; what was never revised is not."""

from dataclasses import replace
from pathlib import Path

import pytest

from studies.design.spec import from_json
from studies.running.reuse import address
from studies.running.trial import assign
from trainers import revisions
from trainers.optimizers import OPTIMIZERS
from trainers.tasks import TASKS, TEACHERS
from trainers.training_spec import FIRST, Machine, TrainingSpec, fingerprint

STUDY = {"name": "s", "task": "spoken-digits", "methods": ["gradient-filter"], "runs": 1, "trials": 1}


def test_only_what_exists_is_revised() -> None:
    assert revisions.METHODS.keys() <= OPTIMIZERS.keys()
    assert revisions.TASKS.keys() <= {**TASKS, **TEACHERS}.keys()
    assert all(number > 1 for number in {**revisions.METHODS, **revisions.TASKS}.values())


def test_a_revision_makes_other_studies_and_trainings_of_its_own_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bnew, both = {**STUDY, "methods": ["bnew"]}, {**STUDY, "methods": ["bnew", "gradient-filter"]}
    machine = Machine(data_dir=Path())

    def identities() -> list[object]:
        ids: list[object] = [from_json(study).digest for study in (STUDY, bnew, both)]
        specs = [TrainingSpec(task=TASKS["spoken-digits"], method=m) for m in ("gradient-filter", "bnew")]
        spec = from_json(both)
        addresses = [address(assign(spec, arm, 1, (), data_dir=Path()), {}) for arm in reversed(spec.arms)]
        return ids + [fingerprint(spec, machine) for spec in specs] + addresses

    compiled = from_json({**STUDY, "resources": {"compile": True}})
    assert fingerprint(TrainingSpec(task=TASKS["spoken-digits"]), replace(machine, compile=True))[
        "revisions"
    ] == {"compile": revisions.COMPILED}
    before = identities()
    assert tuple(before[3]) == FIRST  # type: ignore[arg-type]
    monkeypatch.setitem(revisions.METHODS, "bnew", revisions.METHODS["bnew"] + 1)
    method = [old == new for old, new in zip(before, identities(), strict=True)]
    assert method == [True, False, False, True, False, True, False]
    monkeypatch.setitem(revisions.TASKS, "spoken-digits", 9)
    assert not any(old == new for old, new in zip(before, identities(), strict=True))
    others = compiled.digest
    monkeypatch.setattr(revisions, "COMPILED", revisions.COMPILED + 1)
    assert compiled.digest != others
