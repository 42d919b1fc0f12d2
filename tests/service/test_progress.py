import io

from rich.console import Console
from writers import spec, trial

from service import progress
from service.progress import StudyProgress


def shown(history, finished, terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    with StudyProgress(spec(), history, console) as watch:
        for record in finished:
            watch(record)
    return console.file.getvalue()


def test_a_terminal_shows_a_bar_a_method_with_the_best_and_the_time_left():
    history = [trial("s", run=1, number=1, objective=0.9), trial("s", run=2, number=1, objective=0.8)]
    text = shown(
        history, [trial("s", run=1, number=2, objective=0.7), trial("s", "latent-sgd", objective=0.6)], True
    )
    assert "gradient-filter" in text
    assert "3/6" in text
    assert "best so far 85.0% (median run)" in text
    assert "1/6" in text
    assert "best so far 60.0% (median run)" in text
    assert "left" in text


def test_failed_trials_count_and_have_no_best():
    text = shown([], [trial("s", objective=None, test_metric=None, state="failed", error="x")], True)
    assert "1/6" in text
    assert "no result yet" in text


def test_a_log_file_gets_a_line_now_and_then(monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    text = shown([], [trial("s", objective=0.5)], False)
    assert "gradient-filter 1/6, best so far 50.0% (median run); latent-sgd 0/6, no result yet; " in text
    assert "\x1b" not in text
