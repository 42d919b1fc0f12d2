import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from signal import SIGINT, SIGKILL, Signals
from subprocess import PIPE
from typing import Any

import pytest
import torch
from pictures import data_folder

from trainers.__main__ import main
from trainers.tasks import TEACHERS
from trainers.training import checkpoints

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


def test_records_in_the_lines(spoken_digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*FILTER, "--epochs", "1", "--width", "8", "--data", str(spoken_digits), "--record"]
    assert (
        main([*command, "flips", "--record", "every=5", "--record", "signs", "--record", "train_metric"]) == 0
    )
    epoch, _ = lines(capsys.readouterr().out)
    assert 0 < epoch["train_metric"] < 1
    assert "latent_test_metric" not in epoch
    flips, signs = epoch["series"]
    assert (flips["name"], flips["steps"], len(flips["values"])) == ("flip_ratio", [5, 10, 15, 20], 4)
    assert [len(row) for row in signs["values"]] == [2 * signs["shape"][0]] * 4
    assert main([*command, "flops"]) == 2
    assert "flops cannot be recorded; known are every, flips, weights" in capsys.readouterr().err


KEEPING = """
import signal, sys, trainers.training.checkpoints
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job's children ignore
trainers.training.checkpoints.EVERY_SECONDS = 0.05
from trainers.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def lines(stdout: str) -> list[dict[str, Any]]:
    """Return the printed lines, without times."""
    dropped = "train_seconds", "evaluate_seconds"
    return [{k: v for k, v in json.loads(line).items() if k not in dropped} for line in stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("signal", [SIGKILL, SIGINT])
def test_a_stopped_training_goes_on(
    signal: Signals, spoken_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept"
    command = [*FILTER, "--first-step", "2", "--data", str(spoken_digits)]
    assert main(command) == 0
    whole = lines(capsys.readouterr().out)
    command += ["--checkpoint", str(kept)]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(
        [sys.executable, "-c", KEEPING, *command],
        env=os.environ | threads,
        stdout=PIPE,
        stderr=PIPE,
        text=True,
    ) as process:
        while not kept.exists() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal)
        out, err = process.communicate()
    assert process.returncode == (-SIGKILL if signal == SIGKILL else 130)
    assert len(lines(out)) < 19
    if signal == SIGINT:
        assert err.endswith(f"trainers: stopped; the same command continues from {kept}\n")
    assert 0 < checkpoints.read(kept)["state"]["step"] < 360
    assert main(command) == 0
    assert lines(capsys.readouterr().out) == whole
    assert checkpoints.read(kept)["state"]["step"] == 360


def test_another_seeds_checkpoint_is_refused(
    spoken_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*FILTER, "--epochs", "1", "--data", str(spoken_digits), "--checkpoint", str(tmp_path / "kept")]
    assert main(command) == 0
    assert main([*command, "--seed", "1"]) == 2
    assert (
        "kept: belongs to another training, with seed 0 instead of 1; name another file"
        in capsys.readouterr().err
    )
    assert (
        main([*FILTER, "--epochs", "1", "--data", str(spoken_digits), "--start", str(tmp_path / "kept")]) == 0
    )
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["start"] == str(tmp_path / "kept")


def test_a_first_step_alone_has_no_method(spoken_digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spoken-digits", "--first-step", "2", "--data", str(spoken_digits)]) == 0
    out, err = capsys.readouterr()
    *epochs, last = (json.loads(line) for line in out.splitlines())
    assert len(epochs) == 2
    assert (last["method"], last["proxy"]) == (None, {"first_step": 2})
    assert "spoken-digits: 2 epochs with real weights before: epoch 2/2" in err


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


def test_a_teacher_is_kept_where_tasks_look_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = data_folder(tmp_path, train=13)
    task = TEACHERS["imagenet-resnet34"]
    recipe = replace(task.recipe, batch_size=8, epochs=1)
    small = replace(task, image_size=32, model_options={"width": 2}, recipe=recipe)
    monkeypatch.setitem(TEACHERS, "imagenet-resnet34", small)
    arguments = ["imagenet-resnet34", "--data", str(folder)]
    assert main(arguments) == 0
    *_, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (last["method"], last["proxy"]) == (None, {})
    assert 0 <= last["objective"] <= last["validation_top5"] <= 1
    assert (folder / "teachers" / "imagenet-resnet34.pt").exists()
    assert main(arguments) == 2
    assert "imagenet-resnet34.pt: already exists; delete it, or" in capsys.readouterr().err
    assert main([*arguments, "--train-fraction", "0.9"]) == 2
    assert "a proxy of a teacher needs --save PATH: tasks would take it" in capsys.readouterr().err
    assert main([*arguments, "--set", "batch_size=4"]) == 2
    assert "a teacher with other hyperparameters needs --save PATH" in capsys.readouterr().err
    assert main([*arguments, "--train-fraction", "0.9", "--save", str(tmp_path / "small.pt")]) == 0
    assert (tmp_path / "small.pt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chess", "gradient-filter"], "unknown task 'chess'; known are spoken-digits"),
        ([*FILTER, "--teacher", "t.pt"], "spoken-digits does not learn from a teacher, got t.pt"),
        (["spoken-digits", "adam"], "unknown optimizer 'adam'; known are gradient-filter, latent-sgd"),
        ([*FILTER, "--set", "beta=1"], "gradient-filter has no hyperparameter 'beta'; it has alpha, gamma"),
        ([*FILTER, "--set", "alpha=7"], "alpha must be in (0, 1], got 7"),
        ([*FILTER, "--set", "alpha=high"], "alpha must be in (0, 1], got 'high'"),
        ([*FILTER, "--set", "alpha"], "--set takes NAME=VALUE, got 'alpha'"),
        ([*FILTER, "--record", "=2"], "--record takes NAME=VALUE, got '=2'"),
        (FILTER[:4], "gradient-filter needs gamma"),
        ([*FILTER, "--epochs", "0"], "epochs must be in [1, 10000], got 0"),
        ([*FILTER, "--width", "129"], "width must be at most spoken-digits's own, 128, got 129"),
        ([*FILTER, "--image-size", "8"], "spoken-digits has no images: leave out image_size, got 8"),
        ([*FILTER, "--train-fraction", "1.5"], "train_fraction must be in (0, 1], got 1.5"),
        ([*FILTER, "--train-fraction", "0.01"], "10 training samples do not fill a batch of 50"),
        ([*FILTER, "--first-step", "-1"], "first_step must be in [0, 10000], got -1"),
        (
            ["spoken-digits", "--first-step=2", "--epochs", "5"],
            "--epochs 5 sets the epochs of the second step, which needs a METHOD",
        ),
        (
            ["spoken-digits", "--first-step=2", "--set", "alpha=1"],
            "a training without a method has no hyperparameter 'alpha'; it has real_learning_rate, ",
        ),
        ([*FILTER, "--start", "/nonexistent"], "/nonexistent: there is no such checkpoint"),
        (
            [*FILTER, "--checkpoint", "/nonexistent/x"],
            "/nonexistent/x: the folder /nonexistent does not exist",
        ),
        ([*FILTER, "--decoder", "gif"], "unknown decoder 'gif'; known are pillow, dali"),
        ([*FILTER, "--decoder", "dali"], "spoken-digits has no images on disk for dali to decode"),
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
    names = "tasks", "seeds", "hyperparameters", "training.results", "errors", "schedules", "training_spec"
    program = "import sys; " + "; ".join(f"import trainers.{name}" for name in names)
    program += "; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
