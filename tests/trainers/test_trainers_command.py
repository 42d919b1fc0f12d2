import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainers.__main__ import main

FILTER = ["spoken-digits", "gradient-filter", "--set", "alpha=1e-3", "--set", "gamma=1"]


def test_trains_and_prints_json_lines(spoken_digits: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainers", *FILTER, "--seed", "3", "--epochs", "2"],
        env=os.environ | {"TUNEBENCH_DATA_DIR": str(spoken_digits)},
        capture_output=True,
        text=True,
        check=True,
    )
    *epochs, last = (json.loads(line) for line in done.stdout.splitlines())
    assert [e["epoch"] for e in epochs] == [1, 2]
    assert last["objective"] == epochs[-1]["validation_metric"]
    assert last["hyperparameters"] == {"alpha": 0.001, "gamma": 1}
    assert last["proxy"] == {"epochs": 2}
    assert (last["task"], last["method"], last["seed"]) == ("spoken-digits", "gradient-filter", 3)
    assert "epoch 2/2" in done.stderr


def test_divergence_is_a_result(spoken_digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"learning_rate": 3e38, "initial_magnitude": 0.1, "gamma": 1, "weight_decay": 0}
    arguments = [f"--set={name}={value}" for name, value in values.items()] + ["--set=scaling=true"]
    arguments += ["--set=clipping=false", "--data", str(spoken_digits)]
    assert main(["spoken-digits", "latent-sgd", *arguments]) == 0
    epoch, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert epoch["train_loss"] is None
    assert last["diverged"] is True
    assert last["objective"] == 0.0
    assert last["hyperparameters"]["scaling"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chess", "gradient-filter"], "unknown task 'chess'; known are spoken-digits"),
        (["spoken-digits", "adam"], "unknown optimizer 'adam'; known are gradient-filter, latent-sgd"),
        ([*FILTER, "--set", "beta=1"], "gradient-filter has no hyperparameter 'beta'; it has alpha, gamma"),
        ([*FILTER, "--set", "alpha=7"], "alpha must be in (0, 1], got 7"),
        ([*FILTER, "--set", "alpha=high"], "alpha must be in (0, 1], got 'high'"),
        ([*FILTER, "--set", "alpha"], "--set takes NAME=VALUE, got 'alpha'"),
        (FILTER[:4], "gradient-filter needs gamma"),
        ([*FILTER, "--epochs", "0"], "epochs must be at least 1, got 0"),
        ([*FILTER, "--width", "65"], "width must be at most spoken-digits's own, 64, got 65"),
        ([*FILTER, "--image-size", "8"], "spoken-digits has no images: no image_size 8"),
        ([*FILTER, "--train-fraction", "1.5"], "train_fraction must be in (0, 1], got 1.5"),
        ([*FILTER, "--train-fraction", "0.01"], "20 training samples do not fill a batch of 100"),
        ([*FILTER, "--device", "abacus"], "device 'abacus' cannot be used"),
        ([*FILTER, "--data", "/nonexistent"], "missing; run: tunebench data fetch spoken-digits"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, spoken_digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([arguments[0], arguments[1], "--data", str(spoken_digits), *arguments[2:]]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_options_are_checked_by_argparse(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*FILTER, "--seed", "many"])
    assert stop.value.code == 2
    assert "argument --seed: invalid int value: 'many'" in capsys.readouterr().err


def test_descriptions_of_tasks_do_not_load_torch() -> None:
    names = "tasks", "seeds", "hyperparameters", "results", "errors", "schedules"
    program = "import sys; " + "; ".join(f"import trainers.{name}" for name in names)
    program += "; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
