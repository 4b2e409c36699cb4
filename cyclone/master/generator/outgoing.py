"""The generator process's way out: gathers tasks into blocks, and says with each how far the generator has come.

Owns the writing half of the feed's pipe and the progress that is told on it. Must not import zmq. Of user code it calls
``generate()`` for its next task, and what takes a task apart. The host owes a ``mark`` between two steps of user code.
"""

import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from cyclone.errors import PluginError
from cyclone.master.generator import feed_pipe
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.master.generator.task_options import CLASS_DEFAULTS, TaskDefaults, job_options
from cyclone.protocol import limits
from cyclone.protocol.messages import JobOptions
from cyclone.protocol.runs import Runs
from cyclone.task import BaseTask, TaskSerialiser

# Tasks go out in blocks of at most so many.
BLOCK_TASKS = 4096
# What stands behind the last task of generate().
END = object()

Place = tuple[int, int, int]
"""Which task of which result: ``consumed``, ``consumed_rows`` and ``made`` of ``GeneratorProgress``."""


class Outgoing:
    """Tasks on their way to the master, and how far the generator has come with them.

    Any thread may flush; only the main one adds. What is told of the progress covers exactly the tasks that were sent:
    a run of alike tasks of ``generate()`` is appended without the lock, and is what a flush finds beside those that
    ``on_result`` made; whatever else moves does so under the lock, after the tasks that it covers.

    ``empty_at`` is a time before which nothing of what waits was added.
    """

    def __init__(self, channel: socket.socket, defaults: TaskDefaults = CLASS_DEFAULTS) -> None:
        self._channel = channel
        self._defaults = defaults
        # What waits, in columns: arguments; (job, number of its first task) of each run, of which the last one is open;
        # keys by number, of those tasks that have one. The number of a task says how many were added before.
        self._pending: list[bytes] = []
        self._runs: Runs = []
        self._keys: dict[int, bytes] = {}
        self._sent = 0
        self._pending_bytes = 0
        self._pending_made = 0
        self._pulled_job = self._open_job = -1
        self._jobs: list[JobOptions] = []
        self._serialisers: list[TaskSerialiser] = []
        self._job_of: dict[tuple[type, float | None], int] = {}
        self._lock = threading.Lock()
        self.empty_at = 0.0
        self.resume(GeneratorProgress())

    def resume(self, progress: GeneratorProgress) -> None:
        """What the master has recorded: nothing that is told from now on falls behind it."""
        self._cursor = (progress.cursor, progress.cursor_pulled, progress.cursor_consumed)
        self._pulled_sent = progress.pulled
        self._place: Place = (progress.consumed, progress.consumed_rows, progress.made)
        self._exhausted = progress.exhausted

    @property
    def waiting(self) -> bool:
        """Whether there are tasks that were not sent yet."""
        return bool(self._pending)

    @property
    def pulled(self) -> int:
        """How many tasks of ``generate()`` were added, with those that were recorded before a crash."""
        with self._lock:
            return self._pulled_sent + len(self._pending) - self._pending_made

    def pull(self, tasks: Iterator[Any], until: int, asked: list[None]) -> bool:
        """Add what ``generate()`` yields, until a block is full, so many are pulled in all, or it is asked to come out.

        False when it has returned: behind its last task ``tasks`` yields END. Raises what user code raises, PluginError
        and NotSerialisable.
        """
        task = next(tasks)
        while task is not END:
            full = self.add(task)
            count = min(until - self.pulled, BLOCK_TASKS - len(self._pending))
            if full or asked or count <= 0:
                return True
            self._pulled_job = self._open_job
            serialiser = self._serialisers[self._open_job]
            if serialiser.identity is not None:
                task = next(tasks)
                continue
            bytes_max = limits.BATCH_BYTES_TARGET - self._pending_bytes
            others, size = serialiser.take_alike(task, tasks, self._pending, count, bytes_max, asked)
            # A flush of the other thread may have come in between: then it is too much, and a block goes out early.
            self._pending_bytes += size
            if not others:
                return True
            task = others[0]
        return False

    def add(self, task: Any, place: Place | None = None) -> bool:
        """Serialise a task now, by value, to be sent soon. Raises PluginError, NotSerialisable.

        ``place`` says which result it was made of: ``consumed``, ``consumed_rows``, ``made``; None is for a task of
        ``generate()``. True when a block is full: then ``flush_full`` is owed, after ``mark`` where that is allowed.
        """
        try:
            job = self._job_of[type(task), task.time_limit_s]
        except (KeyError, AttributeError, TypeError):
            job = self._new_job(task)
        serialiser = self._serialisers[job]
        packed = serialiser.arguments(task)
        key = b"" if serialiser.identity is None else serialiser.identity(task)
        pending = self._pending
        with self._lock:
            if job != self._open_job:
                self._open_run(job)
            if key:
                self._keys[self._sent + len(pending)] = key
            pending.append(packed)
            if place is not None:
                self._pending_made += 1
                self._place = place
        self._pending_bytes += len(packed)
        return len(pending) >= BLOCK_TASKS or self._pending_bytes >= limits.BATCH_BYTES_TARGET

    def reopen(self) -> None:
        """``generate()`` goes on behind a ``wait()``, in which ``on_result`` may have made tasks of another job."""
        with self._lock:
            if self._open_job != self._pulled_job:
                self._open_run(self._pulled_job)

    def mark(self, cursor: bytes | None, pulled: int, consumed: int) -> None:
        """``generate()`` has yielded, and ``on_result`` has seen, so much; what it made of that was added.

        A cursor is of this very moment; None keeps the one before.
        """
        # What generate() yields in excess, when it runs again after it had returned, was not added.
        pulled = min(pulled, self.pulled)
        with self._lock:
            if cursor is not None:
                self._cursor = (cursor, pulled, consumed)
            self._place = max(self._place, (consumed, 0, 0))

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

    def _open_run(self, job: int) -> None:
        self._runs.append((job, self._sent + len(self._pending)))
        self._open_job = job

    def _send_block(self) -> bool:
        self.empty_at = time.monotonic()
        # The main thread may append tasks of generate() meanwhile: it only ever does so at the end of this very list.
        count = len(self._pending)
        if not count:
            return False
        args = self._pending[:count]
        del self._pending[:count]
        first, stop = self._sent, self._sent + count
        starts = [*self._runs, (self._open_job, stop)]
        runs = [(job, until - start) for (job, start), (_, until) in pairwise(starts) if until > start]
        used = sorted({job for job, _ in runs})
        place = {job: index for index, job in enumerate(used)}
        keys = [self._keys.pop(number, b"") for number in range(first, stop)] if self._keys else None
        self._runs = [(self._open_job, stop)]
        self._sent = stop
        self._pulled_sent += count - self._pending_made
        self._pending_bytes = self._pending_made = 0
        jobs = [self._jobs[job] for job in used]
        self._send(feed_pipe.Block(jobs, [(place[job], n) for job, n in runs], args, self._progress(), keys))
        return True

    def _progress(self) -> GeneratorProgress:
        return GeneratorProgress(*self._cursor, self._pulled_sent, *self._place, self._exhausted)

    def _send(self, message: feed_pipe.FromGenerator) -> None:
        self._channel.sendall(feed_pipe.pack(message))

    def _new_job(self, task: Any) -> int:
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
        self._serialisers.append(serialiser)
        self._job_of[type(task), limit_s] = job
        return job
