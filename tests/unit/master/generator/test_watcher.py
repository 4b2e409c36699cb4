"""When the generator process's second thread helps out, and when it sleeps: in one thread, on a clock of its own."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from cyclone.master.generator import outgoing, watcher
from cyclone.master.generator.outgoing import Outgoing
from cyclone.master.generator.watcher import AWAKE_S, GATHER_S, Watcher
from tests.support.generator_lives import Clock, Pipe
from tests.support.sample_tasks import PlainTask


class Clocked:
    """A watcher whose thread is this one, at a time of its own."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.clock = Clock()
        pipe: Any = Pipe(self.sent.append)
        self.out = Outgoing(pipe)
        self.watcher = Watcher(pipe, self.out)

    def look(self, now_s: float) -> float | None:
        self.clock.now_s = now_s
        return self.watcher.look(now_s)


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clocked]:
    made = Clocked()
    monkeypatch.setattr(outgoing, "time", made.clock)
    monkeypatch.setattr(watcher, "time", made.clock)
    made.watcher.arm()
    yield made
    os.close(made.watcher._wake)


def test_given_a_task_that_waits_then_it_is_sent_after_the_time_to_gather_and_not_before(clocked: Clocked) -> None:
    clocked.out.add(PlainTask(1))

    assert clocked.look(0.002) == pytest.approx(GATHER_S - 0.002)
    assert (clocked.sent, bool(clocked.watcher.asked)) == ([], True)
    assert clocked.look(GATHER_S) == GATHER_S
    assert len(clocked.sent) == 1


def test_given_nothing_to_do_then_the_thread_sleeps_until_it_is_armed(clocked: Clocked) -> None:
    assert clocked.look(0.0) == GATHER_S
    assert clocked.look(AWAKE_S / 2) == GATHER_S
    assert clocked.look(AWAKE_S) is None
    assert (clocked.watcher.awake, bool(clocked.watcher.asked)) == (False, True)

    clocked.watcher.arm()

    assert (clocked.watcher.awake, bool(clocked.watcher.asked)) == (True, False)
    clocked.out.add(PlainTask(1))
    assert clocked.look(AWAKE_S + 0.001) == pytest.approx(GATHER_S - 0.001)
    assert clocked.sent == []
    assert clocked.look(AWAKE_S + GATHER_S) == GATHER_S
    assert len(clocked.sent) == 1


@pytest.mark.parametrize("meanwhile", ["arm", "add"])
def test_given_something_to_do_in_the_moment_of_falling_asleep_then_the_thread_stays_awake(
    clocked: Clocked, meanwhile: str
) -> None:
    class Moment(list[None]):
        """Looked at when the thread is about to sleep, the main one has just been at it."""

        def __len__(self) -> int:
            if not clocked.watcher.awake:
                if meanwhile == "arm":
                    self.clear()
                else:
                    clocked.out.add(PlainTask(1))
            return super().__len__()

    clocked.look(0.0)
    clocked.watcher.asked = Moment([None])

    assert clocked.look(2 * AWAKE_S) is not None
    assert clocked.watcher.awake
