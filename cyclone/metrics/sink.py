"""What a sink shows of its receiver, its spool and its consumer: ``cyclone.sinks.receiver.Meter``.

They count by themselves; here it is read once a second, in the main loop. The consumer counts in a thread of its own,
so that figures of one moment may be a row apart.
"""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from cyclone.metrics import names
from cyclone.metrics.board import Board, Sheet
from cyclone.metrics.histogram import Histogram
from cyclone.metrics.labels import ClassLabels
from cyclone.metrics.loop import LoopMeter

if TYPE_CHECKING:
    from cyclone.sinks.receiver import Receiver


class Counts(Protocol):
    """What a consumer counts. ``stored`` and ``rejected`` by table, or by the record's name."""

    @property
    def stored(self) -> Mapping[str, int]: ...
    @property
    def rejected(self) -> Mapping[str, int]: ...
    @property
    def errors(self) -> int: ...
    @property
    def buffered(self) -> int: ...
    @property
    def flush_seconds(self) -> Histogram: ...


class Waiting(Protocol):
    """What a spool tells of itself."""

    @property
    def waiting_blocks(self) -> int: ...
    @property
    def waiting_bytes(self) -> int: ...
    def oldest_age_s(self) -> float: ...


class SinkMeter:
    """See the module."""

    def __init__(self, board: Board, spool: Waiting, counts: Counts) -> None:
        self._loop = LoopMeter(board)
        self._spool = spool
        self._counts = counts
        self._labels = ClassLabels()

    def turn(self, receiver: "Receiver") -> None:
        """A turn of the loop has ended."""
        if self._loop.turned(receiver.woke_at):
            self._show(receiver)

    def _show(self, receiver: "Receiver") -> None:
        sheet, status = Sheet(), receiver.status()
        sheet.put(names.SINK_MASTERS, status.masters)
        sheet.put(names.SINK_BLOCKS, status.blocks)
        sheet.put(names.SINK_GAPS, status.gaps)
        sheet.put(names.AUTH_FAILURES, status.refused_connections)
        self._put_counts(sheet)
        sheet.put(names.SINK_SPOOL_BYTES, self._spool.waiting_bytes)
        sheet.put(names.SINK_SPOOL_BLOCKS, self._spool.waiting_blocks)
        sheet.put(names.SINK_SPOOL_FULL, float(bool(status.full)))
        sheet.put(names.SINK_OLDEST, self._spool.oldest_age_s())
        self._loop.show(sheet, status.traffic, status.bad_messages)

    def _put_counts(self, sheet: Sheet) -> None:
        counts = self._counts
        stored, rejected = self._by_label(counts.stored), self._by_label(counts.rejected)
        # Both from the beginning: Prometheus cannot see a counter rise that was not there before.
        for label in {**stored, **rejected}:
            sheet.put(names.SINK_RECORDS, stored[label], label, "stored")
            sheet.put(names.SINK_RECORDS, rejected[label], label, "rejected")
        sheet.put(names.SINK_ERRORS, counts.errors)
        sheet.put(names.SINK_BUFFERED, counts.buffered)
        sheet.put(names.SINK_FLUSH, counts.flush_seconds.buckets())

    def _by_label(self, by_record: Mapping[str, int]) -> Counter[str]:
        sums: Counter[str] = Counter()
        # A copy, in one step of the interpreter: the other thread may add to it.
        for record, count in dict(by_record).items():
            sums[self._labels.of(record)] += count
        return sums
