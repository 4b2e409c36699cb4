"""The thread of the Pushgateway client: when it publishes, how it ends, and what becomes of its faults."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cyclone.errors import CycloneError
from cyclone.sinks import pushgateway_client
from cyclone.sinks.pushgateway_client import PushgatewayClient
from cyclone.sinks.spool import SpoolBroken

LONG_S = 10.0


class Steps:
    """A publisher that only says what was asked of it, and waits or raises where it is told to."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.waiting = 0
        self.raises: Exception | None = None
        self.may_publish = threading.Event()
        self.may_publish.set()
        self.moved = threading.Condition()
        self.counts: Any = None
        self.state = "7 series of 1 targets published"

    def take(self) -> bool:
        if self.raises:
            raise self.raises
        if not self.waiting:
            return False
        self.waiting -= 1
        return self._note("take")

    def publish(self, may_go_on: Callable[[], bool]) -> None:
        self._note("publish")
        self.may_publish.wait(LONG_S)

    def withdraw(self, may_go_on: Callable[[], bool]) -> None:
        self._note("withdraw")

    def reached(self, count: int) -> list[str]:
        """What was done, as soon as it is so much."""
        with self.moved:
            assert self.moved.wait_for(lambda: len(self.done) >= count, LONG_S), self.done
            return list(self.done)

    def _note(self, what: str) -> bool:
        with self.moved:
            self.done.append(what)
            self.moved.notify_all()
        return True


@pytest.fixture
def steps() -> Iterator[Steps]:
    one = Steps()
    yield one
    one.may_publish.set()


def started(steps: Steps, interval_s: float = LONG_S, delete_on_stop: bool = False) -> PushgatewayClient:
    client = PushgatewayClient(steps, interval_s, delete_on_stop)  # type: ignore[arg-type]
    client.start(lambda: None)
    return client


def test_given_a_start_then_what_is_known_is_published_at_once_and_news_are_taken_when_they_come(steps: Steps) -> None:
    client = started(steps)
    steps.reached(1)
    steps.waiting = 2
    client.stored(0.0)
    steps.reached(3)
    client.stop(LONG_S)

    assert steps.done == ["publish", "take", "take", "publish"]
    assert client.state() == "7 series of 1 targets published"


def test_given_an_interval_then_it_is_published_again_and_again(steps: Steps) -> None:
    client = started(steps, interval_s=0.001)
    steps.reached(4)
    client.stop(LONG_S)

    assert set(steps.done) == {"publish"}


def test_given_more_than_it_can_take_then_it_is_published_all_the_same(steps: Steps) -> None:
    steps.waiting = 1_000_000_000
    client = started(steps, interval_s=0.001)
    with steps.moved:
        assert steps.moved.wait_for(lambda: steps.done.count("publish") >= 3, LONG_S)
    steps.waiting = 0
    client.stop(LONG_S)


@pytest.mark.parametrize(("delete_on_stop", "last"), [(False, "publish"), (True, "withdraw")])
def test_given_a_stop_then_all_that_waits_is_taken_and_the_last_word_is_what_was_wanted(
    delete_on_stop: bool, last: str, steps: Steps
) -> None:
    client = started(steps, delete_on_stop=delete_on_stop)
    steps.reached(1)
    steps.waiting = 3
    client.stop(LONG_S)

    assert steps.done == ["publish", "take", "take", "take", last]


def test_given_a_stop_without_time_then_nothing_more_is_done(steps: Steps) -> None:
    client = started(steps)
    steps.reached(1)
    client.stop(0.0)

    assert steps.done == ["publish"]


def test_given_a_gateway_that_hangs_when_stopped_then_the_stop_ends_in_time_and_says_so(
    steps: Steps, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushgateway_client, "_END_S", 0.0)
    steps.may_publish.clear()
    client = started(steps)
    steps.reached(1)
    client.stop(0.01)

    assert caplog.messages == [
        "the Pushgateway has not answered within stop_timeout: it keeps what it was given before"
    ]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SpoolBroken("spool x: nobody knows"), "spool x: nobody knows"),
        (KeyError("a"), "pushing ended by a mistake of ours: KeyError: 'a'"),
    ],
)
def test_given_an_error_that_ends_it_then_the_main_loop_is_woken_and_told(
    error: Exception, expected: str, steps: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    woken = threading.Event()
    steps.raises = error
    client = PushgatewayClient(steps, LONG_S, False)  # type: ignore[arg-type]
    with caplog.at_level(logging.CRITICAL):
        client.start(woken.set)
        assert woken.wait(LONG_S)

    with pytest.raises(CycloneError) as caught:
        client.state()
    assert str(caught.value) == expected
    client.stop(LONG_S)
