"""Work that is done every few seconds in its own thread."""

import threading
import time

import pytest

from service.cluster.periodic import Periodic


class Counting:
    """Work that counts its calls, and can wait for a call."""

    def __init__(self) -> None:
        self.calls, self._called = 0, threading.Condition()

    def __call__(self) -> None:
        with self._called:
            self.calls += 1
            self._called.notify_all()

    def wait_for(self, calls: int) -> None:
        with self._called:
            assert self._called.wait_for(lambda: self.calls >= calls, timeout=30)


def test_it_is_called_again_and_again_until_the_context_is_left() -> None:
    work = Counting()
    with Periodic(0.001, work, name="test"):
        work.wait_for(3)
    done = work.calls
    time.sleep(0.05)
    assert work.calls == done
    assert "test" not in {thread.name for thread in threading.enumerate()}


def test_it_is_called_at_once_where_it_is_woken_and_not_before() -> None:
    work = Counting()
    with Periodic(3600, work, name="test") as periodic:
        time.sleep(0.05)
        assert work.calls == 0
        periodic.wake()
        work.wait_for(1)
        periodic.wake()
        work.wait_for(2)
    assert work.calls == 2  # closing makes no call


def test_an_error_is_logged_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    work = Counting()

    def fail() -> None:
        work()
        raise ValueError("out of luck")

    with Periodic(0.001, fail, name="test"):
        work.wait_for(2)
    assert "test: continues after an unexpected error" in caplog.text
    assert "ValueError: out of luck" in caplog.text


def test_a_long_call_is_told_that_it_closes_and_waited_for() -> None:
    begun, told = threading.Event(), []

    def long() -> None:
        begun.set()
        told.append(periodic.closing.wait(30))

    periodic = Periodic(0.001, long, name="test")
    with periodic:
        assert begun.wait(30)
    assert told == [True]


def test_work_may_end_itself() -> None:
    work = Counting()

    def once() -> None:
        periodic.closing.set()
        work()

    periodic = Periodic(0.001, once, name="test")
    with periodic:
        work.wait_for(1)
        time.sleep(0.05)
    assert work.calls == 1
