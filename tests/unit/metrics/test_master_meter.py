"""What a master shows, told by a real scheduler on a clock of its own."""

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from cyclone.master.actions import Deliver, Record, Send
from cyclone.master.events import AttemptsEnded
from cyclone.master.sinks.sink_feed import SinkStatus
from cyclone.metrics import names
from cyclone.metrics.board import Board
from cyclone.metrics.histogram import Buckets
from cyclone.metrics.master import MasterMeter
from cyclone.metrics.names import Metric
from cyclone.protocol import states
from cyclone.protocol.messages import AnyFromMaster, JobOptions
from cyclone.protocol.traffic import Traffic
from tests.support.masters import Master, batch

if TYPE_CHECKING:
    from cyclone.master.service import MasterService

COMPLETED, FAILED, CRASHED = states.COMPLETED, states.FAILED, states.CRASHED


class Metered:
    """A master whose actions are told to a meter as the service does."""

    def __init__(self, **options: Any) -> None:
        self.master = Master(**options)
        self.board = Board()
        self.meter = MasterMeter(self.board, "tests:Generator", lambda: 4096)
        self.source: SimpleNamespace | None = SimpleNamespace(failure=None)
        self.sinks: list[SinkStatus] = []

    def tell(self, actions: list[Any]) -> None:
        self.meter.appended([action.event for action in actions if isinstance(action, Record)])
        for action in actions:
            if isinstance(action, Send):
                self.meter.sent(cast(AnyFromMaster, action.message))
            elif isinstance(action, Deliver):
                self.meter.recorded(action.block)
                if action.leased_at:
                    self.meter.delivered(action.block, action.leased_at)

    def service(self, woke_at: float | None = None) -> "MasterService":
        """What of a service a meter looks at."""
        service = SimpleNamespace(
            scheduler=self.master.scheduler,
            source=self.source,
            sinks=SimpleNamespace(status=lambda: self.sinks),
            traffic=Traffic(3, 300, 2, 200),
            bad_messages=1,
            refused_connections=4,
            woke_at=time.monotonic() if woke_at is None else woke_at,
        )
        return cast("MasterService", service)

    def turn(self, woke_at: float | None = None) -> None:
        """The end of a turn, always with a new snapshot."""
        self.meter._loop._publish_at = 0.0
        self.meter.turn(self.service(woke_at))

    def shown(self, metric: Metric) -> dict[tuple[str, ...], Any]:
        """As of a turn that ends now."""
        self.turn()
        return dict(self.board.snapshot.get(metric, {}))

    def finished(self) -> dict[tuple[str, ...], Any]:
        """Those that are not zero."""
        return {labels: count for labels, count in self.shown(names.FINISHED).items() if count}


@pytest.fixture
def metered() -> Metered:
    return Metered(crash_limit=3)


def test_given_tasks_when_they_go_their_way_then_gauges_and_totals_follow(metered: Metered) -> None:
    master = metered.master
    metered.tell(master.offer(3))
    assert metered.shown(names.TASKS) == {("queued",): 3, ("delayed",): 0, ("leased",): 0}
    assert metered.shown(names.SUBMITTED) == {("tests:Task",): 3}
    # Before there is a result, so that Prometheus sees the first.
    assert metered.shown(names.FINISHED) == {("tests:Task", state): 0 for state in states.FINAL_STATES}
    session = master.join()
    metered.tell(master.lease(session, 2))
    assert metered.shown(names.TASKS) == {("queued",): 1, ("delayed",): 0, ("leased",): 2}
    assert metered.shown(names.CONTROLLERS)["connected",] == 1
    assert metered.shown(names.SLOTS) == {("busy",): 2, ("free",): 0, ("drained",): 0}
    metered.tell(master.results(session, batch(1, COMPLETED, FAILED)))
    assert metered.finished() == {("tests:Task", "completed"): 1, ("tests:Task", "failed"): 1}
    assert metered.shown(names.SLOTS) == {("busy",): 0, ("free",): 2, ("drained",): 0}
    assert metered.shown(names.DUPLICATES) == {(): 0}
    metered.tell(master.results(session, batch(1, COMPLETED, FAILED)))
    assert metered.shown(names.DUPLICATES) == {(): 2}


