"""The `tunebench` command, called in this process if it trains nothing."""

import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from made_up import VALUES, train_with
from pictures import data_folder
from rude import Rude, answer, problem, study
from served import Served
from writers import finish, spec, trial

from service.commands.terminal import plain
from service.database.engine import connect, upgrade
from service.database.owner import Owner
from service.database.store import Store
from service.errors import StateError
from service.serve import _address, _listening
from studies.design.methods import METHODS
from studies.design.searchers import SEARCHERS
from studies.design.spec import load
from studies.records import Request, StudyState, TrialState
from trainers.data import DATASETS
from trainers.tasks import TASKS, Proxy
from trainers.training.checkpoints import Checkpoint

GOOD = "name: s\ntask: spoken-digits\nmethods: [gradient-filter]\nruns: 1\ntrials: 1\n"


def write(text, name="s.yaml"):
    Path(name).write_text(text)
    return name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("gradient-filter", "sgd"), "s.yaml: methods.0: unknown method 'sgd'; known are"),
        (
            GOOD.replace("spoken-digits", "digits"),
            f"s.yaml: task: unknown task; known are {', '.join(TASKS)}, got 'digits'",
        ),
        (
            GOOD + "searcher: nobody\n",
            f"s.yaml: searcher.name: unknown searcher; known are {', '.join(SEARCHERS)}, got 'nobody'",
        ),
        (GOOD + "budget: 3\n", "s.yaml: budget: unknown key; allowed are"),
        (
            GOOD.replace("runs: 1", "runs: 0"),
            "s.yaml: runs: input should be greater than or equal to 1, got 0",
        ),
        (
            GOOD.replace("runs: 1", "runs: -1"),
            "s.yaml: runs: input should be greater than or equal to 1, got -1",
        ),
        (
            GOOD.replace("[gradient-filter]", "[latent-sgd, latent-sgd]"),
            "latent-sgd is listed more than once",
        ),
        (
            GOOD.replace("[gradient-filter]", "[{name: latent-sgd, space: {gamma: {low: 1, high: 0.1}}}]"),
            "s.yaml: methods.0.space.gamma: low must be less than high, got low 1.0 and high 0.1",
        ),
        (
            GOOD.replace("[gradient-filter]", "[{name: latent-sgd, space: {gamma: {high: 7}}}]"),
            "s.yaml: methods.0.space.gamma: 7.0 is out of range; gamma must be in (0, 1]",
        ),
        ("name: [", "s.yaml: is not YAML"),
    ],
)
def test_a_bad_study_file_is_one_message_and_nothing_is_written(tunebench, text, message):
    code, out, err = tunebench("run", write(text))
    assert code == 2
    assert message in err
    assert err.startswith("error: ")
    assert (err.count("\n"), out) == (1, "") or "is not YAML" in message
    assert list(Path().iterdir()) == [Path("s.yaml")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "none.yaml"], "none.yaml: cannot be read"),
        (["run", "s.yaml", "--runs", "0"], "runs: input should be greater than or equal to 1, got 0"),
        (["run", "s.yaml", "--trials", "-2"], "trials: input should be greater than or equal to 1, got -2"),
        (["run", "s.yaml", "--db", "mysql://x/y"], "mysql"),
        (["run", "s.yaml", "--db", "postgresql://root@127.0.0.1:1/test"], "127.0.0.1:1"),
        (["run", "s.yaml", "--db", "sqlite:///no/such/folder/x.db"], "no/such/folder"),
        (["run", "s.yaml", "--out", "s.yaml"], "--out: s.yaml is a file"),
        (["list"], "/tunebench.db yet; run: tunebench db upgrade"),
        (["show", "x"], "there is no database"),
        (["data", "fetch", "cifar"], "unknown data set 'cifar'; known are spoken-digits"),
        (["data", "fetch", "spoken-digits", "--from", "nowhere"], "nowhere"),
    ],
)
def test_bad_arguments_are_one_message_and_nothing_is_written(tunebench, spoken_digits, arguments, message):
    write(GOOD)
    code, _, err = tunebench(*arguments)
    assert (code, err.count("error: ")) == (2, 1)
    assert message in err.splitlines()[-1]
    assert list(Path().iterdir()) == [Path("s.yaml")]


