"""The files of an export, read back from its folder."""

import io
import json
import math
import re
import resource
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from synthetic import confirmations_of, confirmed_study, figure8_like, repeated, study_of, trials_of

from studies.analysis.comparison import compare
from studies.design.notation import parse
from studies.design.spec import PROTOCOL
from studies.errors import StudyError
from studies.results.data_tables import FORMS, OMITTED_IF_EMPTY, TABLES, table
from studies.results.export import IMAGES, TOO_LONG, archive, export, image
from studies.results.report import report
from studies.results.summary import summary
from studies.results.verdict import verdict
from studies.results.wording import difference

NAMES = {
    "figure8.png", "figure8.svg", "figure8.pdf", "curves.csv", "curves.parquet", "curves.json", "trials.csv",
    "trials.parquet", "trials.json", "epochs.csv", "epochs.parquet", "comparison.json",
    "provenance.json", "report.md", "study.yaml",
    "dictionary.md",
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


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory):
    out = tmp_path_factory.mktemp("confirmed")
    study, trials, confirmations = confirmed_study()
    files = export(study, trials, out, confirmations=confirmations)
    return study, trials, confirmations, out, files


@pytest.mark.parametrize(("name", "form"), [*product(TABLES, FORMS)])
def test_the_tables(confirmed, exported, name, form):
    study, trials, confirmations, out, _ = confirmed
    if name not in ("repeats", "traces", "differing-signs", "published") and (name, form) not in TOO_LONG:
        assert (out / f"{name}.{form}").read_bytes() == table(study, trials, name, form, confirmations)
    study, trials, out, _ = exported
    if name in OMITTED_IF_EMPTY or (name, form) in TOO_LONG:
        assert not (out / f"{name}.{form}").exists()
    else:
        assert (out / f"{name}.{form}").read_bytes() == table(study, trials, name, form)


def test_the_endpoints_on_confirmed_curves_are_drawn(confirmed):
    *_, out, _ = confirmed
    text = (out / "report.md").read_text()
    for name in ("trials-to-plateau.png", "extra-trials-confirmed.png"):
        assert f"]({name})" in text
        assert (
            text.index(name) < text.index("### As the searcher saw it") < text.index("trials-to-target.png")
        )
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_confirmations_and_what_they_say_are_exported(confirmed):
    study, trials, confirmations, out, files = confirmed
    assert {file.name for file in files} >= NAMES | {f"confirmations.{form}" for form in FORMS}
    rows = pd.read_csv(out / "confirmations.csv")
    assert len(rows) == len(confirmations)
    assert set(rows["study"]) == {study.id}
    assert (
        rows["seed"].is_monotonic_increasing is False
    )  # by arm, run, trial and number, whatever their seeds
    own = rows[(rows["arm"] == "filter-published") & (rows["run"] == 3)]
    assert own["trial"].tolist() == [1, 1, 1]
    curves = pd.read_csv(out / "curves.csv").set_index(["arm", "trial"])
    last = curves.loc[("gradient-filter", study.budget)]
    compared = compare(study, trials, confirmations=confirmations).arms["gradient-filter"]
    assert last["confirmed"] == pytest.approx(compared.confirmed_at_budget.mean.value)
    assert last["held_out"] == pytest.approx(compared.test_at_budget.mean.value)
    assert curves.loc["filter-published"]["confirmed"].nunique() == 1


def test_the_report_says_what_the_climb_is_worth(confirmed):
    study, trials, confirmations, out, _ = confirmed
    text = (out / "report.md").read_text()
    assert text.index("\n## What the climb is worth\n") < text.index("\n## How good the arms are\n")
    assert text == report(
        study,
        compare(study, trials, confirmations=confirmations),
        sorted(file.name for file in out.iterdir()),
    )
    assert "| filter published | 8 of 8 | " in text
    assert " | 0.00 percentage points | 100% | " in text
    assert "Below, on the same scale, what the best so far was worth: the mean test accuracy" in text
    assert "A control reaches a target by luck alone." in text
    assert not re.search(r"\b(None|nan|inf)\b", text)


