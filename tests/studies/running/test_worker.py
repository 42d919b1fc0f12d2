"""A study's worker, run in this process."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from pictures import data_folder
from small import study

from studies.running import worker
from studies.running.trial import assign


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "DataError: .* run: tunebench data fetch spoken-digits"),
        ({"start": "none"}, r"CheckpointError: .*none\.pt: there is no such"),
        (
            {"task": "imagenet-birealnet18", "resources": {"decoder": "dali"}},
            "UnusableError: NVIDIA DALI is not installed here",
        ),
    ],
    ids=["data", "start", "decoder"],
)
def test_what_is_not_there_would_fail_every_other_trial_as_well(
    changes: dict[str, Any], told: str, tmp_path: Path, spoken_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`test_run` shows that this ends the study."""
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    monkeypatch.setattr(worker, "setproctitle", lambda title: None)
    data = data_folder(tmp_path, train=13)
    if changes:
        (data / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    spec = study(methods=["bop"], proxy={"epochs": 1}, **changes)
    assignment = assign(spec, spec.arm("bop"), 1, (), data_dir=data)
    here = worker.TrialWorker({"worker": "s-slot01", "assignment": assignment})
    try:
        assert "suggestion" in here.step()
        fault = here.step()["fault"]
    finally:
        here.cleanup()
    assert fault.hopeless
    assert re.search(told, fault.words)