def test_given_an_attempt_that_is_not_the_last_when_it_ends_then_it_counts_by_reason(metered: Metered) -> None:
    master = metered.master
    metered.tell(master.offer(2, job=JobOptions("tests:Task", retries=1, retry_delay_s=60.0)))
    session = master.join()
    metered.tell(master.lease(session, 2))
    metered.tell(master.results(session, batch(1, FAILED, CRASHED)))
    assert metered.shown(names.TASKS) == {("queued",): 1, ("delayed",): 1, ("leased",): 0}
    assert metered.shown(names.RETRIES) == {("failed",): 1, ("timed_out",): 0, ("crashed",): 1, ("lost",): 0}
    assert metered.shown(names.RESENDS) == {(): 0}
    metered.tell(master.lease(session, 1))
    assert metered.shown(names.RESENDS) == {(): 1}
    assert metered.finished() == {}


def test_given_classes_in_one_block_when_some_rows_count_then_each_class_gets_its_own(metered: Metered) -> None:
    master = metered.master
    metered.tell(
        master.carry_out(
            master.scheduler.offer(
                [JobOptions("tests:A"), JobOptions("tests:B")], [(0, 2), (1, 2)], [b"\x90"] * 4, master.now
            )
        )
    )
    session = master.join(slots=4)
    metered.tell(master.lease(session, 4))
    metered.tell(master.results(session, batch(2, COMPLETED)))
    metered.tell(master.results(session, batch(1, COMPLETED, COMPLETED, COMPLETED, FAILED)))
    assert metered.shown(names.SUBMITTED) == {("tests:A",): 2, ("tests:B",): 2}
    assert metered.finished() == {
        ("tests:A", "completed"): 2,
        ("tests:B", "completed"): 1,
        ("tests:B", "failed"): 1,
    }
    assert metered.shown(names.DUPLICATES) == {(): 1}


def test_given_a_lease_when_it_ends_then_wait_and_overhead_are_those_of_its_block(metered: Metered) -> None:
    master = metered.master
    metered.meter._marks._marks[0] = (0, time.monotonic() - 100.0)
    metered.meter._marks.offered(2, time.monotonic() - 5.0)
    # As if these two had been there before.
    master.offer(2)
    session = master.join()
    metered.tell(master.lease(session, 2))
    wait: Buckets = metered.shown(names.WAIT)[()]
    # They are one lease, and so as old as the first of them.
    assert sum(wait.counts) == 2 and wait.total == pytest.approx(200.0, abs=1)
    leased_at = time.monotonic() - 3.0
    for span in master.scheduler.state.index:
        span.leased_at = leased_at
    # Half a second each, says the body.
    metered.tell(master.results(session, batch(1, COMPLETED, COMPLETED)))
    overhead: Buckets = metered.shown(names.OVERHEAD)[()]
    assert sum(overhead.counts) == 2 and overhead.total == pytest.approx(5.0, abs=0.5)


def test_given_a_lease_of_a_former_epoch_when_it_ends_then_nobody_knows_its_overhead(metered: Metered) -> None:
    master = metered.master
    metered.tell(master.offer(1))
    metered.tell(master.lease(master.join(), 1))
    master.restart()
    session = master.join(incarnation="2")
    metered.tell(master.results(session, batch(1, COMPLETED)))
    assert metered.finished() == {("tests:Task", "completed"): 1}
    assert sum(metered.shown(names.OVERHEAD)[()].counts) == 0


def test_given_tasks_that_wait_when_looked_at_then_the_age_of_the_oldest_is_shown(metered: Metered) -> None:
    master = metered.master
    assert metered.shown(names.OLDEST_QUEUED) == {(): 0.0}
    metered.tell(master.offer(2))
    metered.meter._marks._marks[-1] = (1, time.monotonic() - 50.0)
    assert metered.shown(names.OLDEST_QUEUED)[()] == pytest.approx(50.0, abs=1)
    session = master.join()
    metered.tell(master.lease(session, 2))
    assert metered.shown(names.OLDEST_QUEUED) == {(): 0.0}
    # Its controller falls silent: they wait again, from now on.
    metered.tell(master.advance(3600.0))
    assert metered.shown(names.TASKS)["queued",] == 2
    assert metered.shown(names.OLDEST_QUEUED)[()] == pytest.approx(0.0, abs=1)
    assert metered.meter._returned is not None
    metered.meter._returned = (metered.meter._returned[0], time.monotonic() - 7.0)
    assert metered.shown(names.OLDEST_QUEUED)[()] == pytest.approx(7.0, abs=1)
    assert metered.shown(names.RETRIES)["lost",] == 2


