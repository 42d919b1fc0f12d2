"""The contract of the store, over both databases: studies and trials."""

import dataclasses
import math
import pickle
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, update
from sqlalchemy.dialects import sqlite
from writers import START, created, spec, stored, trial

from service.database.columns import Array
from service.database.engine import writing
from service.database.lease import Lease
from service.database.owner import Owner
from service.database.store import Store
from service.database.tables import epochs, studies, trials
from service.errors import StoreError
from service.records import EventKind
from studies.analysis.recorded import counted_signs
from studies.design.spec import from_json
from studies.records import ConfirmationRecord, RepeatRecord, Series, StudyState, TrialRecord, TrialState
from trainers.tasks import Proxy

PROVENANCE = {
    "commit": "0f3c",
    "threads": 2,
    "note": "Ångström 测试 🙂",
    "nested": {"a": [1, 2.5, None, True]},
}


def same(a: object, b: object) -> bool:
    """Return whether two values are equal in value and type; NaN equals NaN."""
    if dataclasses.is_dataclass(a) and type(a) is type(b):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return type(a) is type(b) and a == b


# creating and finding studies


def test_a_study_comes_back_as_it_went_in(store: Store) -> None:
    created = store.create_study(spec(seed=2**63 - 1), PROVENANCE)
    assert created == store.study(created.id)
    assert (created.id, created.name) == (spec(seed=2**63 - 1).study_id, "a-study")
    assert created.state is StudyState.QUEUED
    assert same(created.spec, spec(seed=2**63 - 1).to_json())
    assert same(created.provenance, PROVENANCE)
    assert datetime.now(UTC) - created.created_at < timedelta(minutes=5)
    assert created.created_at.utcoffset() == timedelta(0)
    assert (created.started_at, created.finished_at, created.error) == (None, None, None)


def test_a_study_gets_the_present_time(store: Store) -> None:
    created = store.create_study(spec(), {}).created_at
    assert abs(datetime.now(UTC) - created) < timedelta(seconds=30)


def test_creating_a_study_again_leaves_it_as_it_is(store: Store, engine: Engine) -> None:
    first = store.create_study(spec(), PROVENANCE)
    assert store.create_study(spec(), {"commit": "another"}) == first
    assert stored(engine, studies) == 1


def test_an_id_shared_with_another_spec_is_refused(store: Store, engine: Engine) -> None:
    study = store.create_study(spec(), PROVENANCE)
    with writing(engine) as connection:
        connection.execute(update(studies).values(spec=spec(seed=1).to_json()))
    with pytest.raises(StoreError, match=f"{study.id} is stored with another spec"):
        store.create_study(spec(), PROVENANCE)


def test_what_was_published_is_as_it_was_stated_last(store: Store, engine: Engine) -> None:
    """It is stored with the spec, but not part of its id. It becomes an edit event, so that analyses are renewed."""
    first = store.create_study(spec(), PROVENANCE)
    stated: dict[str, Any] = {"test": 0.9, "source": "Quist 2023, Table 2"}
    arms = [{**arm, "published": stated} if i == 0 else arm for i, arm in enumerate(first.spec["arms"])]
    after = from_json({**first.spec, "arms": arms, "published": [{"name": "DSQ", **stated}]})
    found = store.create_study(after, {"commit": "another"}, actor="maria")
    assert found == store.study_by_id(first.id)
    assert (found.id, found.provenance, found.spec) == (first.id, PROVENANCE, after.to_json())
    assert found.last_event == first.last_event + 1
    told = store.events(first.id, after=first.last_event, limit=9)[0]
    assert (told.kind, told.actor) == (EventKind.EDIT, "maria")
    assert told.data == {"published": [after.arms[0].name, "DSQ"]}
    assert store.create_study(after, {}) == found, "said again it changes nothing"
    assert store.create_study(from_json(first.spec), {}) == found, (
        "a file that says nothing takes nothing back"
    )
    assert stored(engine, studies) == 1


