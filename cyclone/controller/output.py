"""What tasks print: from a worker's standard output and error to where it is kept, or to the controller's log; bounded.

Owns the controller's end of the pipe that both descriptors of a worker are. Nothing here may block or end the
controller, whatever a task does to its end. The caller owes ``relay`` whenever the pipe is readable, ``drain`` before
it believes a report of the worker, ``settle`` behind it while ``discarding``, and ``close`` after the worker's end.

What goes through the worker's own streams says which row it is of (``cyclone.controller.printed``), and so does the end
of a row that has taken a while. The rest is of the row that the worker publishes when the bytes are read: what a child
of a very short task left in the pipe may count for the next one.
"""

import codecs
import contextlib
import logging
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

from cyclone.controller.printed import DROPPED, DROPPED_BYTES, LOG, Unmarker
from cyclone.logs import escape_lines
from cyclone.protocol.limits import LOG_LINE_CHARS_MAX
from cyclone.protocol.messages import CUT, STDOUT, TaskRange

log = logging.getLogger("cyclone.controller")

Keep = Callable[[TaskRange, int, int, bytes], None]
"""Takes what a lease of one task has printed: behind how many bytes, to which stream, and what."""

# What a pipe holds, unless a task has changed that.
_READ_BYTES = 1 << 16
# Somebody, such as a child that outlives its worker, may go on writing.
_READS_MAX = 32


class Rows(NamedTuple):
    """Where a worker is: the row that it is or was last in, and the task in a row, None where it is not out there."""

    current: Callable[[], int]
    lease: Callable[[int], TaskRange | None]


class TaskOutput:
    """One worker's. ``bytes_max`` is per task, 0 for no bound; ``closed``: nobody can write any more.

    What tasks print goes to ``keep``, where there is that; to the log goes what nobody keeps, and with ``is_logged``
    everything.
    """

    def __init__(
        self,
        descriptor: int,
        mark: bytes,
        rows: Rows,
        bytes_max: int,
        keep: Keep | None = None,
        is_logged: bool = True,
    ) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._unmarker = Unmarker(mark)
        self._rows = rows
        self._bytes_max = bytes_max
        self._keep = keep
        self._is_logged = is_logged
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._partial = ""
        self._seq = 0
        self._lease: TaskRange | None = None
        self._passed = self._discarded = 0
        self.closed = False
        self.discarded_bytes = 0

    @property
    def discarding(self) -> bool:
        """Whether there is something to ``settle``."""
        return self._discarded > 0

    def fileno(self) -> int:
        """To be polled for reading, until ``closed``."""
        return self._descriptor

    def relay(self) -> bool:
        """Pass on what is there; whether there was anything."""
        # Before the read: of a task that has ended by now nothing more can come into the pipe.
        current = self._rows.current()
        left = self.discarding and current
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self.closed = True
            return False
        found = self._unmarker.take(data)
        marks = [seq for seq, _, _ in found if seq]
        for seq, stream, piece in found:
            if seq:
                del marks[:1]
            elif not self.discarding:
                # It was there before what follows it was.
                seq = marks[0] if marks else current
            self._take(seq, stream, piece)
        # Of a task that printed too much the pipe was still full when it ended: that is all its own.
        if left and len(data) < _READ_BYTES:
            self._take_rest()
            self.settle(left, executing=True)
        return True

    def drain(self) -> None:
        """Pass on all that is there, within reason."""
        for _ in range(_READS_MAX):
            if not self.relay():
                self._take_rest()
                break

    def settle(self, seq: int, executing: bool) -> None:
        """The worker is in this row, or was in it last: say what was discarded of a task that has ended.

        The bound stays that of the last row until there is another: a task may have left a thread that prints.
        """
        if self._discarded and not (executing and seq == self._seq):
            self._end_line()
            task_id = self._lease.first if self._lease else 0
            log.warning("task=%d printed %d bytes more, discarded", task_id, self._discarded)
            if self._keep and self._lease:
                setting = f"[processing] stdout_max_bytes = {self._bytes_max}"
                cut = f"{self._discarded:,} more bytes were discarded: {setting}\n"
                self._keep(self._lease, self._passed, CUT, cut.encode())
                self._passed += len(cut)
            self.discarded_bytes += self._discarded
            self._discarded = 0

    def close(self) -> None:
        """After the worker's end: pass on its last words, and give the pipe up."""
        self.drain()
        self._take_rest()
        self.settle(self._seq, executing=False)
        self._end_line()
        os.close(self._descriptor)

    def _take_rest(self) -> None:
        """The pipe is empty: a mark is written in one piece, so that what looked like the beginning of one is none."""
        self._take(0, STDOUT, self._unmarker.end())

    def _take(self, seq: int, stream: int, data: bytes) -> None:
        if seq > self._seq:
            self.settle(seq, executing=True)
            self._seq, self._lease, self._passed = seq, None, 0
        # A batch that has ended has no ids any more.
        self._lease = self._lease or self._rows.lease(self._seq)
        if stream == DROPPED:
            self._discarded += int.from_bytes(data[:DROPPED_BYTES], "little")
            return
        room = max(0, self._bytes_max - self._passed) if self._bytes_max else len(data)
        shown = data[:room]
        if self._keep and self._lease and shown:
            self._keep(self._lease, self._passed, stream, shown)
        self._passed += len(shown)
        self._discarded += len(data) - len(shown)
        # What a worker logs is the controller's log, whoever keeps it besides.
        if self._is_logged or stream == LOG or not (self._keep and self._lease):
            self._show(self._decoder.decode(shown))

    def _show(self, text: str) -> None:
        """Whole lines, so that those of several workers do not mix; a line without an end is broken at the limit."""
        whole, newline, self._partial = (self._partial + text).rpartition("\n")
        if len(self._partial) > LOG_LINE_CHARS_MAX:
            self._end_line(whole + newline)
        elif newline:
            _write(whole)

    def _end_line(self, before: str = "") -> None:
        text, self._partial = before + self._partial, ""
        if text:
            _write(text)


class Elsewhere:
    """The output of a worker that prints where its controller does: nothing of it comes here. As ``TaskOutput``."""

    closed, discarding, discarded_bytes = True, False, 0

    def fileno(self) -> int:
        """There is nothing to be polled."""
        return -1

    def relay(self) -> bool:
        """Nothing comes."""
        return False

    def drain(self) -> None:
        """Nothing comes."""

    def settle(self, seq: int, executing: bool) -> None:
        """Nothing is discarded."""

    def close(self) -> None:
        """Nothing is open."""


def _write(text: str) -> None:
    # Nobody reads our standard error any more: the tasks are not to suffer from it.
    with contextlib.suppress(OSError):
        sys.stderr.write(escape_lines(text) + "\n")
        sys.stderr.flush()