def test_given_controllers_when_looked_at_then_each_is_in_one_state(metered: Metered) -> None:
    master = metered.master
    for name in ("c1", "c2", "c3"):
        master.join(name, incarnation=name[1])
    master.drain("c2")
    master.scheduler.state.sessions.by_name["c3"].reachable = False
    assert metered.shown(names.CONTROLLERS) == {
        ("connected",): 1,
        ("drained",): 1,
        ("suspected",): 0,
        ("unreachable",): 1,
        ("awaited",): 0,
    }
    # Nobody can count on those of a drained one.
    assert metered.shown(names.SLOTS) == {("busy",): 0, ("free",): 4, ("drained",): 2}


@pytest.mark.parametrize(
    ("source", "exhausted", "up"),
    [
        (SimpleNamespace(failure=None), False, 1),
        (SimpleNamespace(failure=None), True, 1),
        (SimpleNamespace(failure="it raised"), False, 0),
        (SimpleNamespace(failure="it raised"), True, 0),
        (None, False, 0),
        (None, True, 1),
    ],
)
def test_given_a_generator_when_it_has_failed_or_should_run_and_does_not_then_it_is_down(
    metered: Metered, source: SimpleNamespace | None, exhausted: bool, up: int
) -> None:
    metered.source = source
    if exhausted:
        metered.tell(metered.master.exhaust())
    assert metered.shown(names.GENERATOR_UP) == {("tests:Generator",): up}
    assert metered.shown(names.GENERATOR_EXHAUSTED) == {("tests:Generator",): exhausted}


def test_given_a_generator_when_it_comes_further_then_that_is_its_last_activity(metered: Metered) -> None:
    metered.turn()
    metered.meter._active_at = 1.0
    assert metered.shown(names.GENERATOR_ACTIVITY) == {("tests:Generator",): 1.0}
    metered.tell(metered.master.offer(2))
    assert metered.shown(names.GENERATOR_ACTIVITY)["tests:Generator",] == pytest.approx(time.time(), abs=5)
    assert metered.shown(names.GENERATOR_EMITTED) == {("tests:Generator",): 2}


def test_given_sinks_when_looked_at_then_each_has_its_line(metered: Metered) -> None:
    metered.sinks = [
        SinkStatus("db:5777", True, 10, 2, 0, 0, 0, ""),
        SinkStatus("push:5888", False, 7, 5, 0, 3, 0, "its disk is full"),
    ]
    assert metered.shown(names.SINK_ATTACHED) == {("db:5777",): 1, ("push:5888",): 0}
    assert metered.shown(names.SINK_LAG) == {("db:5777",): 2, ("push:5888",): 5}
    assert metered.shown(names.SINK_FULL) == {("db:5777",): 0, ("push:5888",): 1}
    assert metered.shown(names.SINK_LOST) == {("db:5777",): 0, ("push:5888",): 3}


def test_given_a_journal_that_is_full_when_nothing_can_be_recorded_then_that_is_shown_without_a_turn(
    metered: Metered,
) -> None:
    metered.meter.failing(metered.service())
    assert metered.board.snapshot[names.JOURNAL_FAILING] == {(): 1}
    assert metered.board.turned_at == pytest.approx(time.monotonic(), abs=5)
    metered.meter.appended([AttemptsEnded(1, 1, 1, 1, states.LOST, "c1")])
    assert metered.shown(names.JOURNAL_FAILING) == {(): 0}


def test_given_the_loop_when_a_turn_is_long_then_it_shows(metered: Metered) -> None:
    metered.meter.synced(0.004)
    metered.turn(woke_at=time.monotonic() - 1.0)
    metered.turn()
    lag = metered.board.snapshot[names.LOOP_LAG][()]
    assert isinstance(lag, Buckets)
    # One of about a second, one of nearly nothing.
    assert lag.counts[names.LOOP_LAG.bounds.index(2)] == 1 and lag.counts[0] == 1
    assert metered.shown(names.LAST_TURN)[()] == pytest.approx(time.time(), abs=5)
    assert metered.shown(names.MESSAGES) == {("received",): 2, ("sent",): 3}
    assert metered.shown(names.MESSAGE_BYTES) == {("received",): 200, ("sent",): 300}
    assert metered.shown(names.MESSAGES_DROPPED) == {(): 1}
    assert metered.shown(names.AUTH_FAILURES) == {(): 4}
    assert metered.shown(names.JOURNAL_BYTES) == {(): 4096}
    assert metered.shown(names.JOURNAL_FSYNC)[()].total == 0.004
