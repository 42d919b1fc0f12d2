"""Tables read back by pandas: each form gives the same numbers and types, whatever a study holds."""

import io
import json
import math
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from pydantic import ValidationError
from synthetic import confirmations_of, figure8_like, repeated, study_of, trial_of, trials_of

from studies.analysis.curves import centre, curves_of, of_study
from studies.design.methods import METHODS as METHOD_TABLE
from studies.design.methods import Method
from studies.design.space import Choice, Fixed, Float, Int
from studies.design.spec import StudySpec, from_json
from studies.errors import StudyError
from studies.records import EpochRecord, Series, TrialState
from studies.results.data_tables import FORMS, TABLES, curves_table, published_table, table, trials_table
from studies.results.table_names import FORM_NAMES, TABLE_NAMES
from trainers.hyperparameters import VALID, Interval, Options

METHODS = ("gradient-filter", "latent-sgd")
TRIAL_COLUMNS = [
    "study", "arm", "method", "run", "trial", "state", "objective", "test_metric", "best_so_far", "suggest_seconds",
    "train_seconds", "attempts", "seed", "split_seed", "taken_from", "hp.alpha", "hp.gamma", "hp.learning_rate",
    "hp.initial_magnitude", "hp.weight_decay", "hp.scaling", "hp.clipping",
]  # fmt: skip
CURVE_COLUMNS = [
    "arm", "trial", "n", "median", "median_low", "median_high", "median_level", "mean", "mean_low", "mean_high",
    "mean_level", "iqm", "iqm_low", "iqm_high", "iqm_level", "held_out", "held_out_low", "held_out_high",
    "held_out_level", "confirmed", "confirmed_low", "confirmed_high", "confirmed_level", "mean_band_low",
    "mean_band_high", "confirmed_band_low", "confirmed_band_high",
]  # fmt: skip
CONFIRMATION_COLUMNS = [
    "study", "arm", "method", "run", "trial", "number", "seed", "split_seed", "state", "objective", "test_metric",
    "train_seconds", "attempts", "taken_from",
]  # fmt: skip
REPEAT_COLUMNS = [
    "study", "arm", "method", "run", "trial", "number", "seed", "state", "objective", "test_metric",
]  # fmt: skip

EPOCH_COLUMNS = [
    "study", "arm", "method", "run", "trial", "epoch", "train_loss", "validation_metric", "test_metric",
    "validation_top5", "test_top5", "train_metric", "latent_validation_metric", "latent_test_metric", "flip_ratio",
    "train_seconds", "evaluate_seconds", "diverged",
]  # fmt: skip
TRACE_COLUMNS = ["study", "arm", "method", "run", "trial", "repeat", "series", "step", "value"]
SIGNS_COLUMNS = ["study", "first", "second", "run", "trial", "repeat", "step", "differing"]
PUBLISHED_COLUMNS = [
    "name", "arm", "published_test", "published_sd", "source", "n", "test", "test_low", "test_high", "test_level",
    "confirmed", "confirmed_low", "confirmed_high", "confirmed_level",
]  # fmt: skip
COLUMNS = {
    "trials": TRIAL_COLUMNS,
    "curves": CURVE_COLUMNS,
    "confirmations": CONFIRMATION_COLUMNS,
    "epochs": EPOCH_COLUMNS,
    "repeats": REPEAT_COLUMNS,
    "traces": TRACE_COLUMNS,
    "differing-signs": SIGNS_COLUMNS,
    "published": PUBLISHED_COLUMNS,
}


def with_every_outcome():
    """Make failed, diverged and infinite trials, some lacking values; the second method is unfinished."""
    published = [{"name": "a", "test": 0.9, "source": "b"}]
    study = study_of(
        [METHODS[0], {"name": METHODS[1], "published": {"test": 0.8, "sd": 0.1, "source": "c"}}],
        runs=2,
        trials=3,
        confirm={"seeds": 2},
        published=published,
    )
    spec = from_json(study.spec)
    trials = trials_of(study, {METHODS[0]: [[None, 0.5, 0.4], [0.6, 0.7, None]], METHODS[1]: [[0.25]]})
    signs = ((Series.of("signs", [5], np.uint8([[7]])),),)
    trials[0] = replace(trials[0], hyperparameters={}, series=signs)
    trials[-1] = replace(trials[-1], series=signs)
    trials[2] = trial_of(
        spec,
        METHODS[0],
        1,
        3,
        -math.inf,
        state=TrialState.DIVERGED,
        train_seconds=math.inf,
        test_metric=math.nan,
        epochs=(epoch(1), replace(epoch(2), train_loss=math.nan, validation_top5=0.9, diverged=True)),
    )
    recorded = (Series.of("flip_ratio", [5, 10], [0.25, math.nan]), Series.of("signs", [5], np.uint8([[7]])))
    trials[1] = replace(repeated(trials[1]), series=(recorded, (Series.of("3[0].w", [5], [-math.inf]),)))
    return study, trials


def epoch(number):
    return EpochRecord(
        epoch=number,
        train_loss=1.5,
        validation_metric=0.5,
        test_metric=0.25,
        flip_ratio=0.1 / number,
        train_seconds=0.5,
        evaluate_seconds=0.25,
    )