def test_studies_are_listed_newest_first(store: Store) -> None:
    assert store.studies() == []
    for day, name in enumerate(("older", "newest", "oldest")):
        created(store, spec(name), START + timedelta(days=(1, 2, 0)[day]))
    assert [study.name for study in store.studies()] == ["newest", "older", "oldest"]


def test_a_study_is_found_by_id_name_or_unique_prefix(store: Store) -> None:
    one, two = store.create_study(spec("wide"), {}), store.create_study(spec("wide-net"), {})
    assert store.study(two.id) == two
    assert store.study("wide") == one  # a name before a prefix
    assert store.study("wide-n") == two
    assert store.study(one.id[:-1]) == one


def test_an_ambiguous_study_names_those_it_fits(store: Store) -> None:
    one, two = store.create_study(spec("wide"), {}), store.create_study(spec("wide", seed=1), {})
    for key in ("wide", "wi", ""):
        with pytest.raises(StoreError) as caught:
            store.study(key)
        assert one.id in str(caught.value)
        assert two.id in str(caught.value)


@pytest.mark.parametrize("key", ["no", "a%", "A-STUDY", "a-study\0", "\udcff", "'; DROP TABLE studies; --"])
def test_an_unknown_study_names_what_there_is(store: Store, key: str) -> None:
    with pytest.raises(StoreError, match="there are no studies yet"):
        store.study(key)
    study = store.create_study(spec(), {})
    with pytest.raises(StoreError, match=f"no study .*; the studies are {study.id}"):
        store.study(key)


# trials


def test_every_field_of_a_trial_comes_back_as_it_went_in(store: Store, lease: Lease) -> None:
    odd = trial(
        lease.study,
        state=TrialState.DIVERGED,
        hyperparameters={"z": 0.1 + 0.2, "alpha": 5e-324, "big": 1.7976931348623157e308, "n": 2**63 - 1}
        | {"whole": 1.0, "minus": -0.0, "yes": True, "no": False, "one": 1, "word": 'naïve 测试 🙂 " \\ \n'},
        source="modèle",
        seed=2**63 - 1,
        objective=-math.inf,
        test_metric=math.nan,
        suggest_seconds=1e-9,
        attempts=3,
        error="Traceback:\n  'é' % \\x00 🙂",
        started_at=datetime(2025, 3, 30, 2, 30, 0, 1, tzinfo=timezone(timedelta(hours=-11, minutes=-30))),
    )
    losses = (math.nan, math.inf, -math.inf, 5e-324)
    odd = dataclasses.replace(
        odd,
        epochs=tuple(
            dataclasses.replace(odd.epochs[0], epoch=n, train_loss=loss, diverged=n > 1)
            for n, loss in enumerate(losses, start=1)
        ),
    )
    store.record(lease, odd)
    (stored,) = store.trials(lease.study, with_epochs=True)
    assert stored.started_at == odd.started_at
    assert stored.started_at.utcoffset() == timedelta(0)
    assert same(stored, dataclasses.replace(odd, started_at=stored.started_at))
    assert str(stored.hyperparameters["minus"]) == "-0.0"


def test_series_come_back_as_they_went_in_and_with_what_is_taken_over(store: Store, lease: Lease) -> None:
    signs = np.random.default_rng(0).integers(0, 256, (5, 40), np.uint8)
    images = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(1, 2, 3, 4, 4)
    first = (
        Series.of("z", [2, 2**40], [math.nan, -math.inf]),
        Series.of("signs", range(5), signs),
        Series.of("a[1,2].gradient", [1], [5e-324]),
        Series.of("noisy", [9], images),
    )
    second = (Series.of("z", [1], [0.5]),)
    result = dataclasses.replace(trial(lease.study).epochs[0], train_metric=0.75, latent_test_metric=math.nan)
    one = trial(lease.study, series=(first, second), address="x", epochs=(result,))
    store.record(lease, one)
    store.record(lease, trial(lease.study, number=2))
    store.record(lease, trial(lease.study, number=3, series=((), second)))
    stored = store.trials(lease.study, with_epochs=True, with_series=True)
    assert [each.series for each in stored] == [one.series, (), ((), second)]
    assert repr(stored[0].epochs) == repr(one.epochs)
    assert store.series(lease.study, one.arm, 1, 1) == one.series
    assert store.series(lease.study, one.arm, 1, 2) == ()
    assert all(each.series == () for each in store.trials(lease.study, with_epochs=True))
    found = store.at(["x"])["x"]
    assert isinstance(found, TrialRecord)
    assert found.series == one.series
    assert pickle.loads(pickle.dumps(found.series)) == one.series


