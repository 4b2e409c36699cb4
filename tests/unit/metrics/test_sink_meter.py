"""What a sink shows of its parts."""

import time
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from cyclone.metrics import names
from cyclone.metrics.board import Board
from cyclone.metrics.histogram import Histogram
from cyclone.metrics.labels import OTHER, TASK_CLASSES_MAX
from cyclone.metrics.names import Metric
from cyclone.metrics.sink import SinkMeter
from cyclone.protocol.traffic import Traffic
from cyclone.sinks.receiver import ReceiverStatus

if TYPE_CHECKING:
    from cyclone.sinks.receiver import Receiver


class _Spool:
    waiting_blocks = 3
    waiting_bytes = 4096

    def oldest_age_s(self) -> float:
        return 12.5


def shown(counts: Any, full: str = "") -> dict[Metric, dict[tuple[str, ...], Any]]:
    board = Board()
    status = ReceiverStatus(2, 50, 1, full, 4, 6, Traffic(1, 10, 2, 20))
    receiver = SimpleNamespace(status=lambda: status, woke_at=time.monotonic())
    SinkMeter(board, _Spool(), counts).turn(cast("Receiver", receiver))
    return {metric: dict(values) for metric, values in board.snapshot.items()}


def test_given_a_sink_when_shown_then_every_metric_of_a_sink_is_there() -> None:
    flush = Histogram(names.SINK_FLUSH.bounds)
    flush.observe(0.2)
    counts = SimpleNamespace(
        stored=Counter(ost_io=7, other=1), rejected=Counter(ost_io=2), errors=5, buffered=9, flush_seconds=flush
    )
    found = shown(counts, full="no room")
    constant = {names.BUILD_INFO, names.START_TIME}
    assert found.keys() == {metric for metric in names.METRICS if "sink" in metric.servers} - constant
    assert found[names.SINK_RECORDS] == {
        ("ost_io", "stored"): 7,
        ("ost_io", "rejected"): 2,
        ("other", "stored"): 1,
        ("other", "rejected"): 0,
    }
    assert found[names.SINK_FLUSH][()].total == 0.2
    plain = {
        names.SINK_MASTERS: 2,
        names.SINK_BLOCKS: 50,
        names.SINK_GAPS: 1,
        names.SINK_ERRORS: 5,
        names.SINK_BUFFERED: 9,
        names.SINK_SPOOL_BYTES: 4096,
        names.SINK_SPOOL_BLOCKS: 3,
        names.SINK_SPOOL_FULL: 1,
        names.SINK_OLDEST: 12.5,
        names.MESSAGES_DROPPED: 4,
        names.AUTH_FAILURES: 6,
    }
    assert {metric: found[metric][()] for metric in plain} == plain
    assert shown(counts)[names.SINK_SPOOL_FULL] == {(): 0}


def test_given_more_records_than_are_named_when_shown_then_the_others_are_summed() -> None:
    stored = Counter({f"record{number}": 1 for number in range(TASK_CLASSES_MAX + 5)})
    counts = SimpleNamespace(stored=stored, rejected=Counter(), errors=0, buffered=0, flush_seconds=Histogram(()))
    found = shown(counts)[names.SINK_RECORDS]
    assert len(found) == 2 * (TASK_CLASSES_MAX + 1)
    assert found[OTHER, "stored"] == 5