def read(study, trials, name, form, confirmations=()):
    """Read a table into pandas; the text by which JSON gives infinities is not converted."""
    content = table(study, trials, name, form, confirmations)
    if form == "csv":
        return pd.read_csv(io.BytesIO(content))
    if form == "parquet":
        return pd.read_parquet(io.BytesIO(content))
    records = json.loads(content, parse_constant=pytest.fail)
    columns = COLUMNS[name]
    assert all(list(record) == columns for record in records)
    return pd.DataFrame.from_records(records, columns=columns)


@pytest.mark.parametrize(("name", "form"), [*product(TABLES, FORMS)])
def test_every_form_holds_the_same_numbers(name, form):
    study, trials = with_every_outcome()
    fresh = confirmations_of(study, trials, lambda t, number: None if t.run == number == 2 else 0.5)
    expected, got = TABLES[name](study, trials, fresh), read(study, trials, name, form, fresh)
    assert list(got.columns) == list(expected.columns)
    assert len(got) == len(expected.rows)
    for (column, kind), cells in zip(expected.columns.items(), zip(*expected.rows, strict=True), strict=True):
        if kind == "number":
            values = np.array([math.nan if cell is None else cell for cell in cells])
            np.testing.assert_array_equal(got[column].astype(float), values, column)
        else:
            assert [None if pd.isna(cell) else cell for cell in got[column]] == list(cells), column


def test_trials():
    study, trials = with_every_outcome()
    found = trials_table(study, trials[::-1])
    assert list(found.columns) == TRIAL_COLUMNS
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    assert [(row["arm"], row["run"], row["trial"]) for row in rows] == [
        (t.arm, t.run, t.trial) for t in trials
    ]
    assert [row["objective"] for row in rows] == [None, 0.5, -math.inf, 0.6, 0.7, None, 0.25]
    assert [row["best_so_far"] for row in rows] == [None, 0.5, 0.5, 0.6, 0.7, 0.7, 0.25]
    assert [row["test_metric"] for row in rows] == [None, 0.5, None, 0.6, 0.7, None, 0.25]
    assert {rows[0][column] for column in TRIAL_COLUMNS if column.startswith("hp.")} == {None}
    assert rows[1]["hp.alpha"] == trials[1].hyperparameters["alpha"]
    assert rows[-1]["hp.clipping"] is trials[-1].hyperparameters["clipping"]


@pytest.mark.parametrize("form", FORMS)
def test_differing_signs_are_counted_two_by_two(form):
    """Training by training; not of a fifth arm, of different networks, or if one of the two has no signs."""
    names = ["one", "two", "wide", "narrow", "last"]
    arms = [
        {"name": name, "method": "bop", "space": {"gamma": i / 10}} for i, name in enumerate(names, start=1)
    ]
    arms[3]["proxy"] = {"width": 64}
    study = study_of(arms=arms, runs=2, trials=1)
    spec = from_json(study.spec)

    def signs(*rows):
        steps = range(5, 5 + 5 * len(rows), 5)
        return (Series.of("flip_ratio", [5], [0.5]), Series.of("signs", steps, np.uint8(rows)))

    def of(arm, run, *trainings):
        return trial_of(spec, arm, run, 1, 0.5, series=trainings)

    trials = [
        of("one", 1, signs([0b1000], [0b1111]), (), signs([7])),
        of("two", 1, signs([0b0001], [0b1111]), signs([7]), signs([0])),
        of("one", 2, signs([1])),
        of("wide", 1, signs([1])),
        of("narrow", 1, signs([0])),
        of("last", 1, signs([0])),
    ]
    got = read(study, trials, "differing-signs", form)
    assert got.to_numpy().tolist() == [
        [study.id, "one", "two", 1, 1, *rest] for rest in ([1, 5, 2], [1, 10, 0], [3, 5, 3])
    ]


def test_curves_are_the_centre_of_the_runs():
    study, trials = with_every_outcome()
    found = curves_table(study, trials)
    assert list(found.columns) == CURVE_COLUMNS
    assert [row[:3] for row in found.rows] == [
        (METHODS[0], 1, 1), (METHODS[0], 2, 2), (METHODS[0], 3, 2), (METHODS[1], 1, 1)
    ]  # fmt: skip
    middle = [
        after for curves in of_study(from_json(study.spec), trials).values() for after in centre(curves)
    ]
    for row, after in zip(found.rows, middle, strict=True):
        of = dict(zip(CURVE_COLUMNS, row, strict=True))
        for what, e in (("median", after.median), ("mean", after.mean), ("iqm", after.iqm)):
            assert [of[f"{what}{end}"] for end in ("", "_low", "_high", "_level")] == [
                e.value,
                e.low,
                e.high,
                e.level,
            ]