def test_the_trainings_of_trials_are_exported(tmp_path):
    study, trials = study_of(["bop"], runs=1, trials=2, repeats=2), []
    trials = [repeated(trial) for trial in trials_of(study, {"bop": [[0.5, 0.75]]})]
    export(study, trials, tmp_path)
    rows = pd.read_csv(tmp_path / "repeats.csv")
    assert rows.groupby("trial")["objective"].mean().tolist() == [0.5, 0.75]
    assert pd.read_csv(tmp_path / "trials.csv")["objective"].tolist() == [0.5, 0.75]
    assert "Each trial is 2 trainings, each with its own seed; " in (tmp_path / "report.md").read_text()


SOURCE = "Quist 2023, Table 2"
ARMS = [
    {"name": "filter", "method": "gradient-filter", "published": {"test": 0.865, "source": SOURCE}},
    {"name": "latent", "method": "latent-sgd", "published": {"test": 0.84, "sd": 0.003, "source": SOURCE}},
    {"name": "other", "method": "bop"},
]
ROWS = [{"name": "IR-Net", "test": 0.98356, "source": SOURCE}]
HEADS = "| method | published test accuracy, not ours | ours | source |"


def with_published(**keys):
    study = study_of(arms=ARMS, published=ROWS, runs=2, trials=1, **keys)
    return study, trials_of(
        study, {"filter": [[0.85], [0.87]], "latent": [[0.8], [0.8]], "other": [[0.5], [0.5]]}
    )


def test_what_was_published_is_beside_ours(tmp_path):
    study, trials = with_published()
    export(study, trials, tmp_path)
    text = (tmp_path / "report.md").read_text()
    section = text[text.index("## Published results") : text.index("## How good the arms are")]
    assert "it is not ours" in section
    assert HEADS in section
    assert "| filter | 86.5% | 86.0% (95% interval 73.3% to 98.7%) | Quist 2023, Table 2 |" in section
    assert "| latent | 84.0% ± 0.3 | 80.0% | Quist 2023, Table 2 |" in section
    assert "| IR-Net | 98.356% | – | Quist 2023, Table 2 |" in section
    assert "other" not in section
    found = pd.read_csv(tmp_path / "published.csv")
    assert found.arm.tolist()[:2] == ["filter", "latent"]
    assert found.published_test.tolist() == [0.865, 0.84, 0.98356]
    assert found.n.tolist()[:2] == [2, 2]
    np.testing.assert_allclose(found.test, [0.86, 0.8, math.nan], rtol=1e-12)
    assert found.confirmed.isna().all()
    held = json.loads((tmp_path / "comparison.json").read_text())["published"]
    assert held[1] == {"name": "latent", "arm": "latent", "test": 0.84, "sd": 0.003, "source": SOURCE}
    assert held[2] == {"name": "IR-Net", "arm": None, "test": 0.98356, "sd": None, "source": SOURCE}
    study_file = (tmp_path / "study.yaml").read_text()
    assert SOURCE in study_file


