"""A stop that is asked for by a signal, or by a time limit."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from ebbench.errors import Stopped, UsageError
from ebbench.running.signals import StopRequest, stop_on_signals


def test_at_safe_points_the_first_signal_only_asks():
    with stop_on_signals() as stop:
        stop.safe_points = True
        assert not stop.asked
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked
        stopped = stop.stopped("saved at step 3")
        assert stopped.exit_code == 143
        assert "SIGTERM" in str(stopped) and "step 3" in str(stopped) and "goes on" in str(stopped)
        with pytest.raises(Stopped, match="SIGINT: at once"):
            os.kill(os.getpid(), signal.SIGINT)


def test_where_nothing_looks_the_first_signal_is_obeyed():
    with pytest.raises(Stopped) as caught, stop_on_signals():
        os.kill(os.getpid(), signal.SIGINT)
    assert caught.value.exit_code == 130


def test_a_time_limit_asks_for_a_stop_with_its_own_exit_code():
    with stop_on_signals(0.001) as stop:
        stop.safe_points = True
        while not stop.asked:
            time.sleep(0.001)
    stopped = stop.stopped("saved at step 3")
    assert stopped.exit_code == 124 and "the time limit" in str(stopped)


def test_a_time_limit_ends_a_wait_where_nothing_looks():
    # As a run waits for another process's lock.
    with pytest.raises(Stopped, match="time limit") as caught, stop_on_signals(0.01):
        threading.Event().wait(60)
    assert caught.value.exit_code == 124


def test_a_time_limit_does_not_hurry_a_stop_that_was_asked_for():
    with stop_on_signals(1000) as stop:
        stop.safe_points = True
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGALRM)
        assert stop.stopped("").exit_code == 143


def test_all_is_as_before_afterwards():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    with stop_on_signals(1000):
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_outside_the_main_thread_a_time_limit_is_refused():
    caught: list[object] = []

    def work() -> None:
        with stop_on_signals() as stop:
            caught.append(type(stop))
        try:
            with stop_on_signals(5):
                pass
        except UsageError as error:
            caught.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert caught == [StopRequest, UsageError]
