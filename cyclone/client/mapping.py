"""``Executor.map``: columns in, columns out, in order, and no object per task.

Owns the tasks of one map. The caller's thread pulls the iterables, as far as the buffer allows, and yields; the
stream's thread takes the rows and leaves the blocks of results as they came: whoever wants values reads them.
"""

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from cyclone.client import outcomes
from cyclone.client.checking import too_large
from cyclone.client.job_stream import WAITING_STATES
from cyclone.client.outcomes import Raised, Segment
from cyclone.protocol.job_messages import JobBlock
from cyclone.protocol.limits import VALUE_BYTES_MAX

if TYPE_CHECKING:
    from cyclone.client.job_stream import JobStream
    from cyclone.client.stream import Stream

log = logging.getLogger("cyclone.client")

# Under way at most where the caller names no number: enough to keep a large cluster busy, and little memory.
_TASKS_MAX = 65536
_BYTES_MAX = 64 << 20
# At most so many before the first result has told how large they are.
_TASKS_AT_FIRST = 8192
# A slow iterable must not hold back what is finished.
_PULL_AT_FIRST_S = 0.5
_PULL_S = 0.02
# For one item: whoever takes so long for it is not asked while there is something to yield.
_SLOW_S = 0.001


class MapTasks:
    """The tasks of one map; see the module. ``calls`` are the arguments of each, ``pack`` makes a row of them.
    ``has_end``: whether that is known of them. ``owner`` is kept alive until they have ended.
    """

    def __init__(
        self,
        stream: "Stream",
        calls: Iterator[tuple[Any, ...]],
        pack: Callable[[tuple[Any, ...]], bytes],
        by_value: bool,
        buffersize: int | None,
        has_end: bool,
        owner: object,
    ) -> None:
        self._stream = stream
        self._owner = owner
        self._calls = calls
        self._pack = pack
        self._by_value = by_value
        self._buffersize = buffersize
        self._has_end = has_end
        self.job: JobStream | None = None
        self._pid = os.getpid()
        # Who iterates pulls, and who shuts the Executor down pulls the rest.
        self._pulling = threading.RLock()
        self._rows: deque[bytes] = deque()
        # Whether the iterables have ended; whether nothing more may be submitted.
        self._ended = self._closed = False
        self._inbox: SimpleQueue[JobBlock | None] = SimpleQueue()
        self._segments: dict[int, Segment] = {}
        self._pulled = self._yielded = self._read = 0
        self._row_bytes = self._result_bytes = 0
        self._is_slow = False
        # Results from this index on will not come, and why.
        self._lost_from = 0
        self._error: Exception | None = None

    # The caller's thread.

    def begin(self) -> None:
        """Submit what may be before the first result is wanted."""
        self._pull(self._buffersize or _TASKS_AT_FIRST, _PULL_AT_FIRST_S)

    def pull_rest(self) -> None:
        """Submit all that is left, where it has an end and nobody said how much may be under way, and nothing after."""
        while self._has_end and not (self._buffersize or self._ended or self._closed):
            self._pull(self._pulled + _TASKS_AT_FIRST, _PULL_AT_FIRST_S)
        if not (self._ended or self._closed) and self.job:
            log.warning(
                "map of %s: its executor is shut down after %d calls, before the end of its input, which is pulled as "
                "results are taken: take them all before, or give map a list, and no buffersize",
                self.job.spec.name,
                self._pulled,
            )
        self.close()

    def cancel_waiting(self) -> None:
        """Cancel what has not been started."""
        dropped = 0
        self._closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._rows.pop()
                dropped += 1
        self._lost_from, self._error = self._pulled - dropped, CancelledError()
        if self.job:
            self._stream.cancel(self.job, states=WAITING_STATES)

    def results(self, end_at: float | None) -> Iterator[Any]:
        """What the calls returned, in order; raises what one of them raised, and then the others are cancelled.

        TimeoutError where that monotonic time is over.
        """
        try:
            while True:
                self._fill()
                if self._ended and self._yielded == self._pulled:
                    return
                segment = self._next(end_at)
                values = segment.values
                # So that nothing here keeps alive what was yielded.
                values.reverse()
                if segment.failed:
                    yield from _checked(values)
                else:
                    while values:
                        yield values.pop()
                self._yielded = segment.first + segment.rows
        finally:
            self._abandon()

    def _fill(self) -> None:
        """Pull as much as may be under way, while nothing is ready to be yielded."""
        if self._ended:
            return
        if self._closed and self._yielded == self._pulled and self._error is None:
            raise RuntimeError("cannot schedule new futures after shutdown")
        self._drain()
        if self._is_slow and self._yielded in self._segments:
            return
        while not self._ended and not self._closed:
            before = self._pulled
            self._pull(self._window(), _PULL_S)
            self._drain()
            if self._yielded in self._segments or self._pulled == before:
                return

    def _window(self) -> int:
        if self._buffersize:
            return self._buffersize
        if not self._read:
            return _TASKS_AT_FIRST
        size = self._row_bytes / self._pulled + self._result_bytes / self._read
        return min(_TASKS_MAX, max(1, int(_BYTES_MAX / (size + 1))))

    def _pull(self, under_way_max: int, seconds: float) -> None:
        """Until so many are under way, so much time has passed, or the iterables have ended."""
        # In a child that was forked another thread may have the lock for ever.
        if self._pid == os.getpid():
            with self._pulling:
                self._pull_alone(under_way_max, seconds)

    def _pull_alone(self, under_way_max: int, seconds: float) -> None:
        room = under_way_max - (self._pulled - self._yielded)
        if room <= 0 or self._ended or self._closed:
            return
        rows, stream, pack, clock = self._rows.append, self._stream, self._pack, time.monotonic
        began, size, count = clock(), 0, 0
        until = began + seconds
        try:
            for arguments in islice(self._calls, room):
                row = pack(arguments)
                if len(row) > VALUE_BYTES_MAX:
                    raise too_large(f"the arguments of call {self._pulled + count}", len(row))
                size += len(row)
                count += 1
                rows(row)
                if not stream.has_rows:
                    stream.notify()
                if clock() > until or size > _BYTES_MAX:
                    break
            else:
                if count < room:
                    self._end()
        except BaseException:
            # Of an iterable, or of what cannot be sent: no more will come.
            self._end()
            raise
        finally:
            self._pulled += count
            self._row_bytes += size
            self._is_slow = clock() - began > count * _SLOW_S

    def _end(self) -> None:
        """No more calls will come of the iterables."""
        self._ended = True
        self._owner = None
        self._stream.notify()

    def _next(self, end_at: float | None) -> Segment:
        """The results behind those that were yielded, waited for."""
        self._drain()
        while self._yielded not in self._segments:
            if self._pid != os.getpid():
                raise RuntimeError("these results belong to the process that was forked")
            if self._error and self._yielded >= self._lost_from:
                raise self._error
            wait_s = None if end_at is None else end_at - time.monotonic()
            if wait_s is not None and wait_s <= 0 and self._inbox.empty():
                raise TimeoutError
            try:
                self._take_in(self._inbox.get(timeout=None if wait_s is None else max(0.0, wait_s)))
            except Empty:
                continue
            self._drain()
        return self._segments.pop(self._yielded)

    def _drain(self) -> None:
        while not self._inbox.empty():
            self._take_in(self._inbox.get())

    def _take_in(self, block: JobBlock | None) -> None:
        if block is None:
            return
        assert self.job
        self._result_bytes += len(block.body)
        for segment in outcomes.segments(block, self.job.job_id, self._by_value):
            self._read += segment.rows
            self._segments[segment.first] = segment

    def _abandon(self) -> None:
        """Nobody wants the rest."""
        if self._pid != os.getpid() or (self._ended and self._yielded == self._pulled):
            return
        self._end()
        self._rows.clear()
        self._segments.clear()
        if self.job:
            self._stream.cancel(self.job)

    # The stream's thread: see ``job_stream.Tasks``.

    def take(self, index: int, count_max: int, bytes_max: int) -> list[bytes]:
        """Rows in their order."""
        pending, size = self._rows, 0
        rows: list[bytes] = []
        while pending and len(rows) < count_max and size < bytes_max:
            try:
                row = pending.popleft()
            except IndexError:
                # Cleared meanwhile.
                break
            size += len(row)
            rows.append(row)
        return rows

    def exhausted(self) -> bool:
        """The iterables have ended, or were cut off, and all is taken."""
        return (self._ended or self._closed) and not self._rows

    def deliver(self, block: JobBlock) -> int:
        """Leave it for the caller."""
        self._inbox.put(block)
        return outcomes.count(block)

    def refused(self, count: int, error: Exception) -> None:
        """Results from this index on will not come."""
        self._lost_from, self._error = count, error
        self.close()
        self._inbox.put(None)

    def lost(self, error: Exception) -> None:
        """Nor any others than those that are there."""
        self.refused(0, error)

    def close(self) -> None:
        """No more calls than those that were pulled."""
        self._closed = True

    def forked(self, error: Exception) -> None:
        """The caller's thread sees it by itself."""


def _checked(values: list[Any]) -> Iterator[Any]:
    while values:
        value = values.pop()
        if type(value) is Raised:
            # What is behind it is not wanted any more.
            values.clear()
            try:
                raise value.error
            finally:
                # What is raised knows this frame: it would keep itself alive.
                del value
        yield value