def test_what_was_published_is_shown_before_anything_is_done(tmp_path):
    study, _ = with_published()
    export(study, [], tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| latent | 84.0% ± 0.3 | – | Quist 2023, Table 2 |" in text
    found = pd.read_csv(tmp_path / "published.csv")
    assert len(found) == 3
    assert found[["n", "test", "confirmed"]].isna().all(axis=None)


def test_what_was_published_is_beside_what_is_confirmed_too(tmp_path):
    study, trials = with_published(confirm={"seeds": 2})
    fresh = confirmations_of(study, trials, lambda trial, number: trial.objective - number / 100)
    export(study, trials, tmp_path, confirmations=fresh)
    text = (tmp_path / "report.md").read_text()
    assert HEADS.replace("ours | source", "ours | ours, confirmed | source") in text
    assert re.search(r"\| filter \| 86.5% \| 86.0% \([^)]*\) \| 84.5% \([^)]*\) \| Quist", text)
    found = pd.read_csv(tmp_path / "published.csv")
    np.testing.assert_allclose(found.confirmed, [0.845, 0.785, math.nan], rtol=1e-12)
    assert table(study, trials, "published", "csv", fresh) == (tmp_path / "published.csv").read_bytes()


def test_a_study_without_confirmations_has_no_such_section(exported):
    assert "climb is worth" not in (exported[2] / "report.md").read_text()


def test_infinite_and_unknown_values_are_json(tmp_path):
    study = study_of(["latent-sgd"], runs=2, trials=3)
    trials = trials_of(study, {"latent-sgd": [[None, 0.5, -math.inf], [-math.inf, 0.7, None]]})
    export(replace(study, provenance={"limit": math.inf, "unknown": math.nan}), trials, tmp_path)
    provenance = json.loads((tmp_path / "provenance.json").read_text(), parse_constant=pytest.fail)
    assert (provenance["limit"], provenance["unknown"]) == ("inf", None)
    curves = json.loads((tmp_path / "curves.json").read_text(), parse_constant=pytest.fail)
    assert [(row["n"], row["median"], row["mean"]) for row in curves] == [
        (1, "-inf", "-inf"), (2, 0.6, 0.6), (2, 0.6, 0.6)
    ]  # fmt: skip


def test_comparison_and_provenance(exported):
    study, trials, out, _ = exported
    assert (
        json.loads((out / "comparison.json").read_text(), parse_constant=pytest.fail)
        == compare(study, trials).to_json()
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
    comparison = compare(study, trials)
    assert text.split("\n\n")[1] == f"**{verdict(comparison)}**"
    assert summary(comparison) in text
    for name in ("figure8.png", "trials-to-target.png", "extra-trials.png"):
        assert f"]({name})" in text
        assert (out / name).exists()
    for part in (
        "How good the arms are",
        "How many trials they need",
        "Parity audit",
        "How the numbers are computed",
        "Provenance",
        "Running it again",
        "References",
    ):
        assert f"\n## {part}\n" in text
    assert f"tunebench export {study.id}" in text
    assert not re.search(r"\b(None|nan|inf)\b", text)


@pytest.mark.parametrize(("published", "told"), [(False, True), (True, False), (None, False)])
def test_the_report_says_that_data_are_not_the_published_ones(exported, published, told):
    study, trials, *_ = exported
    data = {"set": "cifar10", "sha256": "0" * 64, "published": published}
    unknown = {"set": "cifar10", "sha256": None, "published": None}
    for provenance in (
        {"data": data},
        {"continued": [{"data": data}]},
        {"data": unknown, "continued": [{"data": data}]},
    ):
        text = report(replace(study, provenance=provenance), compare(study, trials), [])
        assert ("**The data are not cifar10 as it was published**" in text.split("\n\n")[1]) == told


def test_the_study_in_the_report_reads_back(exported):
    study, trials, *_ = exported
    spec = {**study.spec, "name": "0o10", "start": "1e3"}  # words that are numbers in YAML 1.2 unless quoted
    text = report(replace(study, spec=spec), compare(study, trials), [])
    assert parse(text.split("```yaml\n")[1].split("```")[0]) == spec


def test_the_report_sets_test_beside_validation(exported):
    study, trials, out, _ = exported
    text = (out / "report.md").read_text()
    (pair,) = compare(study, trials).pairs
    for split in ("validation", "test"):
        paired = pair.at_budget(split).paired
        shift = difference(paired.hodges_lehmann, "accuracy")
        assert f"| {split} | paired | {shift} | {paired.a_better} better, " in text
    assert "too few runs for intervals" in text  # four runs


def test_the_report_of_enough_runs(tmp_path):
    export(*figure8_like(runs=6, trials=12), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "too few runs for intervals" not in text
    assert "with pointwise intervals" in text
    assert re.search(r"\n\| 10 \| ≥ 3 \(≥ \d\) \|", text)
    assert "\n| 12 | " not in text  # "≥ 1" there would only say that the budget is used up


def test_the_report_of_failed_runs(tmp_path):
    study = study_of(runs=6, trials=2)
    objectives = {"gradient-filter": [[0.9, 0.9]] * 5 + [[None, None]], "latent-sgd": [[0.8, 0.8]] * 6}
    export(study, trials_of(study, objectives), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| 5 of 6 |" in text
    assert "There are no extra trials, because not every run of gradient filter has a result." in text
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


def test_the_archive_holds_what_is_written(exported):
    study, trials, _, files = exported
    packed = archive(study, trials)
    with zipfile.ZipFile(io.BytesIO(packed)) as unpacked:
        assert unpacked.testzip() is None
        assert {entry: unpacked.read(entry) for entry in unpacked.namelist()} == {
            f"{study.id}/{file.name}": file.read_bytes() for file in files
        }
        assert {entry.date_time for entry in unpacked.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert archive(study, trials[::-1], compare(study, trials)) == packed


def test_a_comparison_at_hand_is_used(exported, tmp_path):
    study, trials, _, _ = exported
    marked = replace(compare(study, trials), resamples=123)
    export(study, trials, tmp_path, marked)
    assert json.loads((tmp_path / "comparison.json").read_text())["resamples"] == 123
    assert "**Bootstrap**: 123 samples" in (tmp_path / "report.md").read_text()


def test_an_image_is_the_one_written_by_however_many_threads(exported):
    study, trials, out, _ = exported
    kinds = [*IMAGES, *reversed(IMAGES)] * 2  # each kind after every other and after itself
    with ThreadPoolExecutor(4) as pool:
        drawn = pool.map(lambda kind: image(study, trials, kind), kinds)
        for kind, content in zip(kinds, drawn, strict=True):
            assert content == (out / f"figure8.{kind}").read_bytes()


def test_another_kind_of_image_is_refused(exported):
    study, trials, _, _ = exported
    with pytest.raises(StudyError, match="unknown kind of image 'gif'; known are png, svg, pdf"):
        image(study, trials, "gif")


@pytest.mark.parametrize("kept", [0, 1, 20])
def test_an_unfinished_study(kept, tmp_path):
    study, trials = figure8_like(runs=4, trials=6)
    some = sorted(trials, key=lambda t: (t.trial, t.run))[:kept]
    names = {file.name for file in export(study, some, tmp_path)}
    assert names >= NAMES
    assert "The study is unfinished" in (tmp_path / "report.md").read_text()
    assert len(pd.read_csv(tmp_path / "trials.csv")) == kept


@pytest.mark.parametrize("missing", ["a method", "runs", "trials of a run"])
def test_a_study_that_lacks(missing, tmp_path):
    study, trials = figure8_like(runs=3, trials=4)
    kept = {
        "a method": lambda t: t.arm == "latent-sgd",
        "runs": lambda t: t.run > 1,
        "trials of a run": lambda t: t.trial <= t.run + (t.arm == "latent-sgd"),
    }[missing]
    some = [t for t in trials if kept(t)]
    assert {file.name for file in export(study, some, tmp_path)} >= NAMES
    assert len(pd.read_parquet(tmp_path / "trials.parquet")) == len(some)
    assert not re.search(r"\b(None|nan|inf)\b", (tmp_path / "report.md").read_text())


def test_a_folder_that_cannot_be(tmp_path):
    study, trials = figure8_like(runs=2, trials=2)
    (tmp_path / "file").write_text("here already")
    with pytest.raises(StudyError, match=r"file/provenance\.json: cannot be written"):
        export(study, trials, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "here already"


def test_no_room_leaves_the_files_as_they_were(tmp_path):
    """A limit on file size stands in for a full disk: writing fails half-way in the same call."""
    study, trials = figure8_like(runs=2, trials=2)
    export(study, trials, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StudyError, match=r"provenance\.json: cannot be written: File too large"):
            export(study, trials[:2], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_relative_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = export(*figure8_like(runs=2, trials=2), Path("results"))
    assert all(file.exists() for file in files)


def test_a_study_of_two_kinds_of_machine_says_so(tmp_path):
    study, trials = figure8_like(runs=2, trials=2)
    first = {**study.provenance, "hardware": {"cpu": "A", "instructions": "AVX512"}}
    for continued, said in (({"cpu": "A", "instructions": "AVX2"}, True), (first["hardware"], False)):
        changed = replace(study, provenance={**first, "continued": [{**first, "hardware": continued}]})
        text = report(changed, compare(changed, trials), ())
        assert (
            "several kinds of machine, A (AVX512) and A (AVX2). Each kind rounds" in " ".join(text.split())
        ) is said
