"""The generator process's way out: gathers tasks into blocks, and says with each how far the generator has come.

Owns the writing half of the feed's pipe and the progress that is told on it. Must not import zmq. Its host calls user
code; this module calls none but what takes a task apart. The host owes a ``mark`` between two steps of user code.
"""

import os
import socket
import threading
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter

from cyclone.errors import PluginError
from cyclone.master import feed_pipe
from cyclone.master.progress import GeneratorProgress
from cyclone.master.task_options import CLASS_DEFAULTS, TaskDefaults, job_options
from cyclone.protocol import limits
from cyclone.protocol.messages import JobOptions
from cyclone.task import BaseTask, TaskSerialiser

# Tasks go out in blocks of at most so many.
BLOCK_TASKS = 4096

Place = tuple[int, int, int]
"""Which task of which result: ``consumed``, ``consumed_rows`` and ``made`` of ``GeneratorProgress``."""

_Row = tuple[int, bytes, bytes]
_Packer = tuple[int, Callable[[BaseTask], bytes], Callable[[BaseTask], bytes] | None]


class Outgoing:
    """Tasks on their way to the master, and how far the generator has come with them.

    Any thread may flush; only the main one adds. What is told of the progress covers exactly the tasks that were sent:
    tasks of ``generate()`` are appended without the lock, and are what a flush finds beside those that ``on_result``
    made; whatever else moves does so under the lock, after the tasks that it covers.
    """

    def __init__(self, channel: socket.socket, defaults: TaskDefaults = CLASS_DEFAULTS) -> None:
        self._channel = channel
        self._defaults = defaults
        self._pending: list[_Row] = []
        self._pending_bytes = 0
        self._pending_made = 0
        self._jobs: list[JobOptions] = []
        self._with_key: set[int] = set()
        self._packers: dict[tuple[type, float | None], _Packer] = {}
        self._lock = threading.Lock()
        self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.watched = False
        self._look_in_at = BLOCK_TASKS
        self.resume(GeneratorProgress())

    def resume(self, progress: GeneratorProgress) -> None:
        """What the master has recorded: nothing that is told from now on falls behind it."""
        self._cursor = (progress.cursor, progress.cursor_pulled, progress.cursor_consumed)
        self._pulled = progress.pulled
        self._place: Place = (progress.consumed, progress.consumed_rows, progress.made)
        self._exhausted = progress.exhausted

    @property
    def waiting(self) -> bool:
        """Whether there are tasks that were not sent yet."""
        return bool(self._pending)

    def add(self, task: BaseTask, place: Place | None = None) -> bool:
        """Serialise a task now, by value, to be sent soon. Raises PluginError, NotSerialisable.

        ``place`` says which result it was made of: ``consumed``, ``consumed_rows``, ``made``; None is for a task of
        ``generate()``. True when a block is full or a new cursor is due: then ``flush_full`` is owed, after ``mark``
        where that is allowed.
        """
        try:
            job, arguments, identity = self._packers[type(task), task.time_limit_s]
        except (KeyError, AttributeError, TypeError):
            job, arguments, identity = self._new_job(task)
        packed = arguments(task)
        row = (job, packed, b"" if identity is None else identity(task))
        pending = self._pending
        if place is None:
            pending.append(row)
        else:
            with self._lock:
                pending.append(row)
                self._pending_made += 1
                self._place = place
        self._pending_bytes += len(packed)
        if not self.watched:
            # Waking the other thread costs more than a task does, so that it stays awake while tasks keep coming.
            self.watched = True
            os.eventfd_write(self.wake, 1)
        return len(pending) >= self._look_in_at or self._pending_bytes >= limits.BATCH_BYTES_TARGET

    def mark(self, cursor: bytes | None, pulled: int, consumed: int) -> None:
        """``generate()`` has yielded, and ``on_result`` has seen, so much; what it made of that was added.

        A cursor is of this very moment; None keeps the one before.
        """
        with self._lock:
            if cursor is not None:
                # What generate() yields in excess, when it runs again after it had returned, was not added.
                added = self._pulled + len(self._pending) - self._pending_made
                self._cursor = (cursor, min(pulled, added), consumed)
            self._place = max(self._place, (consumed, 0, 0))
            self._look_in_at = BLOCK_TASKS

    def exhaust(self) -> None:
        """``generate()`` has returned."""
        self._exhausted = True

    def flush(self) -> bool:
        """Send what is there; whether there was anything."""
        with self._lock:
            return self._send_block()

    def flush_full(self) -> None:
        """Send what is there if it makes a whole block."""
        if len(self._pending) >= BLOCK_TASKS or self._pending_bytes >= limits.BATCH_BYTES_TARGET:
            self.flush()

    def report(self) -> None:
        """Tell the progress, with tasks or without."""
        with self._lock:
            if not self._send_block():
                self._send(feed_pipe.Advanced(self._progress()))

    def send(self, message: feed_pipe.FromGenerator) -> None:
        """Send a message behind all tasks that were added before it."""
        with self._lock:
            self._send_block()
            self._send(message)

    def _send_block(self) -> bool:
        # The main thread may append tasks of generate() meanwhile: it only ever does so at the end of this very list.
        count = len(self._pending)
        if not count:
            return False
        rows = self._pending[:count]
        del self._pending[:count]
        self._pending_bytes = 0
        self._pulled += count - self._pending_made
        self._pending_made = 0
        if self._cursor[1] != self._pulled:
            self._look_in_at = 0
        runs = [(job, len(list(group))) for job, group in groupby(map(itemgetter(0), rows))]
        used = sorted({job for job, _ in runs})
        keys = None if self._with_key.isdisjoint(used) else [row[2] for row in rows]
        place = {job: index for index, job in enumerate(used)}
        self._send(
            feed_pipe.Block(
                [self._jobs[job] for job in used],
                [(place[job], n) for job, n in runs],
                [row[1] for row in rows],
                self._progress(),
                keys if keys and any(keys) else None,
            )
        )
        return True

    def _progress(self) -> GeneratorProgress:
        return GeneratorProgress(*self._cursor, self._pulled, *self._place, self._exhausted)

    def _send(self, message: feed_pipe.FromGenerator) -> None:
        self._channel.sendall(feed_pipe.pack(message))

    def _new_job(self, task: BaseTask) -> _Packer:
        if not isinstance(task, BaseTask):
            raise PluginError(f"the generator yielded a {type(task).__qualname__}; it must yield instances of BaseTask")
        limit_s = task.time_limit_s
        if limit_s is not None and not (isinstance(limit_s, int | float) and limit_s >= 0):
            raise PluginError(f"{type(task).__qualname__}.time_limit_s is {limit_s!r}; it must be None or seconds")
        serialiser = TaskSerialiser(type(task))
        if len(serialiser.path) > limits.NAME_CHARS_MAX:
            raise PluginError(f"{serialiser.path}: its name is longer than {limits.NAME_CHARS_MAX} characters")
        job = len(self._jobs)
        limit_s = None if limit_s is None else float(limit_s)
        self._jobs.append(job_options(type(task), serialiser.path, limit_s, self._defaults))
        if serialiser.identity is not None:
            self._with_key.add(job)
        found = (job, serialiser.arguments, serialiser.identity)
        self._packers[type(task), limit_s] = found
        return found