def test_the_signs_of_a_study_are_unpacked_when_they_are_looked_at(store: Store, lease: Lease) -> None:
    """They are not kept: of twelve trials with 4 MiB each, at most two are in memory at once."""
    signs = np.zeros((64, 2**16), np.uint8)
    signs[1:, 0] = 1
    for run in (1, 2):
        for number in (1, 2, 3):
            for method in ("gradient-filter", "latent-sgd"):
                own = (Series.of("signs", range(64), signs ^ np.uint8(method == "latent-sgd")),)
                store.record(lease, trial(lease.study, method, run, number, series=(own,)))
    tracemalloc.start()
    try:
        trials = store.trials(lease.study, with_series=True)
        counted = [each.counts[0] for each in counted_signs(trials, "gradient-filter", "latent-sgd")]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert counted == [2**16] * 6
    assert most < 6 * signs.nbytes


def test_signs_that_hardly_change_take_little_room() -> None:
    """There are a thousand rows of eight thousand signs; one sign in a thousand changes from row to row."""
    draws = np.random.default_rng(0)
    rows = np.cumsum(draws.random((1000, 8000)) < 1e-3, axis=0) % 2
    signs = np.packbits(rows ^ draws.integers(0, 2, 8000), axis=1)
    kept = Array().process_bind_param(signs, sqlite.dialect())
    assert kept is not None
    assert len(kept) < signs.nbytes / 25
    back = Array().process_result_value(kept, sqlite.dialect())
    assert np.array_equal(back, signs)


