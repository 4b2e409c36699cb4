"""What a controller shows, told by a real agent on a clock of its own."""

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from cyclone.controller.pipe import Done
from cyclone.controller.watch import Progress
from cyclone.metrics import names
from cyclone.metrics.board import Board
from cyclone.metrics.controller import ControllerMeter
from cyclone.metrics.histogram import Buckets
from cyclone.metrics.names import Metric
from cyclone.protocol import states
from cyclone.protocol.messages import ResultColumns
from cyclone.protocol.traffic import Traffic
from cyclone.results import encode_columns, pack_seconds
from tests.support.controllers import Node, executed

if TYPE_CHECKING:
    from cyclone.controller.service import ControllerService


class Metered:
    """A node whose workers' reports are told to a meter as the service does."""

    def __init__(self) -> None:
        self.node = Node()
        self.board = Board()
        self.meter = ControllerMeter(self.board, "node-7")

    def report(self, worker: int, base: int, *seconds: float, body: bytes | None = None) -> None:
        """Completed rows that took so long."""
        columns = ResultColumns([b"\xc0"] * len(seconds), pack_seconds(list(seconds)), 100.0, 42)
        statuses = bytes([states.COMPLETED] * len(seconds))
        done = Done(base, statuses, encode_columns(columns) if body is None else body, sum(seconds), True)
        self.meter.reported(self.node.agent, worker, done)
        self.node.agent.worker_done(worker, done, self.node.now)

    def shown(self, metric: Metric) -> dict[tuple[str, ...], Any]:
        """As of a turn that ends now."""
        service = SimpleNamespace(
            agent=self.node.agent,
            traffic=Traffic(),
            bad_messages=0,
            woke_at=time.monotonic(),
            discarded_bytes=7,
            output=SimpleNamespace(kept_bytes=5, dropped_bytes=3),
        )
        self.meter._loop._publish_at = 0.0
        self.meter.turn(cast("ControllerService", service))
        return dict(self.board.snapshot.get(metric, {}))

    def runs(self) -> dict[str, Buckets]:
        return {labels[0]: buckets for labels, buckets in self.shown(names.RUN).items()}


@pytest.fixture
def metered() -> Metered:
    return Metered()


def counts(**by_bound: int) -> tuple[int, ...]:
    """The counts of a run's histogram by the bound of their bucket, with p for the point."""
    found = [by_bound.get(f"le{bound:g}".replace(".", "p"), 0) for bound in names.RUN.bounds]
    return (*found, by_bound.get("more", 0))


def test_given_a_new_controller_when_looked_at_then_its_workers_come_one_after_the_other(metered: Metered) -> None:
    assert metered.shown(names.MASTER_CONNECTED) == {(): 0}
    assert metered.shown(names.WORKERS)["dead",] == 2
    metered.node.advance()
    assert metered.shown(names.WORKERS) == {
        ("starting",): 2,
        ("idle",): 0,
        ("busy",): 0,
        ("ending",): 0,
        ("dead",): 0,
    }
    metered.node.open()
    assert metered.shown(names.MASTER_CONNECTED) == {(): 1}
    assert metered.shown(names.CONTROLLER_INFO) == {("node-7",): 1}
    metered.node.lease(1, 1)
    metered.node.advance()
    assert metered.shown(names.WORKERS)["busy",] == 1
    assert metered.shown(names.WORKERS)["idle",] >= 1


def test_given_results_when_not_recorded_yet_then_the_outbox_shows_them(metered: Metered) -> None:
    node = metered.node
    node.open()
    node.lease(1, 1)
    ((worker, base, _, _),) = executed(node.advance())
    metered.report(worker, base, 0.5)
    assert metered.shown(names.OUTBOX) == {(): 1}
    node.advance(1.0)
    node.recorded(1)
    assert metered.shown(names.OUTBOX) == {(): 0}


