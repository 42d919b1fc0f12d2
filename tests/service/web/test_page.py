"""The page in Chromium, with the service as a process and a SQLite database."""

import math
import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import PHONE, Watched, Window, alone, chromium
from nginx import nginx
from served import Served
from showcase import confirmations, finished, underway
from writers import spec, trial

from service.database import tokens
from service.database.engine import connect, upgrade
from service.database.lease import Lease
from service.database.owner import Owner
from service.database.store import Store
from service.database.tokens import Scope
from studies.records import RepeatRecord, Request, Series, StudyState, TrialState
from trainers.optimizers import OPTIMIZERS

pytestmark = pytest.mark.browser
SMALL = {"runs": 3, "trials": 6}
ALL = 36  # trials of a small study
MARKUP = "<img src=x onerror=window.taken=1><b>bold</b>"
names = (f"study-{i}" for i in count(1))
# by arm, the mark and the values of the mean in the figure's lower panel
BELOW = """() => Object.fromEntries((document.getElementById("chart").data ?? [])
  .filter((trace) => trace.customdata?.[0]?.what === "confirmed")
  .map((trace) => [trace.customdata[0].name, [trace.marker.symbol, trace.y.filter((y) => y !== null)]]))"""
# table heads without a word, and landmarks without a name where several have the same role
UNNAMED = """[
  ...[...document.querySelectorAll("thead th")].filter((head) => !head.textContent.trim())
    .map((head) => head.outerHTML),
  ...["nav", "[role=region]"].flatMap((kind) =>
    [...document.querySelectorAll(kind)].filter((each) => !each.ariaLabel && !each.getAttribute("aria-labelledby"))
    .map((each) => each.outerHTML.slice(0, 90))),
]"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('page') / 'study.db'}"


@pytest.fixture(scope="module")
def store(url: str) -> Iterator[Store]:
    engine = connect(url)
    upgrade(engine)
    yield Store(engine)
    engine.dispose()


@pytest.fixture(scope="module")
def served(url: str, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(url, tmp_path_factory.mktemp("data")) as found:
        yield found


@pytest.fixture(scope="module")
def done(store: Store) -> str:
    """A completed study of 36 trials, some diverged and some failed."""
    return finished(store, spec("done", **SMALL), seed=23)


@pytest.fixture(scope="module")
def crowd(store: Store) -> str:
    """A completed study of all methods on a proxy; the forest has a tick at the very end of its axis."""
    proxy = {"epochs": 5, "train_fraction": 0.1, "width": 16}
    methods = list(OPTIMIZERS)
    return finished(store, spec("crowd", methods=methods, runs=1, trials=1, proxy=proxy), seed=0)


@pytest.fixture(scope="module")
def window(browser: Any, served: Served) -> Iterator[Window]:
    with closing(Window(browser, served.url)) as found:
        yield found


@pytest.fixture(scope="module")
def phone_window(browser: Any, served: Served) -> Iterator[Window]:
    with closing(Window(browser, served.url, **PHONE)) as found:
        yield found


@pytest.fixture
def watched(window: Window) -> Iterator[Watched]:
    with window.tab() as found:
        yield found
    assert not found.faults
    assert not found.elsewhere


@pytest.fixture
def phone(phone_window: Window) -> Iterator[Watched]:
    with phone_window.tab() as found:
        yield found


@pytest.fixture
def forgiving(watched: Watched) -> Iterator[Watched]:
    """A page where the browser may report refused or broken requests, and nothing else."""
    yield watched
    assert all("Failed to load resource" in fault for fault in watched.faults), watched.faults
    watched.faults.clear()


@pytest.fixture
def page(watched: Watched) -> Any:
    return watched.page


def running(store: Store, trials: int) -> tuple[Lease, Iterator[Any]]:
    return underway(store, spec(next(names), **SMALL), trials)


def table_of(page: Any) -> list[str]:
    return [row.split("\t")[0].strip() for row in page.locator("#trial-table tbody tr").all_inner_texts()]


def test_the_list_shows_studies_and_follows_them(page: Any, store: Store, done: str) -> None:
    page.goto("/")
    row = page.locator(f"[data-study={done}]")
    for text in ("completed", "36 of 36", "spoken-digits", "gradient-filter", "latent-sgd", "local"):
        row.get_by_text(text).first.wait_for()
    study = store.create_study(spec(next(names)), {}, labels=["new"], priority=7, actor="ada").id
    new = page.locator(f"[data-study={study}]")
    new.wait_for()
    for text in ("queued", "new", "7", "ada", "0 of 12"):
        new.get_by_text(text, exact=True).wait_for()
    page.evaluate(f"window.before = document.querySelector('[data-study={study}]')")
    store.ask(study, Request.PAUSE, actor="ada")
    new.get_by_text("paused").wait_for()
    assert page.evaluate(f"window.before === document.querySelector('[data-study={study}]')"), (
        "made anew: it flickers"
    )


def test_the_list_is_filtered_and_the_filter_is_in_the_address(page: Any, store: Store, done: str) -> None:
    study = store.create_study(spec(next(names)), {}, labels=["only-this"]).id
    page.goto("/")
    page.locator(f"[data-study={study}]").wait_for()
    page.get_by_role("checkbox", name="completed").check()
    page.locator(f"[data-study={study}]").wait_for(state="detached")
    assert page.locator(f"[data-study={done}]").is_visible()
    page.get_by_role("button", name="Clear").click()
    page.locator(f"[data-study={study}] .label").click()
    page.locator(f"[data-study={done}]").wait_for(state="detached")
    assert page.url.endswith("/?label=only-this")
    page.reload()
    page.locator(f"[data-study={study}]").wait_for()
    assert not page.locator(f"[data-study={done}]").is_visible()
    page.get_by_role("checkbox", name="failed").check()
    page.get_by_text("No matching study").wait_for()


def test_the_list_comes_in_parts(browser: Any, tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'many.db'}")
    upgrade(engine)
    store = Store(engine)
    with Served(str(engine.url), tmp_path) as served, alone(browser, served.url) as watched:
        watched.page.goto("/")
        watched.page.get_by_text("No studies yet").wait_for()
        assert f"--watch --url {served.url}\n" in watched.page.locator("#none").inner_text()
        assert f"curl -X POST {served.url}/v1/studies" in watched.page.locator("#none").inner_text()
        for i in range(53):
            store.create_study(spec(f"one-of-many-{i}"), {})
        watched.page.locator("[data-study^=one-of-many-52-]").wait_for()
        assert watched.page.locator("#studies tbody tr").count() == 50
        watched.page.get_by_role("button", name="Older").click()
        watched.page.locator("[data-study^=one-of-many-0-]").wait_for()
        assert watched.page.locator("#studies tbody tr").count() == 3
        watched.page.get_by_role("button", name="Newer").click()
        watched.page.locator("[data-study^=one-of-many-52-]").wait_for()
        assert not watched.faults
    engine.dispose()


def test_a_study_shows_all_there_is(forgiving: Watched, done: str) -> None:
    watched, page = forgiving, forgiving.page
    page.goto(f"/studies/{done}")
    watched.wait_for_trials(ALL)
    assert watched.marks() >= ALL
    page.locator("#endpoints table").first.wait_for()
    assert (
        page.locator("#summary")
        .inner_text()
        .startswith("Gradient filter (2 hyperparameters) and latent SGD (6")
    )
    assert "no test can tell two arms apart" in page.locator("#verdict").inner_text()
    assert page.locator("#glance tbody tr").count() == 2
    assert page.locator("#summary p").count() > 3
    assert " × RuntimeError: CUDA error: out of memory" in page.locator("#readings").inner_text()
    assert page.locator("#readings .given code").count() == 2 + 6
    assert page.evaluate(UNNAMED) == []
    assert page.locator("#endpoints table").count() == 4
    assert page.locator(".forest").count() == 2
    assert "gradient filter" in page.locator("#readings").inner_text()
    assert page.locator(".parallel").count() == 2
    assert "values searched for gamma" in page.locator("#audit").inner_text()
    assert "commit" in page.locator("#origin").inner_text()
    assert '"name": "latent-sgd"' in page.locator("#spec").inner_text()
    assert "36 trials" in page.locator("#trials-note").inner_text()
    page.locator("#events summary").click()
    page.get_by_text("and 36 finished trials").wait_for()
    assert "queued → running" in page.locator("#events").inner_text()
    page.locator("#output summary").click()
    page.get_by_text("no service has started it").wait_for()


def test_numbers_are_rounded_as_in_the_report(page: Any) -> None:
    """Medians of an even number of runs lie exactly between two numbers, where JavaScript rounds up."""
    numbers = [n / 8 for n in range(-40, 41)] + [0.15, 0.35, 1.005, 47.25, 99.95, 1e-9, -0.04]
    page.goto("/")
    shown = page.evaluate(
        "async (xs) => { const script = document.querySelector('script[type=module]');"
        " const { rounded } = await import(new URL('format.js', script.src));"
        " return xs.flatMap((x) => [0, 1, 2].map((n) => rounded(x, n))); }",
        numbers,
    )
    percent = page.evaluate(
        "async (xs) => { const script = document.querySelector('script[type=module]');"
        " const { percent } = await import(new URL('format.js', script.src)); return xs.map(percent); }",
        [0.125, -0.001, -0.3, 1],
    )
    assert percent == ["12%", "0%", "−30%", "100%"]
    # a zero loses its sign where it is shown
    assert [text.lstrip("-") if float(text) == 0 else text for text in shown] == [
        text.lstrip("-") if float(text) == 0 else text
        for x in numbers
        for text in (f"{x:.0f}", f"{x:.1f}", f"{x:.2f}")
    ]


def test_exports_are_there(page: Any, done: str) -> None:
    page.goto(f"/studies/{done}")
    links = page.locator("#exports a").evaluate_all("links => links.map((link) => link.href)")
    assert len(links) == 3 + 8 * 3 + 1  # kinds of the figure, tables in each form, the whole
    for link in links:
        assert page.request.get(link).ok, link


def test_what_was_published_is_beside_ours_and_marked_as_theirs(watched: Watched, store: Store) -> None:
    """Before any trial is done, with ours as they come, and after the published values are stated again."""
    source = "Quist 2023, Table 2"
    arms = [
        {"name": "gradient-filter", "published": {"test": 0.865, "source": source}},
        {"name": "latent-sgd", "published": {"test": 0.8435, "sd": 0.003, "source": source}},
    ]
    rows = [{"name": "IR-Net (Qin et al., 2020)", "test": 0.9, "source": source}]
    name = next(names)
    study = store.create_study(spec(name, arms=arms, published=rows, runs=1, trials=1), {}).id
    page = watched.page
    page.goto(f"/studies/{study}")
    cells = page.locator("#endpoints table").first.locator("tr")
    page.get_by_text("Published, not ours").wait_for()
    assert [row.split("\t") for row in cells.all_inner_texts()] == [
        ["Method", "Published, not ours", "Ours, mean", "Published by"],
        ["gradient filter", "86.5%", "–", source],
        ["latent SGD", "84.35% ± 0.3", "–", source],
        ["IR-Net (Qin et al., 2020)", "90.0%", "–", source],
    ]
    lease = store.claim(study, Owner.current(), 60)
    for method in ("gradient-filter", "latent-sgd"):
        store.record(lease, trial(study, method, objective=0.5, test_metric=0.4125))
    store.finish(lease, StudyState.COMPLETED)
    for i in (1, 2):
        cells.nth(i).get_by_role("cell", name="41.2%").wait_for()
    assert cells.nth(1).inner_text().split("\t")[1] == "86.5%"
    assert cells.nth(3).inner_text().split("\t")[1:3] == ["90.0%", "–"]
    rows = [{**rows[0], "test": 0.91}]
    store.create_study(spec(name, arms=arms, published=rows, runs=1, trials=1), {})
    cells.nth(3).get_by_role("cell", name="91.0%").wait_for()


def test_the_curve_grows_within_a_second_of_the_event(watched: Watched, store: Store) -> None:
    lease, rest = running(store, 8)
    watched.page.goto(f"/studies/{lease.study}")
    watched.wait_for_trials(8)
    watched.page.locator("#live[data-state=live]").wait_for()
    seconds = []
    for done in range(8, 13):
        trial = next(rest)
        before = watched.marks()
        store.record(lease, trial)
        began = time.perf_counter()
        watched.wait_for_marks(before)
        seconds.append(time.perf_counter() - began)
        watched.wait_for_trials(done + 1)
        time.sleep(1.5)  # until the medians have been requested
    assert min(seconds) < 1.0, seconds  # the best of five: other tests may be using the processors
    assert "13 of 36" in watched.page.locator("#facts").inner_text()
    assert watched.page.locator("#trials-note").inner_text() == "13 trials"
    assert watched.page.locator(".space-of").count() == 2


def test_medians_catch_up(watched: Watched, store: Store) -> None:
    lease, rest = running(store, 6)
    watched.page.goto(f"/studies/{lease.study}")
    watched.page.get_by_text("median run after 1").first.wait_for()
    for _ in range(6):
        store.record(lease, next(rest))
    watched.page.get_by_text("median run after 2").nth(1).wait_for()


def test_what_the_incumbents_are_worth_comes_below(watched: Watched, store: Store) -> None:
    control = {"name": "published", "method": "gradient-filter", "space": {"alpha": 1e-3, "gamma": 0.1}}
    tuned = spec(next(names), arms=["gradient-filter", control], confirm={"seeds": 2}, **SMALL)
    lease, rest = underway(store, tuned, ALL)
    assert next(rest, None) is None
    watched.page.goto(f"/studies/{lease.study}")
    watched.wait_for_trials(ALL)
    below = f"({BELOW})()"
    assert watched.page.evaluate(below) == {
        "published": ["triangle-up-open", []],
        "gradient-filter": ["circle", []],
    }
    *confirmed, last = confirmations(tuned, store.trials(lease.study))
    for each in confirmed:
        store.confirm(lease, each)
    watched.page.evaluate("window.before = document.getElementById('chart')")
    store.confirm(lease, last)  # of the last arm: the others are complete already
    store.finish(lease, StudyState.COMPLETED)
    watched.wait_until(f"Object.values({below}).every(([, values]) => values.length === {SMALL['trials']})")
    _, values = watched.page.evaluate(below)["published"]
    assert len(set(values)) == 1  # a control's hyperparameters are the same throughout
    watched.page.locator("#endpoints").get_by_text(
        "The climb from trial 1 to 6, with each incumbent trained again"
    ).first.wait_for()
    assert watched.page.evaluate("window.before === document.getElementById('chart')")


def test_buttons_ask_for_what_they_say(forgiving: Watched, store: Store) -> None:
    page = forgiving.page
    lease, _ = running(store, 2)
    study = lease.study
    page.goto(f"/studies/{study}")
    actions = page.locator("#actions")
    actions.get_by_role("button", name="Pause", exact=True).click()
    page.locator("#state", has_text="pausing").wait_for()
    assert store.study_by_id(study).requested is Request.PAUSE
    actions.get_by_role("button", name="Keep running").click()
    page.locator("#state", has_text="running").wait_for()
    assert store.study_by_id(study).requested is None
    actions.get_by_role("button", name="Pause now").click()
    page.get_by_role("dialog").get_by_role("button", name="Leave it").click()
    assert store.study_by_id(study).requested is None
    actions.get_by_role("button", name="Pause now").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause now").click()
    page.locator("#state", has_text="pausing").wait_for()
    assert store.study_by_id(study).requested is Request.PAUSE_NOW
    store.finish(lease, StudyState.PAUSED)
    page.locator("#state", has_text="paused").wait_for()
    page.locator("#announcements", has_text="The study is paused.").wait_for(state="attached")
    actions.get_by_role("button", name="Resume").click()
    page.locator("#state", has_text="queued").wait_for()
    assert store.study_by_id(study).state is StudyState.QUEUED
    assert not actions.get_by_role("button", name="Delete").is_visible()
    actions.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the study").click()
    page.locator("#state", has_text="cancelled").wait_for()
    assert store.study_by_id(study).state is StudyState.CANCELLED
    actions.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    name = store.study_by_id(study).name
    dialog.get_by_role("heading", name=f"Delete {name}?").wait_for()
    assert "This deletes the study and its 2 trials, and cannot be undone." in dialog.inner_text()
    delete = dialog.get_by_role("button", name="Delete")
    assert delete.is_disabled()
    page.get_by_label("Type").fill(name[:-1])
    page.keyboard.press("Enter")
    assert delete.is_disabled()
    assert study in {record.id for record in store.studies()}
    page.get_by_label("Type").fill(name)
    page.keyboard.press("Enter")
    page.wait_for_url("**/")
    assert study not in {record.id for record in store.studies()}


def test_what_the_service_refuses_is_said(forgiving: Watched, store: Store) -> None:
    page = forgiving.page
    study = store.create_study(spec(next(names)), {}).id
    page.goto(f"/studies/{study}")
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Labels").fill("fine, not fine!")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("dialog").get_by_text("labels.1").wait_for()
    page.get_by_label("Labels").fill("fine, team:edge")
    page.get_by_label("Priority").fill("-3")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("dialog").wait_for(state="hidden")
    record = store.study_by_id(study)
    assert (record.labels, record.priority) == (("fine", "team:edge"), -3)
    page.locator("#facts", has_text="team:edge").wait_for()


def test_the_table_sorts_filters_and_turns(page: Any, store: Store, done: str) -> None:
    trials = store.trials(done)
    page.goto(f"/studies/{done}")
    page.get_by_text("36 trials").wait_for()
    assert len(table_of(page)) == 25
    page.locator("#trial-next").click()
    assert len(table_of(page)) == 11
    head = page.locator("th", has=page.get_by_role("button", name="Validation accuracy"))
    head.get_by_role("button").click()
    best = max(trial.objective for trial in trials if trial.objective is not None)
    assert head.get_attribute("aria-sort") == "descending"
    assert f"{100 * best:.1f}%" in page.locator("#trial-table tbody tr").first.inner_text()
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    page.locator("select[name=arm]").select_option("latent-sgd")
    page.get_by_role("button", name="learning_rate").click()
    ordered = sorted(
        (t for t in trials if t.arm == "latent-sgd"), key=lambda t: t.hyperparameters["learning_rate"]
    )
    assert table_of(page) == [f"latent-sgd-r{t.run:02d}-t{t.trial:02d}" for t in ordered]
    page.locator("select[name=run]").select_option("2")
    assert table_of(page) == [f"latent-sgd-r02-t{t.trial:02d}" for t in ordered if t.run == 2]
    page.get_by_role("checkbox", name="failed").check()
    failed = [t for t in ordered if t.run == 2 and t.state is TrialState.FAILED]
    shown = [f"latent-sgd-r02-t{t.trial:02d}" for t in failed] or ["No matching trial."]
    assert table_of(page) == shown
    page.locator("#trial-clear").click()
    page.get_by_text("36 trials", exact=True).wait_for()


def test_a_trial_shows_its_epochs_or_its_error(forgiving: Watched, store: Store) -> None:
    page = forgiving.page
    study = finished(store, spec(next(names), runs=10, trials=5), seed=3)
    trials = store.trials(study)
    good = next(t for t in trials if t.state is TrialState.COMPLETED)
    bad = next(t for t in trials if t.state is TrialState.FAILED)
    page.goto(f"/studies/{study}#trial={good.arm}-r{good.run:02d}-t{good.trial:02d}")
    dialog = page.get_by_role("dialog")
    dialog.locator(".js-plotly-plot").wait_for()
    text = dialog.inner_text()
    assert str(good.seed) in text, "a seed of 63 bits, digit by digit"
    assert all(name in text for name in good.hyperparameters)
    assert dialog.locator("tbody tr").count() == 10
    dialog.get_by_role("button", name="Next in the table").click()
    dialog.get_by_text(f"{good.arm}-r{good.run:02d}-t{good.trial + 1:02d}").wait_for()
    page.keyboard.press("Escape")
    forgiving.wait_until("location.hash === ''")
    page.get_by_role("checkbox", name="failed").check()
    page.get_by_role("button", name=f"{bad.arm}-r{bad.run:02d}-t{bad.trial:02d}").click()
    dialog.get_by_text("CUDA error: out of memory").wait_for()
    page.keyboard.press("Escape")
    forgiving.wait_until("location.hash === ''")
    page.evaluate("location.hash = '#trial=latent-sgd-r01-t99'")
    dialog.get_by_text("has no finished trial").wait_for()
    page.evaluate(f"location.hash = '#trial={good.arm}-r{good.run:02d}-t{good.trial:02d}'")
    dialog.get_by_text(str(good.seed)).wait_for()
    page.evaluate("location.hash = ''")
    dialog.wait_for(state="hidden")


def test_a_trial_of_several_trainings_that_is_another_studys_says_so(
    page: Any, store: Store, done: str
) -> None:
    lease, rest = underway(store, spec(next(names), repeats=2, **SMALL), 0)
    trial = next(trial for trial in rest if trial.objective)
    repeats = tuple(
        RepeatRecord(state=TrialState.COMPLETED, seed=2**62 + i, objective=0.9 + i / 100, test_metric=0.8)
        for i in range(2)
    )
    origin = f"{done}/gradient-filter-r01-t01"
    store.record(lease, replace(trial, repeats=repeats, taken_from=origin))
    page.goto(f"/studies/{lease.study}")
    page.get_by_text("1 of 36, 1 taken over").wait_for()
    page.get_by_role("button", name=trial.id).first.click()
    dialog = page.get_by_role("dialog")
    for text in ("(90.0%, 91.0%)", "(80.0%, 80.0%)", f"{2**62}, {2**62 + 1}"):
        dialog.get_by_text(text).wait_for()
    dialog.get_by_role("link", name=f"{done}, gradient-filter-r01-t01").click()
    page.wait_for_url(f"**/studies/{done}#trial=gradient-filter-r01-t01")


def test_a_trial_shows_what_was_recorded(page: Any, store: Store) -> None:
    """The page shows one series of the first training at a time, images, and metrics in the table of epochs."""
    record = {"flips": True, "weights": 1, "train_metric": True}
    lease, rest = underway(store, spec(next(names), record=record, **SMALL), 0)
    trial = next(trial for trial in rest if trial.objective)
    steps = range(10, 330, 10)
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 3, 16, 16), np.uint8)
    series = (
        Series.of("flip_ratio", steps, [0.01 / step for step in steps]),
        Series.of("3[84,32].gradient", steps, [math.sin(step) for step in steps]),
        Series.of("recovered", [320], images),
    )
    epochs = tuple(replace(epoch, train_metric=0.9875) for epoch in trial.epochs)
    store.record(lease, replace(trial, series=(series, series[:1]), epochs=epochs))
    page.goto(f"/studies/{lease.study}#trial={trial.id}")
    dialog = page.get_by_role("dialog")
    chart = dialog.get_by_label("What was recorded by step")
    drawn = "chart => chart.data[0].y.slice(0, 2)"
    chart.locator(".plot-container").wait_for()
    assert chart.evaluate(drawn) == [0.001, 0.0005]
    dialog.locator("select").select_option(label="3[84,32].gradient")
    chart.get_by_text("3[84,32].gradient").wait_for()
    assert chart.evaluate(drawn) == [math.sin(10), math.sin(20)]
    assert dialog.locator("select option").count() == 2
    assert dialog.get_by_role("columnheader", name="Training accuracy").count() == 1
    assert dialog.get_by_role("cell", name="98.8%").count() == 10
    canvas = dialog.get_by_role("img", name="Image 3, recovered")
    pixel = "canvas => [...canvas.getContext('2d').getImageData(5, 7, 1, 1).data]"
    assert canvas.evaluate(pixel) == [*images[0, 2, :, 7, 5].tolist(), 255]


def test_differing_signs_are_counted_while_they_come(page: Any, store: Store, done: str) -> None:
    """There is a line for each run, their mean, and the last count in words; nothing if no signs are recorded."""
    arms = ["gradient-filter", "latent-sgd", "bop", "bnew"]
    keys: dict[str, Any] = {"methods": arms, "record": {"signs": True}, "runs": 2, "trials": 1}
    study = store.create_study(spec(next(names), **keys), {}).id
    lease = store.claim(study, Owner.current(), 60)

    def record(method: str, run: int, *rows: int) -> None:
        signs = Series.of("signs", range(5, 5 + 5 * len(rows), 5), np.uint8(rows)[:, None])
        store.record(lease, trial(study, method, run, series=((signs,),)))

    page.goto(f"/studies/{study}")
    section = page.get_by_role("region", name="Differing signs")
    section.get_by_text("No two arms have recorded their signs yet.").wait_for()
    for run, rows in ((1, (1, 3)), (2, (7, 0))):
        record("gradient-filter", run, *rows)
        record("latent-sgd", run, 0, 0)
    section.get_by_text("After step 10: 1 on average over 2 runs, 0 to 2.").wait_for()
    lines = "chart => chart.data.map((trace) => [trace.name, trace.x, trace.y])"
    chart = section.locator("#signs-chart")
    chart.locator(".plot-container").wait_for()
    assert chart.evaluate(lines) == [
        ["run 1", [5, 10], [1, 2]],
        ["run 2", [5, 10], [3, 0]],
        ["mean", [5, 10], [2, 1]],
    ]
    record("bop", 1, 255)
    record("bnew", 1, 0)
    section.locator("select").select_option(label="Bop and BNEW", timeout=60_000)
    section.get_by_text("After step 5: 8 on average over 1 run, 8 in each.").wait_for()
    page.goto(f"/studies/{done}")
    page.locator("#endpoints table").first.wait_for()
    assert not section.is_visible()


@pytest.mark.parametrize(
    ("task", "wanted"), [("imagenet-reactnet-a", ["Validation top-5", "Test top-5"]), ("spoken-digits", [])]
)
def test_a_trial_shows_top5_where_its_task_counts_it(
    page: Any, store: Store, task: str, wanted: list[str]
) -> None:
    study = finished(store, spec(next(names), task=task, runs=1, trials=1), seed=1)
    [trial, *_] = [t for t in store.trials(study) if t.state is TrialState.COMPLETED]
    page.goto(f"/studies/{study}#trial={trial.arm}-r{trial.run:02d}-t{trial.trial:02d}")
    dialog = page.get_by_role("dialog")
    dialog.locator(".js-plotly-plot").wait_for()
    heads = dialog.locator("thead th").all_inner_texts()
    assert heads[2:-3] == ["Validation accuracy", "Test accuracy", *wanted]
    facts = dialog.locator("dl").first.inner_text()
    cells = dict(zip(heads, dialog.locator("tbody tr").last.locator("th, td").all_inner_texts(), strict=True))
    assert ("top-5" in facts) == bool(wanted)
    for name in wanted:
        assert cells[name].endswith("%")
        assert f"{name}\n{cells[name]}" in facts


def test_the_keyboard_reaches_everything(page: Any, done: str) -> None:
    page.goto(f"/studies/{done}")
    page.get_by_text("36 trials").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    seen = set()
    for _ in range(90):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.dataset.sort ?? document.activeElement.textContent"))
    assert {"Studies", "Delete", "Edit", "gradient filter", "whole range", "by rank", "objective"} <= seen
    button = page.locator("[data-sort=objective]")
    button.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Validation accuracy")
    assert page.evaluate("document.activeElement.dataset.sort") == "objective", "the focus stays"
    trial = page.locator("#trial-table tbody button").first
    trial.focus()
    name = trial.inner_text()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("heading", name=name).wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == name
    toggle = page.get_by_role("button", name="latent SGD")
    toggle.focus()
    page.keyboard.press("Space")
    assert toggle.get_attribute("aria-pressed") == "false"


def test_axes_select_trials_by_keyboard_and_pointer(page: Any, store: Store, done: str) -> None:
    page.goto(f"/studies/{done}")
    page.get_by_text("36 trials").wait_for()
    handle = page.get_by_role("slider", name="gamma, from").first
    handle.focus()
    for _ in range(5):
        page.keyboard.press("PageUp")
    assert handle.get_attribute("aria-valuenow") == "50"
    assert handle.get_attribute("aria-valuetext") == "0.0316"
    chosen = [
        t for t in store.trials(done) if t.arm == "gradient-filter" and t.hyperparameters["gamma"] >= 10**-1.5
    ]
    page.get_by_text(f"{len(chosen)} of 36 trials, selected on the axes above").wait_for()
    assert set(table_of(page)) == {f"{t.arm}-r{t.run:02d}-t{t.trial:02d}" for t in chosen}
    page.keyboard.press("Escape")
    page.get_by_text("36 trials", exact=True).wait_for()
    box = page.locator(".axis .track").first.bounding_box()
    page.mouse.move(box["x"] + 13, box["y"] + 1)
    page.mouse.down()
    page.mouse.move(box["x"] + 13, box["y"] + 60, steps=4)
    page.mouse.up()
    page.get_by_text("selected on the axes above").wait_for()
    assert not page.get_by_role("dialog").is_visible(), "a drag opens no trial"


def test_markup_stays_text(forgiving: Watched, store: Store) -> None:
    page = forgiving.page
    lease, _ = running(store, 4)
    store.edit(lease.study, actor=MARKUP, name=MARKUP, labels=[MARKUP])
    store.finish(lease, StudyState.FAILED, error=MARKUP)
    page.goto("/")
    page.locator(f"[data-study={lease.study}]", has_text=MARKUP).first.wait_for()
    page.goto(f"/studies/{lease.study}")
    assert page.locator("h1").inner_text() == MARKUP
    page.locator("#failure", has_text=MARKUP).wait_for()
    page.locator("#facts", has_text=MARKUP).wait_for()
    page.locator("#events summary").click()
    page.locator("#events", has_text=MARKUP).wait_for()
    page.locator("#chart.js-plotly-plot").wait_for()
    assert page.locator("main img").count() == 0
    assert page.evaluate("window.taken") is None
    page.goto(f"/?label={MARKUP}")
    assert page.get_by_label("Label").input_value() == MARKUP
    page.goto("/studies/<img src=x onerror=window.taken=1>")
    assert "There is no such study" in page.locator("h1").inner_text()
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize("address", ["/", "/studies/{done}", "/nothing"])
def test_a_phone_scrolls_one_way(phone: Watched, done: str, address: str) -> None:
    phone.page.goto(address.format(done=done))
    if "done" in address:
        phone.wait_for_trials(ALL)
        phone.page.locator("#endpoints table").first.wait_for()
        phone.page.locator("#trial-table tbody button").first.tap()
        phone.page.get_by_role("dialog").locator(".js-plotly-plot").wait_for()
        assert phone.overflow() <= 0
        phone.page.keyboard.press("Escape")
    phone.page.wait_for_timeout(300)
    assert phone.overflow() <= 0


def test_a_phone_never_scrolls_sideways_while_the_list_comes(phone: Watched, crowd: str) -> None:
    phone.measure_frames()
    phone.slow(bytes_a_second=400_000)
    phone.page.goto("/")
    row = phone.page.locator(f"[data-study={crowd}]")
    row.get_by_text("proxy of spoken-digits: 5 epochs, 10% of the training samples, width 16").wait_for()
    phone.page.wait_for_timeout(300)
    assert phone.widest_overflow() == 0


def test_a_phone_never_scrolls_sideways_while_a_study_comes(phone: Watched, crowd: str) -> None:
    """The phone is turned as soon as the figure is drawn, which makes the window narrower."""
    phone.measure_frames()
    upright = phone.page.viewport_size
    phone.slow(bytes_a_second=400_000)
    phone.page.set_viewport_size({"width": upright["height"], "height": upright["width"]})
    phone.page.goto(f"/studies/{crowd}")
    phone.wait_for_marks(0)
    phone.page.set_viewport_size(upright)
    phone.wait_until(
        "document.querySelector('#chart .main-svg').clientWidth === document.getElementById('chart').clientWidth"
    )
    phone.page.locator("#endpoints table").first.wait_for()
    phone.page.locator(".forest .ticks span").first.wait_for(state="attached")
    phone.page.wait_for_timeout(300)
    assert phone.widest_overflow() == 0


def test_a_trials_charts_fit_a_phone_that_is_turned(phone: Watched, done: str) -> None:
    upright = phone.page.viewport_size
    phone.page.set_viewport_size({"width": upright["height"], "height": upright["width"]})
    phone.page.goto(f"/studies/{done}#trial=gradient-filter-r01-t01")
    phone.page.get_by_role("dialog").locator(".js-plotly-plot .main-svg").first.wait_for()
    left, right = (
        f"document.querySelector('dialog .js-plotly-plot')._fullLayout.{x}" for x in ("xaxis", "xaxis2")
    )
    apart = f"{right}._offset - {left}._offset - {left}._length"
    assert phone.page.evaluate(apart) > 70
    phone.page.set_viewport_size(upright)
    phone.wait_until(f"{left}._length < 160 && {apart} > 55")


def test_dark_where_the_system_is_dark(watched: Watched, page: Any, done: str) -> None:
    page.goto(f"/studies/{done}")
    watched.wait_for_trials(ALL)
    paper = "getComputedStyle(document.body).backgroundColor"
    tick = "getComputedStyle(document.querySelector('#chart .xtick text')).fill"
    light = page.evaluate(paper), page.evaluate(tick)
    page.emulate_media(color_scheme="dark")
    watched.wait_until(f"{tick} !== {light[1]!r}")
    assert _luminance(light[0]) > 0.8
    assert _luminance(page.evaluate(paper)) < 0.2
    assert _luminance(page.evaluate(tick)) > 0.5
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.querySelector('.live .dot')).animationName") == "none"


def _luminance(colour: str) -> float:
    return sum(float(part) for part in re.findall(r"[\d.]+", colour)[:3]) / 765


def test_nothing_is_lost_when_the_service_is_killed(forgiving: Watched, store: Store, served: Served) -> None:
    page = forgiving.page
    lease, rest = running(store, 5)
    page.goto(f"/studies/{lease.study}")
    forgiving.wait_for_trials(5)
    page.locator("#live[data-state=live]").wait_for()
    served.kill()
    page.locator("#live[data-state=reconnecting]").wait_for()
    for _ in range(4):
        store.record(lease, next(rest))
    served.start()
    forgiving.wait_for_trials(9)
    page.locator("#live[data-state=live]").wait_for()
    store.record(lease, next(rest))
    forgiving.wait_for_trials(10)
    page.locator("#events summary").click()
    page.get_by_text("and 10 finished trials").wait_for()
    page.get_by_text("10 trials", exact=True).wait_for()
    assert "10 of 36" in page.locator("#facts").inner_text()


def test_a_page_out_of_sight_catches_up(watched: Watched, store: Store) -> None:
    """Browsers allow six connections per host, so a hidden page closes its own."""
    lease, rest = running(store, 3)
    watched.page.goto(f"/studies/{lease.study}")
    watched.wait_for_trials(3)
    watched.page.locator("#live[data-state=live]").wait_for()
    time.sleep(2)  # until no request is under way
    hide = "Object.defineProperty(document, 'hidden', {{value: {}, configurable: true}})"
    tell = "document.dispatchEvent(new Event('visibilitychange'))"
    watched.page.evaluate(f"{hide.format('true')}; {tell}")
    for _ in range(3):
        store.record(lease, next(rest))
    watched.page.wait_for_timeout(1500)
    assert watched.page.evaluate("document.title").startswith("3/36")
    watched.page.evaluate(f"{hide.format('false')}; {tell}")
    watched.wait_for_trials(6)


def test_a_study_that_is_deleted_is_said_to_be(forgiving: Watched, store: Store) -> None:
    study = finished(store, spec(next(names), runs=1, trials=2))
    forgiving.page.goto(f"/studies/{study}")
    forgiving.page.locator("#live[data-state=live]").wait_for()
    store.delete(study)
    forgiving.page.get_by_text("This study no longer exists").wait_for()


def test_a_browser_sees_pages_where_there_is_none(forgiving: Watched) -> None:
    for address, title in (
        ("/studies/none", "There is no such study"),
        ("/nothing", "There is no such address"),
    ):
        assert forgiving.page.goto(address).status == 404
        assert forgiving.page.locator("h1").inner_text() == title
    answer = forgiving.page.request.get("/v1/nothing", headers={"Accept": "text/html"})
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_token_opens_the_page(browser: Any, tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'guarded.db'}")
    upgrade(engine)
    store = Store(engine)
    study = finished(store, spec(runs=1, trials=2))
    token = tokens.create(engine, "reader", Scope.READ)
    with Served(str(engine.url), tmp_path) as served, alone(browser, served.url) as watched:
        page = watched.page
        page.goto(f"/studies/{study}")
        assert "/login?next=" in page.url
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("unknown, revoked or expired").wait_for()
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"**/studies/{study}")
        watched.wait_for_trials(4)
        assert page.locator("#actions button").count() == 0, "a reader is offered nothing"
        assert "reader" in page.locator("header.top").inner_text()
        assert watched.context.cookies()[0]["httpOnly"]
        page.goto("/")
        page.get_by_text("completed").first.wait_for()
        tokens.revoke(engine, "reader")
        # where the list's next request leads; a goto would race with it
        page.wait_for_url("**/login?next=%2F")
        page.get_by_text("unknown, revoked or expired").wait_for()
        page.goto("/nothing")
    engine.dispose()


def test_logging_out(browser: Any, tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'guarded.db'}")
    upgrade(engine)
    token = tokens.create(engine, "ada", Scope.ADMIN)
    with Served(str(engine.url), tmp_path) as served, alone(browser, served.url) as watched:
        page = watched.page
        page.goto("/login")
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("No studies yet").wait_for()
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
        assert not watched.context.cookies()
        page.goto("/")
        assert "/login" in page.url
    engine.dispose()


def test_all_of_it_works_under_a_prefix(browser: Any, served: Served, store: Store, tmp_path: Path) -> None:
    lease, rest = running(store, 3)
    with nginx(served.url, tmp_path) as front, alone(browser, front) as watched:
        page = watched.page
        page.goto(f"{front}/")
        page.locator(f"[data-study={lease.study}] a").first.click()
        page.wait_for_url(f"{front}/studies/{lease.study}")
        watched.wait_for_trials(3)
        store.record(lease, next(rest))
        watched.wait_for_trials(4)
        page.locator("#actions").get_by_role("button", name="Pause", exact=True).click()
        page.locator("#state", has_text="pausing").wait_for()
    assert (watched.faults, watched.elsewhere) == ([], [])


def test_many_methods_of_a_proxy_fit(watched: Watched, store: Store, crowd: str) -> None:
    store.create_study(spec(next(names)), {}, labels=["a label that says it all, " * 4])
    page = watched.page
    page.set_viewport_size({"width": 1100, "height": 800})
    page.goto("/?task=spoken-digits")
    page.locator(f"[data-study={crowd}]").get_by_text("proxy of spoken-digits: 5 epochs").wait_for()
    assert watched.overflow() <= 0
    page.goto(f"/studies/{crowd}")
    page.locator("#facts").get_by_text("proxy of spoken-digits: 5 epochs, 10% of the training").wait_for()
    watched.wait_for_marks(0)
    looks = page.evaluate(
        "document.getElementById('chart').data.filter((t) => t.mode === 'lines+markers' && t.visible)"
        ".map((t) => [t.marker.color, t.marker.symbol])"
    )
    assert len(looks) == len(OPTIMIZERS)
    for kinds in zip(*looks, strict=True):
        assert len(set(kinds)) == len(OPTIMIZERS)
    page.locator("#endpoints table").first.wait_for()
    for name in ("The comparison in words", "The comparison as a figure"):
        region = page.get_by_role("region", name=name)
        assert region.bounding_box()["height"] <= 560, "what is said of every pair scrolls by itself"
        watched.wait_until(f"document.querySelector('[aria-label=\"{name}\"]').tabIndex === 0")
    region.locator("figcaption").last.scroll_into_view_if_needed()  # with few methods it is in view already
    axis, box = region.locator(".ticks").last.bounding_box(), region.bounding_box()
    assert axis["y"] + axis["height"] <= box["y"] + box["height"], "the axis is in sight, its last row is not"