@given(
    value=st.floats(allow_nan=False, allow_infinity=False),
    number=st.floats(),
    whole=st.integers(-(2**63), 2**63 - 1),
    word=st.text(st.characters(exclude_categories=["Cs"])),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_number_and_any_text_come_back(
    store: Store, lease: Lease, value: float, number: float, whole: int, word: str
) -> None:
    n = len(store.trials(lease.study)) + 1
    kept = trial(
        lease.study,
        number=n,
        hyperparameters={"value": value, "whole": whole, word: word.replace("\0", "")},
        seed=whole,
        test_metric=number,
        train_seconds=number,
        error=word,
    )
    kept = dataclasses.replace(
        kept, hyperparameters={k.replace("\0", ""): v for k, v in kept.hyperparameters.items()}
    )
    store.record(lease, kept)
    stored = store.trials(lease.study)[-1]
    assert same(stored, dataclasses.replace(kept, epochs=(), error=word.replace("\0", "?")))


def test_seconds_that_are_no_number_do_not_spoil_their_sum(store: Store, lease: Lease) -> None:
    for number, seconds in enumerate((2.0, math.inf, -math.inf, math.nan, 1e308, 1e308, -1.0, 3.0), start=1):
        store.record(lease, trial(lease.study, number=number, train_seconds=seconds))
    study = store.study_by_id(lease.study)
    assert (study.train_seconds, study.completed) == (5.0, 8)


def test_an_error_with_unprintable_bytes_does_not_lose_the_trial(store: Store, lease: Lease) -> None:
    store.record(lease, failed(lease.study, 1, error="killed \0 \udcff"))
    assert store.trials(lease.study)[0].error == "killed ? ?"


def failed(study: str, number: int, **changes: Any) -> TrialRecord:
    return trial(
        study, number=number, **{"state": TrialState.FAILED, "objective": None, "epochs": ()} | changes
    )


def test_trials_come_in_order_and_by_method(store: Store, lease: Lease) -> None:
    for method, run, number in [("latent-sgd", 1, 1), ("gradient-filter", 2, 1), ("gradient-filter", 1, 1)]:
        store.record(lease, trial(lease.study, method, run, number))
        store.record(lease, trial(lease.study, method, run, number + 1))
    keys = [(t.arm, t.run, t.trial) for t in store.trials(lease.study)]
    assert keys == [
        (m, r, n)
        for m, r in [("gradient-filter", 1), ("gradient-filter", 2), ("latent-sgd", 1)]
        for n in (1, 2)
    ]
    assert [t.run for t in store.trials(lease.study, "latent-sgd")] == [1, 1]
    assert store.trials("another") == []
    assert store.study(lease.study).trials == 6


def test_epochs_come_only_when_asked_for_and_in_three_queries(
    store: Store, lease: Lease, engine: Engine
) -> None:
    for number in range(1, 6):
        store.record(lease, trial(lease.study, number=number))
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    assert [t.epochs for t in store.trials(lease.study)] == [()] * 5
    statements.clear()
    assert store.trials(lease.study, with_epochs=True)[4] == trial(lease.study, number=5)
    assert len([s for s in statements if s.startswith("SELECT")]) == 3


def test_the_trainings_of_a_trial_come_back_with_it(store: Store, lease: Lease) -> None:
    each = (
        RepeatRecord(state=TrialState.COMPLETED, seed=2**63 - 1, objective=0.5, test_metric=math.inf),
        RepeatRecord(state=TrialState.DIVERGED, seed=8, objective=0.0, test_metric=0.0),
    )
    made = [trial(lease.study), trial(lease.study, number=2, objective=0.75, repeats=each)]
    for one in made:
        store.record(lease, one)
    assert store.trials(lease.study, with_epochs=True) == made
    assert store.trial(lease.study, "gradient-filter", 1, 2) == made[1]
    assert [found.repeats for found, _ in store.trials_page(lease.study)] == [(), each]
    assert store.incumbents(lease.study, maximize=True)["gradient-filter"].repeats == each


def test_what_a_trial_costs_is_known_by_its_trainings(store: Store) -> None:
    for repeats in (1, 3):
        study = store.create_study(spec(repeats=repeats), {})
        one = store.claim(study.id, Owner.current(), 60)
        store.record(one, trial(study.id, suggest_seconds=0.5, train_seconds=2.0 * repeats))
    assert store.seconds_per_trial("spoken-digits") == (2, 0.5, 2.0)


def test_what_a_proxy_costs_is_known_by_trials_of_the_same(store: Store) -> None:
    """Proxies may have fields with words, and batch sizes that are an arm's."""

    def tried(name: str, seconds: float, **changes: Any) -> None:
        one = store.claim(store.create_study(spec(name, **changes), {}).id, Owner.current(), 60)
        store.record(one, trial(one.study, suggest_seconds=0.5, train_seconds=seconds))

    by_sgd = Proxy(first_step=1, first_step_optimizer="sgd")
    tried("plain", 1.0)
    tried("words", 2.0, proxy=by_sgd.changes)
    for name, seconds, size in (("fixed", 3.0, 20), ("searched", 4.0, [20, 50])):
        filter_ = {"name": "gradient-filter", "space": {"batch_size": size}}
        tried(name, seconds, methods=[filter_])
    assert store.seconds_per_trial("spoken-digits") == (1, 0.5, 1.0)
    assert store.seconds_per_trial("spoken-digits", by_sgd) == (1, 0.5, 2.0)
    assert store.seconds_per_trial("spoken-digits", Proxy(batch_size=20)) == (1, 0.5, 3.0)
    assert store.seconds_per_trial("spoken-digits", Proxy(without="scale")) is None


def test_what_another_study_has_trained_is_found_and_costs_nothing(store: Store, lease: Lease) -> None:
    each = (RepeatRecord(state=TrialState.COMPLETED, seed=8, objective=0.5, test_metric=0.5),) * 2
    first = trial(lease.study, address="a", repeats=each)
    failed = {"state": TrialState.FAILED, "objective": None, "error": "no", "epochs": (), "address": "b"}
    store.record(lease, first)
    store.record(lease, trial(lease.study, number=2, **failed))
    store.record(lease, trial(lease.study, number=3))
    fresh = ConfirmationRecord(
        study=lease.study, arm="gradient-filter", run=1, trial=1, number=1, state=TrialState.COMPLETED,
        seed=1, objective=0.5, test_metric=0.5, train_seconds=0.1, attempts=1, error=None,
        started_at=START, finished_at=START, address="c",
    )  # fmt: skip
    store.confirm(lease, fresh)
    before = store.seconds_per_trial("spoken-digits")
    other = store.claim(store.create_study(spec("other"), {}).id, Owner.current(), 60)
    mine = dataclasses.replace(first, study=other.study, taken_from=f"{lease.study}/gradient-filter-r01-t01")
    store.record(other, mine)
    assert store.at(["a", "b", "c", "d"]) == {"a": first, "c": fresh}
    assert store.at(["a"], with_epochs=False) == {"a": dataclasses.replace(first, epochs=())}
    assert store.trials(other.study, with_epochs=True) == [mine]
    found = store.study(other.study)
    assert (found.completed, found.taken_over, found.suggest_seconds, found.train_seconds) == (1, 1, 0.0, 0.0)
    assert store.seconds_per_trial("spoken-digits") == before
    assert store.totals().taken_over == 1
    assert len(store.at([str(i) for i in range(1200)] + ["a"])) == 1


def test_the_machines_of_a_task_are_those_of_its_last_studies(store: Store, lease: Lease) -> None:
    store.ran_on(lease, {"commit": "first"})
    store.ran_on(lease, {"commit": "another"})
    store.create_study(spec("queued"), {"commit": "never"})
    assert [(id, on["commit"]) for id, on in store.machines("spoken-digits")] == [
        (lease.study, "another"),
        (lease.study, "first"),
    ]
    assert store.machines("fsdd") == []


def test_a_trial_out_of_turn_is_refused_and_changes_nothing(
    store: Store, lease: Lease, engine: Engine
) -> None:
    store.record(lease, trial(lease.study))
    with pytest.raises(StoreError, match=r"trial 1 of gradient-filter run 1 .* is recorded already"):
        store.record(lease, trial(lease.study, objective=0.9))
    with pytest.raises(StoreError, match="cannot be recorded before trial 2"):
        store.record(lease, trial(lease.study, number=3))
    assert store.trials(lease.study, with_epochs=True) == [trial(lease.study)]
    assert stored(engine, epochs) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": math.nan},
        {"objective": None},
        {"state": TrialState.FAILED},
        {"epochs": trial("s").epochs[:1] * 2},
    ],
)
def test_what_no_trial_can_be_is_refused_and_changes_nothing(
    store: Store, lease: Lease, engine: Engine, changes: dict[str, Any]
) -> None:
    with pytest.raises(StoreError, match=r"trial 1 .* is refused by the database"):
        store.record(lease, trial(lease.study, **changes))
    assert (stored(engine, trials), stored(engine, epochs)) == (0, 0)


def test_a_time_without_a_zone_is_refused(store: Store, lease: Lease, engine: Engine) -> None:
    with pytest.raises(Exception, match="needs a time zone"):
        store.record(lease, trial(lease.study, started_at=START.replace(tzinfo=None)))
    assert stored(engine, trials) == 0


def test_what_a_study_runs_on_is_noted_once(store: Store, lease: Lease) -> None:
    first, other = {"commit": "first"}, {"commit": "another"}
    for _ in range(2):  # it was stored without provenance, as by the service
        store.ran_on(lease, first)
        assert store.study(lease.study).provenance == first
    for _ in range(2):
        store.ran_on(lease, other)
        assert store.study(lease.study).provenance == first | {"continued": [other]}
    store.ran_on(lease, first)
    assert store.study(lease.study).provenance == first | {"continued": [other]}