def test_given_what_tasks_print_then_the_files_and_all_that_is_not_in_them_are_shown(metered: Metered) -> None:
    assert metered.shown(names.OUTPUT_BYTES) == {(): 5}
    assert metered.shown(names.OUTPUT_DROPPED) == {(): 3 + 7}


def test_given_rows_when_reported_then_each_counts_by_its_own_duration(metered: Metered) -> None:
    node = metered.node
    node.open()
    node.warm_up(0.001)
    node.lease(1, 6)
    pieces = executed(node.advance())
    for worker, base, _, rows in pieces:
        metered.report(worker, base, *[0.0005, 0.05, 7.0][:rows])
    found = metered.runs()["tests:Task"]
    each = [seconds for _, _, _, rows in pieces for seconds in [0.0005, 0.05, 7.0][:rows]]
    assert found.counts == counts(le0p001=each.count(0.0005), le0p1=each.count(0.05), le15=each.count(7.0))
    assert found.total == pytest.approx(sum(each))
    assert max(rows for _, _, _, rows in pieces) > 1


def test_given_very_short_rows_when_reported_then_they_are_not_looked_at_one_by_one(metered: Metered) -> None:
    node = metered.node
    node.open()
    node.warm_up(0.000001)
    node.lease(1, 4)
    for worker, base, _, rows in executed(node.advance()):
        metered.report(worker, base, *[0.000001] * rows, body=b"not opened")
    assert metered.runs()["tests:Task"].counts == counts(le0p001=4)


def test_given_a_body_that_cannot_be_read_when_reported_then_the_mean_counts(metered: Metered) -> None:
    node = metered.node
    node.open()
    node.warm_up(0.001)
    node.lease(1, 4)
    for worker, base, _, rows in executed(node.advance()):
        metered.report(worker, base, *[0.3] * rows, body=b"rubbish")
    assert metered.runs()["tests:Task"].counts == counts(le0p5=4)


@pytest.mark.parametrize("base", [0, 2, 99])
def test_given_rows_that_the_worker_was_not_given_when_reported_then_they_count_for_nothing(
    metered: Metered, base: int
) -> None:
    node = metered.node
    node.open()
    node.lease(1, 1)
    ((worker, _, _, _),) = executed(node.advance())
    metered.report(worker, base, 0.5, 0.5)
    metered.report(1 - worker, 1, 0.5)
    assert metered.runs() == {}


@pytest.mark.parametrize(
    ("row", "executing", "counted"), [(1, True, 1), (1, False, 0), (0, True, 0), (7, True, 0), (-1, True, 0)]
)
def test_given_a_task_that_took_its_worker_with_it_when_that_ends_then_its_time_counts(
    metered: Metered, row: int, executing: bool, counted: int
) -> None:
    node = metered.node
    node.open()
    node.warm_up(0.001)
    node.lease(1, 6)
    worker, base, _, rows = executed(node.advance())[0]
    assert rows > 1
    # The first is reported, and counts by that.
    columns = ResultColumns([b"\xc0"], pack_seconds([0.3]), 100.0, 42)
    done = Done(base, bytes([states.COMPLETED]), encode_columns(columns), 0.3, False)
    metered.meter.reported(node.agent, worker, done)
    node.agent.worker_done(worker, done, node.now)
    metered.meter.worker_ended(node.agent, worker, "SIGSEGV", Progress(base + row, 0.0, executing), 100.0)
    assert metered.runs()["tests:Task"].counts == counts(le0p5=1, le300=counted)


def test_given_workers_that_end_when_counted_then_it_is_by_reason(metered: Metered) -> None:
    for reason in ("exited", "SIGSEGV", "exited", "SIGBUS"):
        metered.meter.worker_ended(metered.node.agent, 0, reason, Progress(0, 0.0, executing=False), 0.0)
    found = metered.shown(names.WORKER_DEATHS)
    assert {reason: count for (reason,), count in found.items() if count} == {"exited": 2, "SIGSEGV": 1, "SIGBUS": 1}
    assert found["retired",] == 0
