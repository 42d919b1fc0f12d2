"""What an export leaves in its folder, read back."""

import json
import math
import re
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from synthetic import figure8_like, study_of, trial_of, trials_of

from studies.comparison import compare
from studies.curves import curves_of
from studies.errors import StudyError
from studies.export import export
from studies.records import TrialState
from studies.spec import PROTOCOL, from_json
from studies.summary import difference, summary

NAMES = {
    "figure8.png", "figure8.svg", "figure8.pdf", "curves.csv", "trials.csv", "comparison.json",
    "provenance.json", "report.md",
}  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "results" / "deep"
    study, trials = figure8_like(runs=4, trials=6)
    return study, trials, out, export(study, trials, out)


def test_the_files(exported):
    _, _, out, files = exported
    assert set(out.iterdir()) == set(files)
    assert {file.name for file in files} == NAMES | {"extra-trials.png", "trials-to-target.png"}
    assert (out / "figure8.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (out / "figure8.svg").read_text()
    with Image.open(out / "figure8.png") as image:
        assert image.width >= 1000


def test_curves(exported):
    _, trials, out, _ = exported
    table = pd.read_csv(out / "curves.csv")
    assert ",".join(table.columns) == "method,trial,n,median,median_low,median_high,mean,mean_low,mean_high"
    best = curves_of("latent-sgd", trials, (4, 6), "maximize").best
    ours = table[table.method == "latent-sgd"]
    assert ours.trial.tolist() == [1, 2, 3, 4, 5, 6]
    assert ours.n.tolist() == [4] * 6
    np.testing.assert_array_equal(ours["median"], np.median(best, axis=0))
    np.testing.assert_array_equal(ours["median_low"], best.min(axis=0))
    np.testing.assert_allclose(ours["mean"], best.mean(axis=0), rtol=1e-15)


def test_trials(exported):
    study, trials, out, _ = exported
    table = pd.read_csv(out / "trials.csv")
    assert ",".join(table.columns) == (
        "study,method,run,trial,state,objective,test_metric,best_so_far,suggest_seconds,train_seconds,attempts,"
        "hp.alpha,hp.gamma,hp.learning_rate,hp.initial_magnitude,hp.weight_decay,hp.scaling,hp.clipping"
    )
    assert len(table) == len(trials)
    for row, t in zip(table.itertuples(), trials, strict=True):
        assert (row.study, row.method, row.run, row.trial) == (study.id, t.method, t.run, t.trial)
        assert row.objective == t.objective
    filters = table[table.method == "gradient-filter"]
    assert filters["hp.alpha"].tolist() == [trials[0].hyperparameters["alpha"]] * 24
    assert filters["hp.clipping"].isna().all()
    assert (filters.groupby("run").objective.cummax() == filters.best_so_far).all()


def test_failed_diverged_and_infinite_values_are_read_back(tmp_path):
    study = study_of(["latent-sgd"], runs=2, trials=3)
    spec = from_json(study.spec)
    trials = trials_of(study, {"latent-sgd": [[None, 0.5, 0.4], [0.6, 0.7, None]]})
    trials[2] = trial_of(
        spec,
        "latent-sgd",
        1,
        3,
        -math.inf,
        state=TrialState.DIVERGED,
        train_seconds=math.inf,
        test_metric=math.nan,
    )
    export(replace(study, provenance={"limit": math.inf, "unknown": math.nan}), trials, tmp_path)
    table = pd.read_csv(tmp_path / "trials.csv")
    np.testing.assert_array_equal(table.objective, [math.nan, 0.5, -math.inf, 0.6, 0.7, math.nan])
    np.testing.assert_array_equal(table.best_so_far, [math.nan, 0.5, 0.5, 0.6, 0.7, 0.7])
    assert table.state.tolist() == ["failed", "completed", "diverged", "completed", "completed", "failed"]
    assert table.train_seconds[2] == math.inf
    assert pd.read_csv(tmp_path / "curves.csv").n.tolist() == [1, 2, 2]
    provenance = json.loads((tmp_path / "provenance.json").read_text(), parse_constant=pytest.fail)
    assert (provenance["limit"], provenance["unknown"]) == ("inf", None)


def test_comparison_and_provenance(exported):
    study, trials, out, _ = exported
    assert json.loads((out / "comparison.json").read_text(), parse_constant=pytest.fail) == compare(
        study, trials
    )
    provenance = json.loads((out / "provenance.json").read_text(), parse_constant=pytest.fail)
    assert provenance["spec"] == study.spec
    assert provenance["protocol"] == PROTOCOL
    assert provenance["commit"] == "0" * 40
    assert {"versions", "hardware", "python"} <= set(provenance)
    assert provenance["seeds"]["study"] == 0
    assert provenance["seeds"]["trials"]["latent-sgd"]["4"][5] == trials[-1].seed


def test_the_report_stands_by_itself(exported):
    study, trials, out, _ = exported
    text = (out / "report.md").read_text()
    assert text.split("\n\n")[1] == summary(compare(study, trials))
    for image in ("figure8.png", "trials-to-target.png", "extra-trials.png"):
        assert f"]({image})" in text
        assert (out / image).exists()
    for part in (
        "How good",
        "How many trials",
        "What was equal",
        "How the numbers are computed",
        "Where it comes from",
    ):
        assert f"\n## {part}\n" in text
    assert f"tunebench export {study.id}" in text
    assert not re.search(r"\b(None|nan|inf)\b", text)


def test_the_report_sets_test_beside_validation(exported):
    study, trials, out, _ = exported
    text = (out / "report.md").read_text()
    (pair,) = compare(study, trials)["pairs"]
    for split, what in (("validation", "best_at_budget"), ("test", "test_at_budget")):
        shift = difference(pair[what]["paired"]["hodges_lehmann"], "accuracy")
        assert f"| {split} | paired | {shift} | {pair[what]['paired']['a_better']} better, " in text
    assert "too few for intervals" in text  # four runs


def test_the_report_of_enough_runs(tmp_path):
    export(*figure8_like(runs=6, trials=12), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "too few for intervals" not in text
    assert "with their interval at each n by itself" in text
    assert re.search(r"\n\| 10 \| ≥ 3 \(≥ \d\) \|", text)
    assert "\n| 12 | " not in text  # "≥ 1" there would say only that the budget is over


def test_the_report_of_failed_runs(tmp_path):
    study = study_of(runs=6, trials=2)
    objectives = {"gradient-filter": [[0.9, 0.9]] * 5 + [[None, None]], "latent-sgd": [[0.8, 0.8]] * 6}
    export(study, trials_of(study, objectives), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| 5 of 6 |" in text
    assert "No extra trials: not every run of gradient filter has a result." in text
    assert not re.search(r"\b(None|nan|inf)\b", text)


def test_tables_are_whole(exported):
    lines = (exported[2] / "report.md").read_text().splitlines()
    for rule in (i for i, line in enumerate(lines) if line.startswith("| ---")):
        columns = lines[rule].count("|")
        assert lines[rule - 1].count("|") == columns
        for row in lines[rule + 1 : lines.index("", rule)]:
            assert row.count("|") == columns


def test_the_same_records_give_the_same_bytes(exported, tmp_path):
    study, trials, _, files = exported
    for one, other in zip(files, export(study, trials[::-1], tmp_path), strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


@pytest.mark.parametrize("kept", [0, 1, 20])
def test_an_unfinished_study(kept, tmp_path):
    study, trials = figure8_like(runs=4, trials=6)
    some = sorted(trials, key=lambda t: (t.trial, t.run))[:kept]
    names = {file.name for file in export(study, some, tmp_path)}
    assert names >= NAMES
    assert "The study is unfinished" in (tmp_path / "report.md").read_text()
    assert len(pd.read_csv(tmp_path / "trials.csv")) == kept


def test_a_folder_that_cannot_be(tmp_path):
    study, trials = figure8_like(runs=2, trials=2)
    (tmp_path / "file").write_text("here already")
    with pytest.raises(StudyError, match=r"file/figure8\.png: cannot be written"):
        export(study, trials, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "here already"


def test_no_room_leaves_the_files_as_they_were(tmp_path):
    """A limit on the size of files stands in for a full disk: writing fails half-way in the same call."""
    study, trials = figure8_like(runs=2, trials=2)
    export(study, trials, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StudyError, match=r"figure8\.png: cannot be written: File too large"):
            export(study, trials[:2], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_relative_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = export(*figure8_like(runs=2, trials=2), Path("results"))
    assert all(file.exists() for file in files)