def test_curves_of_a_whole_study():
    study, trials = figure8_like(runs=8, trials=6)
    got = read(study, trials, "curves", "csv")
    best = curves_of("latent-sgd", trials, (8, 6), "maximize").best
    ours = got[got.arm == "latent-sgd"]
    assert ours.trial.tolist() == [1, 2, 3, 4, 5, 6]
    assert set(ours.n) == {8}
    np.testing.assert_array_equal(ours["median"], np.median(best, axis=0))
    np.testing.assert_array_equal(ours["median_low"], np.sort(best, axis=0)[0])
    np.testing.assert_allclose(ours["median_level"], 1 - 2 / 2**8, rtol=1e-14)
    np.testing.assert_allclose(ours["mean"], best.mean(axis=0), rtol=1e-15)


@pytest.mark.parametrize("kept", [0, 1, 20])
def test_types_do_not_hang_on_what_is_there(kept):
    study, trials = figure8_like(runs=4, trials=6)
    some = sorted(trials, key=lambda t: (t.trial, t.run))[:kept]
    for name in TABLES:
        schemas = [
            pyarrow.parquet.read_schema(io.BytesIO(table(study, its, name, "parquet")))
            for its in (some, trials)
        ]
        assert schemas[0].equals(schemas[1])
    schema = pyarrow.parquet.read_schema(io.BytesIO(table(study, some, "curves", "parquet")))
    types = dict(zip(schema.names, map(str, schema.types), strict=True))
    assert types["n"] == "int64"
    assert types["mean_high"] == "double"
    types = trials_table(study, some).columns
    assert (types["hp.alpha"], types["hp.clipping"], types["run"]) == ("number", "boolean", "integer")
    assert len(read(study, some, "trials", "csv")) == kept


def test_every_kind_of_hyperparameter(monkeypatch):
    space = {"depth": Int(1, 9), "rule": Choice(("a", "b")), "rate": Fixed(1), "size": Float(0, 1)}
    other = {"rule": Fixed("b"), "rate": Float(0, 2), "depth": Choice((2, 4)), "size": Fixed(0.5)}
    for name, valid in (("depth", Interval(1, 9)), ("rule", Options(("a", "b"))), ("rate", Interval(0, 2)),
                        ("size", Interval(0, 1))):  # fmt: skip
        monkeypatch.setitem(VALID, name, valid)
    for name, its in (("one", space), ("two", other)):
        monkeypatch.setitem(METHOD_TABLE, name, Method("gradient-filter", its, "", ""))
    study = study_of(["one", "two"], runs=1, trials=1)
    trials = trials_of(study, {"one": [[0.5]], "two": [[0.5]]})
    found = pd.read_parquet(io.BytesIO(table(study, trials, "trials", "parquet")))
    values = {name: found[f"hp.{name}"].tolist() for name in space}
    assert values == {"depth": [5, 4], "rule": ["b", "b"], "rate": [1.0, 1.0], "size": [0.5, 0.5]}
    assert [str(found[f"hp.{name}"].dtype) for name in ("depth", "rate")] == ["int64", "float64"]
    assert b",5,b,1.0,0.5\n" in table(study, trials, "trials", "csv")


def test_one_method_alone_has_its_own_columns():
    study, trials = figure8_like(runs=2, trials=2, methods=METHODS[:1])
    assert [c for c in trials_table(study, trials).columns if c.startswith("hp.")] == ["hp.alpha", "hp.gamma"]
    assert {row[0] for row in curves_table(study, trials).rows} == {METHODS[0]}


@pytest.mark.parametrize("begin", list("=+-@\t\r\n"))
def test_no_cell_can_be_taken_for_a_formula(begin):
    """Users give the names of studies, with which their ids begin, and of arms, and the texts on papers; all other text
    is ours."""
    study, trials = with_every_outcome()
    kinds = trials_table(study, trials).columns | curves_table(study, trials).columns
    assert {name for name, kind in kinds.items() if kind == "text"} == {
        "study",
        "arm",
        "method",
        "state",
        "taken_from",
    }
    with pytest.raises(ValidationError, match="name"):
        StudySpec.model_validate(study.spec | {"name": f"{begin}cmd"})
    with pytest.raises(ValidationError, match="name"):
        StudySpec.model_validate(study.spec | {"arms": [{"name": f"{begin}cmd", "method": "bop"}]})
    kinds = published_table(study, trials).columns
    assert {name for name, kind in kinds.items() if kind == "text"} == {"name", "arm", "source"}
    for text in ("name", "source"):
        row = {"name": "a", "test": 0.9, "source": "b", text: f"{begin}cmd"}
        with pytest.raises(ValidationError, match=text):
            StudySpec.model_validate(study.spec | {"published": [row]})
    assert not any(str(name).startswith(begin) for name in (*METHOD_TABLE, *VALID, *TrialState))


def test_tables_and_forms_are_called_what_they_are_asked_for_by():
    assert (tuple(TABLES), tuple(FORMS)) == (TABLE_NAMES, FORM_NAMES)


def test_another_table_or_form_is_refused():
    study, trials = figure8_like(runs=1, trials=1)
    with pytest.raises(StudyError, match="unknown table 'steps'; known are trials, curves"):
        table(study, trials, "steps", "csv")
    with pytest.raises(StudyError, match="unknown form 'xlsx'; known are csv, parquet, json"):
        table(study, trials, "trials", "xlsx")