def test_missing_data_are_told_with_the_command_that_fetches_them(tunebench, monkeypatch, tmp_path):
    monkeypatch.setenv("TUNEBENCH_DATA_DIR", str(tmp_path / "data"))
    code, _, err = tunebench("run", write(GOOD))
    assert code == 2
    assert "digits.npz: missing; run: tunebench data fetch spoken-digits" in err
    assert list(Path().iterdir()) == [Path("s.yaml")]


def test_a_decoder_that_is_not_here_is_told(tunebench, monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    images = GOOD.replace("spoken-digits", "imagenet-birealnet18") + "\nresources: {decoder: dali}\n"
    code, _, err = tunebench("run", write(images))
    assert code == 2
    assert "resources.decoder: NVIDIA DALI is not installed here: pip install 'tunebench[dali]'" in err
    assert list(Path().iterdir()) == [Path("s.yaml")]


def test_all_that_is_missing_is_told_at_once_and_nothing_is_written(tunebench, monkeypatch, tmp_path):
    monkeypatch.setenv("TUNEBENCH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    study = write(f"{GOOD}start: first\nresources: {{cpus: 500}}\n")
    for command in ("run", "plan"):
        code, out, err = tunebench(command, study)
        assert (code, out) == (2, "")
        assert [line.split(": ")[:3] for line in err.splitlines()] == [
            ["error", "s", key] for key in ("task", "start", "resources.cpus")
        ]
        assert list(Path().iterdir()) == [Path("s.yaml")]


def test_data_that_fill_no_batch_are_told(tunebench, tmp_path, monkeypatch):
    folder = data_folder(tmp_path, classes=2, train=13, val=2)
    monkeypatch.setenv("TUNEBENCH_DATA_DIR", str(folder))
    weights = folder / "teachers" / "imagenet-resnet34.pt"
    weights.parent.mkdir()
    weights.touch()
    study = write(GOOD.replace("spoken-digits", "imagenet-reactnet-a"))
    code, _, err = tunebench("run", study)
    assert code == 2
    assert "task: imagenet has 24 training samples here, which do not fill a batch of 510" in err
    assert not list(tmp_path.rglob("*.db"))


def test_too_small_a_share_of_the_data_is_told(tunebench, spoken_digits):
    code, _, err = tunebench("run", write(GOOD + "\nproxy: {train_fraction: 0.01}\n"))
    assert code == 2
    assert (
        "proxy.train_fraction: train_fraction must be at least 0.0451, to leave a sample of every class"
        in err
    )
    assert list(Path().iterdir()) == [Path("s.yaml")]


def test_a_study_without_the_network_to_start_from_is_told(tunebench, monkeypatch, tmp_path, spoken_digits):
    (tmp_path / "data" / "starts").mkdir(parents=True)
    (tmp_path / "data" / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    monkeypatch.setenv("TUNEBENCH_DATA_DIR", str(tmp_path / "data"))
    file = tmp_path / "data" / "starts" / "first.pt"
    study = write(GOOD + "start: first\nproxy: {width: 64}\n")
    code, out, told = tunebench("run", study)
    assert (code, out) == (2, "")
    assert told.startswith(f"error: s: start: {file}: missing; train a network, ")
    command = "python -m trainers spoken-digits --first-step EPOCHS --width 64 --data"
    assert f"{command} {tmp_path / 'data'} --checkpoint first.pt; mkdir -p {file.parent}; mv first.pt" in told
    options = {"seed": 0, "split_seed": 0, "data_dir": spoken_digits, "proxy": Proxy(epochs=1)}
    list(train_with(TASKS["spoken-digits"], "bop", VALUES["bop"], checkpoint=Checkpoint(file), **options))
    told = (
        f"error: s: start: {file}: belongs to another network: no binary layer has the same name and shape\n"
    )
    assert tunebench("run", study) == (2, "", told)
    assert {path.name for path in Path().iterdir()} == {"s.yaml", "data"}


def test_a_study_without_a_result_has_failed_and_says_of_what(tunebench, spoken_digits):
    """All its trials failed; nothing is trained. An earlier version may have left such a study completed."""
    file = write(GOOD.replace("trials: 1", "trials: 2"))
    upgrade(connect("sqlite:///tunebench.db"))
    store = Store(connect("sqlite:///tunebench.db"))
    study = store.create_study(load(Path(file)), {}).id
    lease = store.claim(study, Owner.current(), 60)
    for number in (1, 2):
        error = f"ValueError: batches of {number} samples\n\nTraceback: at length"
        lost = {"state": TrialState.FAILED, "objective": None, "error": error}
        store.record(lease, trial(study, number=number, epochs=(), **lost))
    store.finish(lease, StudyState.PAUSED)
    reason = "gradient-filter has no result: all 2 trials failed: ValueError: batches of 1 samples (2 trials)"
    for command in (["run", file], ["resume", study]):
        code, out, err = tunebench(*command)
        assert (code, err.splitlines()[-1]) == (1, f"{study} failed: {reason}")
        assert "Report: " in out
        found = store.study_by_id(study)
        assert (found.state, found.error) == (StudyState.FAILED, reason)
    told = "submit it under another name: gradient-filter has no result"
    with pytest.raises(StateError, match=f"has all its trials, so none is left to run; .* {told}"):
        store.resume(study, actor="alice")
    assert store.ended(study, failed=True) == store.ended(study)


@pytest.mark.parametrize(("asked", "key"), [("cpus: 500", "resources.cpus"), ("gpus: 1", "resources.gpus")])
def test_a_trial_that_this_machine_cannot_carry_is_refused(tunebench, spoken_digits, monkeypatch, asked, key):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    code, out, err = tunebench("run", write(f"{GOOD}resources: {{{asked}}}\n"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: s: {key}: a trial needs ")
    assert list(Path().iterdir()) == [Path("s.yaml")]


def test_damaged_data_are_told(tunebench, monkeypatch, tmp_path, spoken_digits):
    file = tmp_path / "data" / "spoken-digits" / "digits.npz"
    file.parent.mkdir(parents=True)
    good = (spoken_digits / "spoken-digits" / "digits.npz").read_bytes()
    file.write_bytes(good[:-100])
    monkeypatch.setenv("TUNEBENCH_DATA_DIR", str(tmp_path / "data"))
    code, _, err = tunebench("run", write(GOOD))
    assert code == 2
    assert f"{file}: damaged (its checksum is wrong)" in err


def test_a_database_of_a_newer_version_is_refused(tunebench, spoken_digits):
    upgrade(connect("sqlite:///new.db"))
    with sqlite3.connect("new.db") as connection:
        connection.execute("update tunebench_version set version_num = '9999'")
    connection.close()
    for arguments in (["run", write(GOOD)], ["list"], ["db", "upgrade"]):
        code, _, err = tunebench(*arguments, "--db", "sqlite:///new.db")
        assert code == 2
        assert "9999" in err
        assert "newer" in err


def test_what_lists_prints_a_table_or_json(tunebench, spoken_digits):
    assert tunebench("db", "upgrade")[0] == 0
    assert "no studies yet" in tunebench("list")[1]
    assert json.loads(tunebench("list", "--json")[1]) == []
    for command, key, names in (
        ("methods", "method", set(METHODS)),
        ("tasks", "task", set(TASKS)),
        ("searchers", "searcher", set(SEARCHERS)),
    ):
        assert {row[key] for row in json.loads(tunebench(command, "--json")[1])} == names
        assert all(name[:9] in tunebench(command)[1] for name in names)
    rows = {row["data"]: row for row in json.loads(tunebench("data", "list", "--json")[1])}
    assert rows.keys() == DATASETS.keys()
    assert rows["spoken-digits"]["here"]
    assert {task: name for name, row in rows.items() for task in row["tasks"]} == {
        name: task.dataset for name, task in TASKS.items()
    }


def test_methods_json_gives_whole_spaces(tunebench):
    rows = {row["method"]: row for row in json.loads(tunebench("methods", "--json")[1])}
    assert rows["latent-sgd"]["dimensions"] == 6
    assert rows["latent-sgd"]["space"]["clipping"] == [False, True]
    assert rows["gradient-filter"]["space"]["alpha"] == {"low": 1e-6, "high": 1.0, "log": True}


def test_data_come_from_a_folder_too(tunebench, monkeypatch, tmp_path, spoken_digits):
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(spoken_digits / "spoken-digits" / "digits.npz", source)
    monkeypatch.setenv("TUNEBENCH_DATA_DIR", str(tmp_path / "data"))
    code, out, _ = tunebench("data", "fetch", "spoken-digits", "--from", source)
    assert code == 0
    assert str(tmp_path / "data" / "spoken-digits" / "digits.npz") in out
    assert "checked" in out


@pytest.mark.slow
def test_a_database_and_the_service_over_it_show_the_same(tunebench, service):
    served, store = service
    study = store.create_study(spec("shown"), {}, labels=["paper"])
    finish(store, study)
    places = ("--db", str(store.engine.url)), ("--url", served.url)
    listed = [tunebench("list", *place) for place in places]
    assert listed[0] == listed[1]
    assert re.search(
        rf"{study.id} +completed +12/12 +spoken-digits +gradient-filter, latent-sgd +20", listed[0][1]
    )
    as_json = [json.loads(tunebench("list", *place, "--json")[1]) for place in places]
    assert as_json[0] == as_json[1]
    assert as_json[0][0]["labels"] == ["paper"]
    shown = [tunebench("show", "shown", *place) for place in places]
    assert shown[0] == shown[1]
    assert f"{study.id}  completed, 12 of 12 trials on spoken-digits\n" in shown[0][1]
    assert "\nNothing is decided: with 2 runs per arm no test can tell two arms apart; " in shown[0][1]
    best = "latent SGD: best 80.0% (test 40.0%), run 1 trial 3, with\n  alpha = 0.1\n  gamma = 0.9\n"
    assert best in shown[0][1]
    assert "in 2 independent runs of 3 trials" in shown[0][1]
    as_json = [json.loads(tunebench("show", study.id, *place, "--json")[1]) for place in places]
    assert as_json[0] == as_json[1]
    assert as_json[0]["incumbents"]["latent-sgd"]["objective"] == 0.8
    exported = [tunebench("export", study.id[:-4], *place, "--out", place[0]) for place in places]
    assert [code for code, *_ in exported] == [0, 0]
    assert exported[0][1].replace("--db/", "--url/") == exported[1][1]
    files = [{path.name: path.read_bytes() for path in Path(place[0]).iterdir()} for place in places]
    assert files[0] == files[1]
    assert "figure8.png" in files[0]


def test_a_proxy_is_listed_and_shown_as_one(tunebench, service):
    served, store = service
    study = store.create_study(spec("short", proxy={"epochs": 5}), {})
    for place in (("--db", str(store.engine.url)), ("--url", served.url)):
        assert "0 of 12 trials on proxy of spoken-digits: 5 epochs\n" in tunebench("show", "short", *place)[1]
        assert "proxy of" in tunebench("list", *place)[1]
        listed = json.loads(tunebench("list", *place, "--json")[1])
        assert next(row for row in listed if row["id"] == study.id)["proxy"] == {"epochs": 5}


def test_a_study_that_starts_from_another_network_is_listed_and_shown_as_one(tunebench, service):
    served, store = service
    study = store.create_study(spec("onwards", start="first"), {})
    for place in (("--db", str(store.engine.url)), ("--url", served.url)):
        assert "0 of 12 trials on spoken-digits, from first\n" in tunebench("show", "onwards", *place)[1]
        listed = json.loads(tunebench("list", *place, "--json")[1])
        row = next(row for row in listed if row["id"] == study.id)
        assert (row["start"], row["task_label"]) == ("first", "spoken-digits, from first")


def test_what_was_published_is_shown_beside_ours(tunebench, service):
    """The words are the report's, from a database and from the service, even before there is a result of ours."""
    served, store = service
    source = "Quist 2023, Table 2"
    stated = {"name": "gradient-filter", "published": {"test": 0.865, "sd": 0.003, "source": source}}
    rows = [{"name": "IR-Net", "test": 0.5, "source": source}]
    study = store.create_study(spec("stated", arms=[stated, "latent-sgd"], published=rows), {})
    for ours in ("–", r"40\.0%"):
        for place in (("--db", str(store.engine.url)), ("--url", served.url)):
            _, out, _ = tunebench("show", "stated", *place)
            section = out[out.index("Published results:\n") :]
            assert re.search(r"method +published test accuracy, not ours +ours +source\n", section)
            assert re.search(rf"gradient filter +86\.5% ± 0\.3 +{ours} +{source}\n", section)
            assert re.search(rf"IR-Net +50\.0% +– +{source}\n", section)
            assert "it is not ours" in section
        if ours == "–":
            finish(store, study)


def test_where_studies_are_is_one_of_the_two(tunebench, service, monkeypatch):
    served, store = service
    store.create_study(spec("served"), {})
    upgrade(connect("sqlite:///other.db"))
    here, there = "no studies yet", "served-"
    for environment, arguments, expected in (
        ({}, ["--url", served.url], there),
        ({"TUNEBENCH_URL": served.url}, [], there),
        ({"TUNEBENCH_DATABASE_URL": "sqlite:///other.db"}, [], here),
        ({"TUNEBENCH_URL": served.url, "TUNEBENCH_DATABASE_URL": "sqlite:///other.db"}, [], there),
        ({"TUNEBENCH_URL": "http://127.0.0.1:1"}, ["--db", "sqlite:///other.db"], here),
        ({"TUNEBENCH_DATABASE_URL": "sqlite:///other.db"}, ["--url", served.url], there),
    ):
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            code, out, _ = tunebench("list", *arguments)
            assert (code, expected in out) == (0, True), (environment, arguments)
    code, _, err = tunebench("list", "--url", served.url, "--db", "sqlite:///other.db")
    assert (code, err) == (
        2,
        "error: --url names a service and --db a database on this machine: give only one of them\n",
    )


def test_a_study_is_submitted_paused_resumed_cancelled_and_deleted(tunebench, service):
    served, store = service
    url = ("--url", served.url)
    file = write(GOOD.replace("name: s", "name: life"))
    code, out, _ = tunebench(
        "submit", file, "--label", "a", "--label", "b", "--priority", "5", "--runs", 2, *url
    )
    study = store.study("life")
    assert (code, out) == (0, f"{study.id}: queued at {served.url}\n")
    assert (study.labels, study.priority, study.spec["runs"]) == (("a", "b"), 5, 2)
    assert json.loads(tunebench("submit", file, "--runs", 2, "--json", *url)[1])["id"] == study.id
    for given, stays in ((("--label", "a"), False), (("--label", "c"), True), (("--priority", "9"), True)):
        code, _, err = tunebench("submit", file, "--runs", 2, *given, *url)
        assert (code, "It was stored before, and its labels and priority stay" in err) == (0, stays)
    assert tunebench("pause", "life", *url)[:2] == (0, f"{study.id}: paused at {served.url}\n")
    assert tunebench("resume", "life", *url)[:2] == (0, f"{study.id}: queued at {served.url}\n")
    lease = store.claim(study.id, Owner.current(), 60)
    asked = f"{study.id}: running, asked to pause-now at {served.url}\n"
    assert tunebench("pause", study.id, "--now", *url)[:2] == (0, asked)
    store.finish(lease, StudyState.PAUSED)
    code, _, err = tunebench("delete", "life", "--yes", *url)
    assert code == 2
    assert (
        f"error: study {study.id} is paused; only a study in one of the states completed, failed, cancelled"
        in err
    )
    assert tunebench("cancel", "life", *url)[:2] == (0, f"{study.id}: cancelled at {served.url}\n")
    assert tunebench("delete", "life", "--yes", *url)[0] == 0
    assert tunebench("show", study.id, *url)[0] == 2


def test_the_service_tells_what_is_wrong_with_a_file(tunebench, service):
    bad = write("name: Bad\ntask: spoken-digits\nmethods: [sgd]\n")
    code, out, err = tunebench("submit", bad, "--url", service[0].url)
    assert (code, out) == (2, "")
    assert re.match(r"error: name: .*\nerror: methods\.0: unknown method 'sgd'; known are", err)
    code, _, err = tunebench("submit", write("- a list"), "--url", service[0].url)
    assert (code, "a study must be a mapping" in err) == (2, True)
    code, _, err = tunebench("submit", write("name: s\nruns: .nan\ntrials: .inf\n"), "--url", service[0].url)
    assert (code, err) == (
        2,
        "error: runs: must be a finite number\nerror: trials: must be a finite number\n",
    )


def test_a_study_is_found_by_what_is_unique_of_its_name(tunebench, service):
    served, store = service
    studies = [store.create_study(spec("twins", seed=seed), {}) for seed in (1, 2)]
    url = ("--url", served.url)
    assert tunebench("show", studies[1].id[:-1], *url)[0] == 0
    code, _, err = tunebench("show", "twins", *url)
    assert code == 2
    assert f"{studies[1].id}, {studies[0].id}; give more of the id" in err
    for unknown in ("nothing-like-it", "..", "a/b"):
        code, _, err = tunebench("show", unknown, *url)
        assert (code, f"no study {unknown!r} at {served.url}; the studies are {studies[1].id}" in err) == (
            2,
            True,
        )


@pytest.mark.slow
def test_without_a_service_its_url_is_told_soon(tunebench, monkeypatch):
    with Rude() as server:
        url = server.url
    began = time.monotonic()
    beside = command("list", "--url", url)  # both wait
    code, out, err = tunebench("submit", write(GOOD), "--url", url)
    listed, said = beside.communicate(timeout=30)
    for found in ((code, out, err), (beside.returncode, listed, said)):
        assert found[:2] == (2, "")
        assert f"error: {url} cannot be reached" in found[2]
        assert "Traceback" not in found[2]
    assert time.monotonic() - began < 10


def test_the_token_is_in_the_environment(tunebench, monkeypatch):
    monkeypatch.setenv("TUNEBENCH_TOKEN", "tb_x")
    with Rude(answer(200, {"items": [], "next": None}), problem(401, "this token is unknown")) as server:
        assert tunebench("list", "--url", server.url)[0] == 0
        code, out, err = tunebench("list", "--url", server.url)
        assert (code, out) == (2, "")
        assert err.startswith("error: this token is unknown; set TUNEBENCH_TOKEN to a token, which")
    assert server.asked[0].headers["authorization"] == "Bearer tb_x"


def test_what_others_wrote_is_text(tunebench, service):
    served, store = service
    study = store.create_study(spec("marked"), {})
    error = "[bold]no[/bold] [/] \x1b[2J\x1b]0;title\x07:smile: \x9b31m\nline two"
    finish(store, study, StudyState.FAILED, error)
    for place in (("--db", str(store.engine.url)), ("--url", served.url)):
        code, out, _ = tunebench("show", "marked", *place)
        assert code == 0
        assert "stopped: [bold]no[/bold] [/] :smile: 31m\nline two\n" in out
        _, out, _ = tunebench("show", "marked", "--json", *place)
        assert json.loads(out)["error"] == error
        assert not re.search(r"[\x1b\x9b\x07]", out)
    code, _, err = tunebench("watch", "marked", "--url", served.url)
    assert code == 1
    assert f"{study.id}: failed: [bold]no[/bold] [/] :smile: 31m\nline two\n" in err
    with Rude(problem(409, error)) as server:
        code, _, err = tunebench("list", "--url", server.url)
    assert (code, err) == (2, "error: [bold]no[/bold] [/] :smile: 31m\nerror: line two\n")


def test_a_log_is_printed_as_text(tunebench):
    log = "[red]one[/red] \x1b[31mtwo\x1b[0m\nthree \x1b]0;title\x07"
    with Rude(answer(200, study()), answer(200, log.encode())) as server:
        code, out, _ = tunebench("logs", "s-00000000", "--tail", "2", "--url", server.url)
    assert (code, out) == (0, "[red]one[/red] two\nthree \n")
    assert server.asked[1].line == "GET /v1/studies/s-00000000/logs?tail=2&follow=false HTTP/1.1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b[1;31mb\x1b[0mc", "abc"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07", "link"),
        ("\x1b(B\x1b7x\x1b", "x"),
        ("tab\tline\nreturn\rbell\x07", "tab\tline\nreturnbell"),
        ("é 🙂 \u2028", "é 🙂 \u2028"),
    ],
)
def test_control_characters_do_not_reach_the_terminal(text, expected):
    assert plain(text) == expected


def test_a_watched_study_ends_with_its_comparison(tunebench, service):
    served, store = service
    study = store.create_study(spec("watched"), {})
    driver = threading.Thread(target=finish, args=(store, study), kwargs={"pause": 0.05})
    driver.start()
    code, out, err = tunebench("watch", "watched", "--url", served.url)
    driver.join()
    assert code == 0
    assert "in 2 independent runs of 3 trials" in out
    assert err.endswith(f"completed\n{study.id}: completed\n")


def test_a_study_that_does_not_complete_is_exit_code_1(tunebench, service):
    served, store = service
    write(GOOD.replace("name: s", "name: doomed"))

    def cancel():
        while not [study for study in store.studies() if study.name == "doomed"]:
            time.sleep(0.05)
        time.sleep(0.5)
        store.ask(store.study("doomed").id, Request.CANCEL, actor="test")

    other = threading.Thread(target=cancel)
    other.start()
    code, out, err = tunebench("submit", "s.yaml", "--watch", "--url", served.url)
    other.join()
    study = store.study("doomed").id
    assert (code, out) == (1, f"{study}: queued at {served.url}\n")
    assert err.endswith(f"{study}: cancelled\n")


def command(*arguments, **options):
    heeding = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    started = [sys.executable, "-m", "service.cli", *arguments]
    return subprocess.Popen(
        started,
        preexec_fn=heeding,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_an_interrupted_watch_leaves_the_study_alone(service):
    served, store = service
    study = store.create_study(spec("left-alone"), {})
    watch = command("watch", study.id, "--url", served.url)
    assert watch.stderr.readline() == "queued\n"
    watch.send_signal(signal.SIGINT)
    out, err = watch.communicate(timeout=30)
    assert (watch.returncode, out) == (130, "")
    again = f"watch it again with: tunebench watch {study.id} --url {served.url}\n"
    assert err.endswith(f"Stopped watching. {study.id} continues at {served.url}; {again}")
    assert store.study(study.id).state == "queued"


@pytest.mark.slow
def test_a_watch_outlives_the_service(tmp_path, spoken_digits):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    upgrade(connect(url))
    store = Store(connect(url))
    study = store.create_study(spec("outlived"), {})
    with Served(url, spoken_digits) as served:
        watch = command("watch", "outlived", "--url", served.url)
        assert watch.stderr.readline() == "queued\n"
        served.kill()
        finish(store, study)
        time.sleep(1)
        served.start()
        out, err = watch.communicate(timeout=60)
    assert watch.returncode == 0, err
    assert "in 2 independent runs of 3 trials" in out


def test_tokens_are_made_listed_and_revoked(tunebench):
    tunebench("db", "upgrade")
    assert "no tokens yet" in tunebench("token", "list")[1]
    code, token, said = tunebench("token", "create", "anna", "--scope", "admin")
    assert (code, token[:3], len(token.splitlines())) == (0, "tb_", 1)
    assert "has scope admin" in said
    assert tunebench("token", "create", "anna")[0] == 2
    assert tunebench("token", "create", "no name")[0] == 2
    assert tunebench("token", "create", "bob", "--scope", "root")[0] == 2
    (row,) = json.loads(tunebench("token", "list", "--json")[1])
    assert (row["token"], row["scope"], row["revoked"]) == ("anna", "admin", None)
    assert "None" not in tunebench("token", "list")[1]
    assert tunebench("token", "revoke", "anna", "--yes")[0] == 0
    (row,) = json.loads(tunebench("token", "list", "--json")[1])
    assert row["revoked"] is not None
    assert token.strip() not in tunebench("token", "list")[1] + Path("tunebench.db").read_bytes().decode(
        "latin-1"
    )
    assert tunebench("token", "revoke", "bob")[0] == 2
    assert tunebench("token", "create", "guest", "--expires", 7)[0] == 0
    found = {row["token"]: row for row in json.loads(tunebench("token", "list", "--json")[1])}
    assert found["anna"]["expires"] is None
    lasts = datetime.fromisoformat(found["guest"]["expires"]) - datetime.fromisoformat(
        found["guest"]["created"]
    )
    assert lasts == timedelta(days=7)
    for days in (0, 36_501, "soon"):
        code, _, err = tunebench("token", "create", "other", "--expires", days)
        assert (code, "--expires" in err) == (2, True), err
    assert len(json.loads(tunebench("token", "list", "--json")[1])) == 2


@pytest.mark.parametrize(
    ("host", "said"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("localhost", "127.0.0.1")]
)
def test_the_address_that_is_said_can_be_asked(host, said):
    if ":" in host and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with _listening(host, 0) as listening:
        url = _address(listening)
        assert url == f"http://{said}:{listening.getsockname()[1]}"
        socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), 5).close()


def test_a_service_that_others_reach_needs_a_token(tunebench):
    code, _, err = tunebench("serve", "--host", "0.0.0.0", "--port", "0")
    assert (code, "requires an API token" in err) == (2, True)


HEAVY = {"torch", "ray", "ax", "botorch", "matplotlib", "scipy", "fastapi", "uvicorn", "pandas"}


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], HEAVY | {"numpy", "sqlalchemy", "alembic", "httpx", "pydantic", "yaml"}),
        (["list", "--db", "sqlite:///study.db"], HEAVY | {"alembic", "httpx"}),
        (["list", "--url"], HEAVY | {"alembic"}),
    ],
)
def test_a_command_imports_only_what_it_needs(service, tmp_path, arguments, unwanted):
    upgrade(connect(f"sqlite:///{tmp_path / 'study.db'}"))
    arguments = [*arguments, service[0].url] if arguments[-1] == "--url" else arguments
    code = (
        "import sys; from service.cli import app; app(sys.argv[1:], standalone_mode=False); "
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    environment = {"PYTHONPATH": str(Path.cwd()), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stderr.split()) & unwanted == set()


def test_data_that_are_not_the_published_are_taken_and_said(tunebench, monkeypatch, tmp_path):
    for part, count in (("train", 20), ("t10k", 10)):
        labels = bytes(i % 10 for i in range(count))
        folder = tmp_path / "raw"
        folder.mkdir(exist_ok=True)
        shape = (count.to_bytes(4, "big"), (28).to_bytes(4, "big") * 2)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(
            b"\0\0\x08\x03" + b"".join(shape) + bytes(784 * count)
        )
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + shape[0] + labels)
    monkeypatch.setenv("TUNEBENCH_DATA_DIR", str(tmp_path / "data"))
    code, out, err = tunebench("data", "fetch", "mnist", "--from", folder)
    assert code == 0
    assert "mnist is checked and ready" in out
    assert "these are not the published images (other contents: train-images-idx3-ubyte, " in err
    assert "UserWarning" not in err
