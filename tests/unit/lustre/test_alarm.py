"""An alarm rings while the main thread hangs in a system call, and only then."""

import logging
import os
import signal
import threading

import pytest

from cyclone.lustre.alarm import Alarm


def test_given_a_block_that_hangs_then_the_action_runs_meanwhile() -> None:
    reading, writing = os.pipe()

    def act() -> None:
        os.write(writing, b"!")

    # What ends the block is the action itself: if it had to wait for the end, this would hang.
    with Alarm(0.001, act, 1.0):
        assert os.read(reading, 1) == b"!"
    os.close(reading)
    os.close(writing)


def test_given_a_block_that_is_quick_then_nothing_is_done() -> None:
    rung: list[None] = []
    with Alarm(60.0, lambda: rung.append(None), 1.0) as alarm:
        pass
    alarm._thread.join(1.0)

    assert not alarm._thread.is_alive()
    assert rung == []


def test_given_an_action_under_way_then_the_end_waits_for_it() -> None:
    begun, done = threading.Event(), []

    def act() -> None:
        begun.set()
        done.append(threading.current_thread().name)

    with Alarm(0.0, act, 10.0):
        assert begun.wait(10.0)

    assert done == ["alarm"]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_given_an_action_that_does_not_end_then_it_is_not_waited_for_longer(error: BaseException | None) -> None:
    begun, gate = threading.Event(), threading.Event()

    def act() -> None:
        begun.set()
        gate.wait(60.0)

    # Told to end, a task has no time for any wait; else it is as long as it was allowed to be.
    alarm = Alarm(0.0, act, 60.0 if error else 0.001)
    try:
        with alarm:
            assert begun.wait(10.0)
            if error:
                raise error
    except KeyboardInterrupt:
        assert error
    assert alarm._thread.is_alive()
    gate.set()
    alarm._thread.join(10.0)


def test_given_an_action_that_raises_then_that_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    begun = threading.Event()

    def act() -> None:
        begun.set()
        raise LookupError("nobody is there")

    with caplog.at_level(logging.ERROR, "cyclone.task"), Alarm(0.0, act, 10.0):
        assert begun.wait(10.0)

    assert "an alarm came to nothing" in caplog.text
    assert "LookupError: nobody is there" in caplog.text


def test_given_an_alarm_then_sigterm_meets_the_main_thread() -> None:
    masks = []
    begun = threading.Event()

    def act() -> None:
        masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, set()))
        begun.set()

    before = signal.pthread_sigmask(signal.SIG_BLOCK, set())
    with Alarm(0.0, act, 10.0):
        assert signal.pthread_sigmask(signal.SIG_BLOCK, set()) == before
        assert begun.wait(10.0)

    assert signal.SIGTERM in masks[0]
