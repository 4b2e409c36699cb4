"""A worker's standard output and error: what goes through them is known as what the row prints that executes.

Owns ``sys.stdout`` and ``sys.stderr`` of a worker. Whatever is printed without an end of line is passed on when the row
ends, which the context owes (``flush`` where ``dirty`` was called). Where a task has put something else in the place of
the pipe, that gets the bytes as they are.
"""

import contextlib
import fcntl
import io
import os
import select
import sys
import termios
from array import array
from collections.abc import Callable
from typing import Any, TextIO

from cyclone.controller import pipe, printed
from cyclone.protocol.messages import STDERR, STDOUT

_DESCRIPTORS = {STDOUT: 1, STDERR: 2, printed.LOG: 2, printed.DROPPED: 2}


class Printing:
    """``dirty`` is called whenever a row prints; ``words`` are the worker's, ``mark`` is what its controller knows.

    ``bytes_max`` is what the controller takes of a row, 0 for all. Without a mark the descriptors are not the
    controller's pipe, and get everything as it is.
    """

    def __init__(self, words: memoryview, mark: bytes, bytes_max: int, dirty: Callable[[], None]) -> None:
        self._words = words
        self._mark = mark
        self._bytes_max = bytes_max
        self._passed = self._dropped = 0
        self._dirty = dirty
        # The descriptors are those of the controller's pipe, until a task changes that.
        self._pipes = {descriptor: _identity(descriptor) for descriptor in set(_DESCRIPTORS.values())}
        self._stdout, self._stderr = self._stream(STDOUT, sys.stdout), self._stream(STDERR, sys.stderr)
        self.log = self._stream(printed.LOG, sys.stderr)

    def install(self) -> None:
        """From now on ``print`` comes here."""
        sys.stdout = sys.__stdout__ = self._stdout  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self._stderr  # type: ignore[misc]

    def write(self, stream: int, data: bytes | memoryview) -> None:
        """The row that executes prints this. Raises OSError where nobody can read it."""
        descriptor = _DESCRIPTORS[stream]
        if self._mark and _identity(descriptor) == self._pipes[descriptor]:
            for piece in printed.marked(self._mark, self._words[pipe.EXECUTING_SEQ], stream, data):
                _write(descriptor, piece)
        else:
            _write(descriptor, data)

    def pass_on(self, stream: int, data: bytes) -> None:
        """A program of this row prints this: the controller need not read for ever what it discards."""
        self._dirty()
        room = max(0, self._bytes_max - self._passed) if self._bytes_max else len(data)
        self._passed += len(data)
        self._dropped += len(data[room:])
        self.write(stream, data[:room])

    def leave(self) -> None:
        """The row ends, and has taken long enough to have children: what is still in the pipe is of this row."""
        if not self._mark:
            return
        unread = array("i", [0])
        with contextlib.suppress(OSError):
            fcntl.ioctl(_DESCRIPTORS[STDOUT], termios.FIONREAD, unread)
            if unread[0]:
                self.write(STDOUT, b"")

    def flush(self) -> None:
        """The row ends: pass on what has no end of line yet."""
        dropped, self._passed, self._dropped = self._dropped, 0, 0
        if dropped:
            with contextlib.suppress(OSError):
                self.write(printed.DROPPED, dropped.to_bytes(printed.DROPPED_BYTES, "little"))
        for stream in (self._stdout, self._stderr):
            # A task may have closed it, taken it apart, or closed what is behind it.
            with contextlib.suppress(OSError, ValueError):
                stream.flush()

    def _stream(self, stream: int, like: TextIO) -> io.TextIOWrapper:
        buffer: Any = _Buffer(_Raw(self, stream), self._dirty)
        return io.TextIOWrapper(buffer, like.encoding, like.errors, line_buffering=True, write_through=True)


class _Raw(io.RawIOBase):
    """One stream, as Python wants it."""

    def __init__(self, printing: Printing, stream: int) -> None:
        self._printing = printing
        self._stream = stream

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return _DESCRIPTORS[self._stream]

    def write(self, data: Any) -> int:
        self._printing.write(self._stream, data)
        return len(data)


class _Buffer(io.BufferedWriter):
    """Notes that there is something."""

    def __init__(self, raw: _Raw, dirty: Callable[[], None]) -> None:
        super().__init__(raw)
        self._dirty = dirty

    def write(self, data: Any) -> int:
        self._dirty()
        return super().write(data)


def _identity(descriptor: int) -> tuple[int, int]:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return (-1, -1)
    return status.st_dev, status.st_ino


def _write(descriptor: int, data: bytes | memoryview) -> None:
    unwritten = memoryview(data)
    while unwritten:
        try:
            unwritten = unwritten[os.write(descriptor, unwritten) :]
        except BlockingIOError:
            # A child has made it so, for all who have it.
            select.select([], [descriptor], [])
