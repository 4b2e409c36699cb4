"""What tasks print: from a worker's standard output and error to the controller's standard error, bounded and escaped.

Owns the controller's end of the pipe that both descriptors of a worker are. Nothing here may block or end the
controller, whatever a task does to its end. The caller owes ``relay`` whenever the pipe is readable, ``drain`` and
``settle`` when the worker has reported something while ``discarding``, and ``close`` after the worker's end.

Costs a task that prints nothing nothing: which task has printed is read from the row that its worker publishes, at the
moment when the bytes are read: what a short task left in the pipe may count for the next one.
"""

import codecs
import contextlib
import logging
import os
import sys
from collections.abc import Callable

from cyclone.logs import escape_lines
from cyclone.protocol.limits import LOG_LINE_CHARS_MAX

log = logging.getLogger("cyclone.controller")

# What a pipe holds, unless a task has changed that.
_READ_BYTES = 1 << 16
# Somebody, such as a child that outlives its worker, may go on writing.
_READS_MAX = 32


class TaskOutput:
    """One worker's. ``bytes_max`` is per task, 0 for no bound; ``closed``: nobody can write any more."""

    def __init__(self, descriptor: int, bytes_max: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._bytes_max = bytes_max
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._partial = ""
        self._seq = self._task_id = 0
        self._passed = self._discarded = 0
        self.closed = False

    @property
    def discarding(self) -> bool:
        """Whether there is something to ``settle``."""
        return self._discarded > 0

    def fileno(self) -> int:
        """To be polled for reading, until ``closed``."""
        return self._descriptor

    def relay(self, row: Callable[[], tuple[int, int]]) -> bool:
        """Pass on what is there; whether there was anything. ``row`` tells where the worker is, and which task that is.

        It is asked when the bytes are read: a task that goes on printing is then the right one.
        """
        # Asked before the read, too: of a task that has ended by now nothing more can come into the pipe.
        left = self.discarding and row()[0]
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self.closed = True
            return False
        if not self.discarding:
            self._begin(*row())
        room = self._bytes_max - self._passed if self._bytes_max else len(data)
        self._passed += min(room, len(data))
        self._discarded += max(0, len(data) - room)
        self._show(self._decoder.decode(data[:room]))
        # Of a task that printed too much the pipe was still full when it ended: that is all its own.
        if left and len(data) < _READ_BYTES:
            self.settle(left, executing=True)
        return True

    def drain(self, row: Callable[[], tuple[int, int]]) -> None:
        """Pass on all that is there, within reason."""
        for _ in range(_READS_MAX):
            if not self.relay(row):
                break

    def settle(self, seq: int, executing: bool) -> None:
        """The worker is in this row, or was in it last: say what was discarded of a task that has ended.

        The bound stays that of the last row until there is another: a task may have left a thread that prints.
        """
        if self._discarded and not (executing and seq == self._seq):
            self._end_line()
            log.warning("task=%d printed %d bytes more, discarded", self._task_id, self._discarded)
            self._discarded = 0

    def close(self, row: Callable[[], tuple[int, int]]) -> None:
        """After the worker's end: pass on its last words, and give the pipe up."""
        self.drain(row)
        self.settle(self._seq, executing=False)
        self._end_line()
        os.close(self._descriptor)

    def _begin(self, seq: int, task_id: int) -> None:
        if seq != self._seq:
            self._seq, self._task_id, self._passed = seq, 0, 0
        # A batch that has ended has no ids any more.
        self._task_id = task_id or self._task_id

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


def _write(text: str) -> None:
    # Nobody reads our standard error any more: the tasks are not to suffer from it.
    with contextlib.suppress(OSError):
        sys.stderr.write(escape_lines(text) + "\n")
        sys.stderr.flush()
