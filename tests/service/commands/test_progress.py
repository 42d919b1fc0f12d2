import io
import re

from rich.console import Console
from writers import spec, trial

from service.commands import progress
from service.commands.progress import StudyProgress

METHODS = ("gradient-filter", "latent-sgd")


def shown(finished, terminal, before=0, states=(), methods=METHODS):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    with StudyProgress(methods, 6, metric="accuracy", maximize=True, before=before, console=console) as watch:
        for record in finished:
            watch(record)
        for state in states:
            watch.state(state)
    return console.file.getvalue()


def test_a_terminal_shows_a_bar_a_method_with_the_best_and_the_time_left():
    history = [trial("s", run=1, number=1, objective=0.9), trial("s", run=2, number=1, objective=0.8)]
    new = [trial("s", run=1, number=2, objective=0.7), trial("s", "latent-sgd", objective=0.6)]
    text = shown(history + new, True, before=2)
    assert "gradient-filter" in text
    assert "3/6" in text
    assert "best so far 85.0% (median run)" in text
    assert "1/6" in text
    assert "best so far 60.0% (median run)" in text
    assert "left" in text


def test_the_best_of_a_loss_is_the_least():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with StudyProgress(METHODS, 6, metric="PSNR", maximize=False, before=0, console=console) as watch:
        for number, objective in ((1, 0.4), (2, 0.3), (3, 0.5)):
            watch(trial("s", number=number, objective=objective))
    assert "best so far 0.30 dB (median run)" in console.file.getvalue()


def test_trials_done_before_say_nothing_of_the_time_left():
    assert "left" not in shown([trial("s"), trial("s", number=2)], True, before=2)


def test_the_time_in_the_queue_is_no_part_of_what_is_left(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with StudyProgress(METHODS, 6, metric="accuracy", maximize=True, before=0, console=console) as watch:
        watch.state("queued")
        clock[0] = 3600.0
        watch.state("running")
        clock[0] = 3620.0  # Ray starts
        watch(trial("s", suggest_seconds=1.0, train_seconds=4.0))
        assert watch._left(1) == "0:00:55 left"
        clock[0] = 3625.0
        watch(trial("s", number=2))
        assert watch._left(2) == "0:00:50 left"
        watch.state("paused")
        clock[0] = 9000.0
        watch.state("running")
        assert watch._left(2) == ""
        watch(trial("s", number=3, suggest_seconds=0.0, train_seconds=5.0))
        assert watch._left(3) == "0:00:45 left"


def test_failed_trials_count_and_have_no_best():
    text = shown([trial("s", objective=None, test_metric=None, state="failed", error="x")], True)
    assert "1/6" in text
    assert "no result yet" in text


def test_a_log_file_gets_a_line_now_and_then(monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    text = shown([trial("s", objective=0.5)], False)
    assert "gradient-filter 1/6, best so far 50.0% (median run); latent-sgd 0/6, no result yet; " in text
    assert "\x1b" not in text


def test_a_change_of_state_is_shown_once():
    assert shown([], False, states=["queued", "queued", "running"]).split() == ["queued", "running"]
    assert "running" in shown([], True, states=["running"])


def test_an_interrupt_that_the_terminal_shows_fits_beside_the_bars():
    console = Console(file=io.StringIO(), force_terminal=True, width=50, color_system=None)
    with StudyProgress(METHODS, 6, metric="accuracy", maximize=True, before=0, console=console) as watch:
        watch.state("running")
    lines = [line for line in re.split(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]", console.file.getvalue()) if line]
    assert "gradient-filter" in lines[0]
    assert max(map(len, lines)) <= 48


def test_names_are_shown_as_they_are():
    assert "[red]x[/red]" in shown([], True, methods=("[red]x[/red]\x1b[2J",))
    assert "\x1b[2J" not in shown([], True, methods=("[red]x[/red]\x1b[2J",))


def test_a_study_of_the_database_has_the_methods_and_trials_of_its_spec(store):
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with StudyProgress.of(store.create_study(spec(), {}), console) as watch:
        watch(trial("s"))
    assert "1/6" in console.file.getvalue()
    assert "0/6" in console.file.getvalue()


def test_trials_that_another_study_has_trained_say_nothing_of_the_time_left(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with StudyProgress(METHODS, 6, metric="accuracy", maximize=True, before=0, console=console) as watch:
        for number in (1, 2, 3):
            watch(trial("s", number=number, taken_from="t/gradient-filter-r01-t01"))
        assert watch._left(3) == ""
        clock[0] = 20.0
        watch(trial("s", number=4, suggest_seconds=1.0, train_seconds=4.0))
        assert watch._left(4) == "0:00:40 left"
        watch(trial("s", run=2, number=1, taken_from="t/gradient-filter-r02-t01"))
        assert watch._left(5) == "0:00:35 left"
