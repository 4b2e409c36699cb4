"""When the master's loop is over: at once where nothing is left, and not before sinks have had their time."""

from types import SimpleNamespace
from typing import cast

import pytest

from cyclone.master.ending import Ending
from cyclone.master.generator.feed import Feed
from cyclone.master.scheduler import Scheduler
from cyclone.master.sinks.sink_feed import SinkStatus
from cyclone.master.sinks.sink_feeds import SinkFeeds

TIMEOUT_S = 30.0


class Around:
    """What an ending looks at. A sink ``lacks`` something, and is ``away`` or attached."""

    def __init__(self) -> None:
        self.finished = self.stopping = False
        self.leased_tasks = 0
        self.sessions: list[str] = []
        self.lacks = self.away = False
        self.feed = SimpleNamespace(summary={}, failure=None)
        scheduler = SimpleNamespace(state=SimpleNamespace(sessions=self.sessions))
        self.ending = Ending(cast(Scheduler, self), cast(SinkFeeds, self), TIMEOUT_S)
        self.state = scheduler.state

    def lacking(self, is_patient: bool) -> list[SinkStatus]:
        sink = SinkStatus("db:5777", not self.away, 3, 4, 0, 0, 0, "")
        return [sink] if self.lacks and (is_patient or not self.away) else []

    def over(self, now: float) -> bool:
        return self.ending.is_over(cast(Feed, self.feed), now)

    def finish(self) -> None:
        self.finished = True
        self.ending.finish(100.0)

    def stop(self) -> None:
        self.stopping = True
        self.ending.stop(100.0)


@pytest.fixture
def around() -> Around:
    return Around()


def test_given_work_then_it_is_not_over(around: Around) -> None:
    assert not around.over(1e9)


def test_given_all_is_done_then_it_is_over_when_controllers_have_gone_or_had_their_time(around: Around) -> None:
    around.sessions.append("c1")
    around.finish()
    assert not around.over(101.9)
    assert around.over(102.0)
    around.sessions.clear()
    assert around.over(100.0)


def test_given_a_generator_that_takes_its_time_then_only_a_stop_ends_it(around: Around) -> None:
    around.feed.summary = None
    around.finish()
    assert not around.over(1e6)
    around.stop()
    assert not around.over(129.9)
    assert around.over(130.0)


def test_given_a_stop_then_it_is_over_when_nothing_runs_any_more(around: Around) -> None:
    around.leased_tasks = 2
    around.stop()
    assert not around.over(129.0)
    around.leased_tasks = 0
    assert around.over(101.0)


@pytest.mark.parametrize("away", [True, False])
def test_given_all_is_done_then_a_sink_is_waited_for_up_to_the_stop_timeout_and_that_is_said(
    around: Around, away: bool, caplog: pytest.LogCaptureFixture
) -> None:
    around.lacks, around.away = True, away
    around.finish()
    assert not around.over(101.0)
    assert around.ending.is_draining
    assert caplog.messages == []
    for now in (102.0, 110.0, 130.9):
        assert not around.over(now)
    assert around.over(131.0)
    assert caplog.messages == ["waiting 29 s more for sinks to take the rest: db:5777 lacks 4 blocks"]


def test_given_all_is_done_when_the_sink_has_all_then_it_is_over(around: Around) -> None:
    around.lacks = True
    around.finish()
    assert not around.over(101.0)
    around.lacks = False
    assert around.over(101.1)


@pytest.mark.parametrize(
    ("runs_until", "over_at"), [(100.0, 130.0), (129.0, 131.0)], ids=["at once", "at the last moment"]
)
def test_given_a_stop_then_a_sink_that_takes_something_is_waited_for_within_its_time(
    around: Around, runs_until: float, over_at: float
) -> None:
    around.lacks = True
    around.stop()
    for now, is_over in ((runs_until, False), (over_at - 0.1, False), (over_at, True)):
        assert around.over(now) == is_over


def test_given_a_stop_then_a_sink_that_is_away_is_not_waited_for(around: Around) -> None:
    around.lacks = around.away = True
    around.stop()
    assert around.over(100.0)
