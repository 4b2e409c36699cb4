"""A worker process: runs ``execute`` of one task after the other and reports batches of outcomes.

Owns one end of the pipe and the worker's shared words (``cyclone.controller.pipe``). Must not import zmq, and imports
user code only here. Two threads: the main one executes; the other only waits for a nudge to report what is finished
while the main one is in a long task, so that a short task's result never waits for a long one behind it.

Dies with its controller: by PR_SET_PDEATHSIG, and by the end of the pipe.
"""

import json
import mmap
import os
import resource
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclone import values
from cyclone.controller import pipe
from cyclone.controller.surroundings import MemoryBound, protect_others
from cyclone.errors import ClassRefused, NotSerialisable, ProtocolError
from cyclone.failure import error_record
from cyclone.plugins import add_search_path, load_allowed_class
from cyclone.processes import die_with_parent, spare_the_collector
from cyclone.protocol import states
from cyclone.protocol.framing import FrameReader
from cyclone.protocol.limits import BATCH_BYTES_TARGET, RECORDS_BYTES_MAX
from cyclone.protocol.messages import ResultColumns
from cyclone.results import encode_columns, pack_seconds
from cyclone.task import BaseTask, TaskContext, builder

# From this on a task's CPU time and memory are measured by themselves (two system calls, about a microsecond).
MEASURED_S = 0.001
# Of the time that it takes to close the pipe: a shorter task is not worth the look whether it has. One per cent of the
# tasks that do nothing are longer, because the processor was taken from them.
SUSPICIOUS_SHARE = 0.75
# Types whose values take nine bytes at most and have no inside to look at: `values.encode` would cost 50 ns more.
SMALL = frozenset({type(None), bool, int, float})
_COMPLETED = bytes([states.COMPLETED])
# How a worker ends whose pipe was closed by a task (sysexits(3)).
EX_IOERR = 74


class Terminated(BaseException):
    """SIGTERM arrived: raised wherever the main thread is, so that a task's ``finally`` blocks run within the grace."""


class WorkerContext(TaskContext):
    """The running task as seen from inside, derived from the batch when asked: a task pays only for what it uses."""

    def __init__(self, words: memoryview, scratch: Path) -> None:
        super().__init__()
        self._words, self._times = words, pipe.seconds_view(words)
        self._scratch_root = scratch
        self.scratch_made: Path | None = None
        # Whether the task has left something that is to be looked at when it has ended.
        self.left = False
        self._records_bytes = 0
        self.base = self.first = 1

    @property
    def task_id(self) -> int:
        """The id of the row that is executing."""
        return self.first + self._words[pipe.EXECUTING_SEQ] - self.base

    def time_left_s(self) -> float | None:
        """Seconds until the time limit, None without one."""
        if not self.time_limit_s:
            return None
        return max(0.0, self._times[pipe.STARTED_S] + self.time_limit_s - time.monotonic())

    def scratch_dir(self) -> Path:
        """A folder of the task's own in the run's folder."""
        if self.scratch_made is None:
            self.left = True
            self.scratch_made = self._scratch_root / f"task-{self.task_id}-{self.attempt}"
            self.scratch_made.mkdir(mode=0o700)
        return self.scratch_made

    def record(self, name: str, packed: bytes) -> None:
        """See ``BaseTask.record``."""
        size = self._records_bytes + len(packed) + len(name.encode())
        if size > RECORDS_BYTES_MAX:
            raise ValueError(
                f"the record {name!r} is one too many: all of a task take {RECORDS_BYTES_MAX} bytes at most"
            )
        self.left = True
        self._records_bytes = size
        self.records.append((name, packed))

    def clean(self) -> list[tuple[str, bytes]]:
        """The task ended: its folder goes. Its records."""
        self.left = False
        if self.scratch_made is not None:
            shutil.rmtree(self.scratch_made, ignore_errors=True)
            self.scratch_made = None
        records, self.records = self.records, []
        self._records_bytes = 0
        return records


class Usage:
    """CPU time and peak memory since a mark, children that were waited for included."""

    def __init__(self) -> None:
        self._clear_refs = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        self._children_peak = 0
        self.mark()

    def mark(self) -> None:
        """Measure from here."""
        self._cpu_s, _ = self._now()
        self._marked_s = time.monotonic()

    def reset_peak(self) -> None:
        """Start peak memory anew (proc(5): writing 5 resets the high-water mark)."""
        os.pwrite(self._clear_refs, b"5", 0)

    def take(self, since_s: float = 0.0) -> tuple[float, int]:
        """CPU seconds since the mark or, where that is later, ``since_s``, and peak bytes; marks anew.

        From the mark to ``since_s`` there were only short tasks one after the other, which waited for nothing.
        """
        cpu_s, peak = self._now()
        before_s = max(0.0, since_s - self._marked_s)
        spent_s = max(0.0, cpu_s - self._cpu_s - before_s)
        self._cpu_s, self._marked_s = cpu_s, time.monotonic()
        return spent_s, peak

    def _now(self) -> tuple[float, int]:
        own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        peak = own.ru_maxrss
        if children.ru_maxrss > self._children_peak:
            self._children_peak = children.ru_maxrss
            peak = max(peak, children.ru_maxrss)
        return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, peak * 1024


class Report:
    """The outcomes of one batch, growing row by row, sent in one piece or, when nudged, in several.

    The main thread appends to the columns, ``seconds`` last, so that its length tells how many rows are whole.
    ``failed`` has entries only for rows that did not complete, ``usage`` for those that were measured by themselves,
    ``records`` for those that made some.
    """

    def __init__(self, base: int, send: Callable[[pipe.Done], None]) -> None:
        self.values: list[bytes] = []
        self.failed: list[tuple[int, int]] = []
        self.usage: list[tuple[int, float, int]] = []
        self.records: list[tuple[int, str, bytes]] = []
        self.seconds: list[float] = []
        self._base = base
        self._send = send
        self._sent = 0
        self._started = time.time()
        self._lock = threading.Lock()

    def flush(self, cpu_s: float = 0.0, peak_bytes: int = 0, ended: bool = False, wait_s: float = -1) -> None:
        """Send the rows that are whole and not yet sent. Another sending thread is waited for, ``wait_s`` at most."""
        if not self._lock.acquire(timeout=wait_s):
            return
        try:
            start, stop = self._sent, len(self.seconds)
            if start == stop and not ended:
                return
            seconds = self.seconds[start:stop]
            usage = [(row - start, cpu, peak) for row, cpu, peak in self.usage if start <= row < stop]
            started = self._started + sum(self.seconds[:start])
            records = [(row - start, name, packed) for row, name, packed in self.records if start <= row < stop]
            packed_s = pack_seconds(seconds)
            columns = ResultColumns(
                self.values[start:stop], packed_s, started, os.getpid(), cpu_s, peak_bytes, usage, records
            )
            statuses = bytearray(_COMPLETED * (stop - start))
            for row, status in self.failed:
                if start <= row < stop:
                    statuses[row - start] = status
            self._send(pipe.Done(self._base + start, bytes(statuses), encode_columns(columns), sum(seconds), ended))
            self._sent = stop
        finally:
            self._lock.release()


class Worker:
    """The loop over batches."""

    def __init__(self, channel: socket.socket, words: memoryview, options: dict[str, Any]) -> None:
        self._channel = channel
        self._channel_fd = channel.fileno()
        self._words, self._times = words, pipe.seconds_view(words)
        self._time_limit_s: float = options["time_limit_s"]
        self._task_modules: list[str] = options["task_modules"]
        self._memory = MemoryBound(options["task_memory_max_bytes"])
        self._context = WorkerContext(words, Path(options["scratch"]))
        self._usage = Usage()
        self._jobs: dict[int, tuple[str, float]] = {}
        self._retry_on: dict[int, tuple[str, ...]] = {}
        self._builders: dict[int, Callable[..., BaseTask]] = {}
        self._suspicious_s = SUSPICIOUS_SHARE * quickest_close_s()
        self._report: Report | None = None

    def run(self) -> None:
        """Until the controller closes the pipe."""
        BaseTask.current = self._context
        signal.signal(signal.SIGTERM, self._on_sigterm)
        spare_the_collector()
        self._send(pipe.Ready(os.getpid()))
        reader = FrameReader()
        while count := self._channel.recv_into(reader.room()):
            for body in reader.received(count):
                self._execute(pipe.decode_from_controller(body))

    def flush(self, wait_s: float = -1) -> None:
        """Report what is finished of the batch that is executing."""
        if self._report is not None:
            self._report.flush(wait_s=wait_s)

    def _execute(self, batch: pipe.Execute) -> None:
        for job, task_class, time_limit_s, retry_on in batch.jobs:
            self._jobs[job] = (task_class, self._time_limit_s if time_limit_s is None else time_limit_s)
            self._retry_on[job] = retry_on
        report = self._report = Report(batch.base, self._send)
        self._context.first, self._context.base, self._context.attempt = batch.first, batch.base, batch.attempt
        if len(batch.args) == 1:
            self._usage.reset_peak()
        self._usage.mark()
        self._words[pipe.EXECUTING] = 1
        row = 0
        for job, count in batch.runs:
            self._context.time_limit_s = self._jobs[job][1]
            if not self._run_rows(batch, job, row, row + count, report):
                break
            row += count
        self._words[pipe.EXECUTING] = 0
        report.flush(*self._usage.take(), ended=True)

    def _run_rows(self, batch: pipe.Execute, job: int, start: int, stop: int, report: Report) -> bool:
        """Rows of one job; False when the limit was met, and the rest must not start.

        A million rows a second pass here. So names are local where they would be looked up for each row; what only some
        rows need is asked about once, at the end; and one reading of the clock (40 ns) ends a row and starts the next.
        Properties are decoded row by row: one call for all of them saves 5 ns of 45, and a row that is cut off would
        take what it lacks from the next.
        """
        words, times, context, clock = self._words, self._times, self._context, time.monotonic
        suspicious_s, measured_s = self._suspicious_s, MEASURED_S
        executing_seq, limit_seq, started_s = pipe.EXECUTING_SEQ, pipe.LIMIT_SEQ, pipe.STARTED_S
        decode, encode, pack, small = values.decode_properties, values.encode, values.pack, SMALL
        outcomes, seconds = report.values, report.seconds
        build = self._builders.get(job)
        size = 0
        now = clock()
        for seq, properties in enumerate(batch.args[start:stop], batch.base + start):
            words[executing_seq] = seq
            if seq >= words[limit_seq]:
                return False
            times[started_s] = began = now
            try:
                if build is None:
                    build = self._builder(job)
                value = build(*decode(properties)).execute()
                if type(value) in small:
                    try:
                        value = pack(value)
                    except OverflowError:
                        value = encode(value)  # raises what the user can understand
                else:
                    value = encode(value)
                    size += len(value)
            except Terminated:
                raise
            except BaseException as error:  # SystemExit and the like are failures of the task too
                value = self._failure(error, seq - batch.base, job, report)
                size += len(value)
            if context.left:
                for name, packed in context.clean():
                    report.records.append((seq - batch.base, name, packed))
                    size += len(packed)
            outcomes.append(value)
            now = clock()
            took = now - began
            if took > suspicious_s:
                self._check_channel()
                if took > measured_s:
                    report.usage.append((seq - batch.base, *self._usage.take(began)))
            seconds.append(took)
            if size > BATCH_BYTES_TARGET:
                report.flush()
                size = 0
        return True

    def _failure(self, error: BaseException, row: int, job: int, report: Report) -> bytes:
        """Note what became of a row that raised; what its place in the values column holds."""
        if isinstance(error, MemoryError):
            with self._memory.reserve():
                value = error_value(error, self._retry_on[job])
        else:
            value = error_value(error, self._retry_on[job])
        # A task may raise that too; without a builder it was we who refused.
        refused = job not in self._builders and isinstance(error, ClassRefused)
        report.failed.append((row, states.REFUSED if refused else states.FAILED))
        return value

    def _check_channel(self) -> None:
        """End here if the task has closed our end of the pipe, while it is still the one to be charged."""
        try:
            # Of the calls that need a descriptor the cheapest: 0.25 us, fstat takes 0.8.
            os.get_inheritable(self._channel_fd)
        except OSError:
            os._exit(EX_IOERR)

    def _builder(self, job: int) -> Callable[..., BaseTask]:
        self._builders[job] = builder(load_allowed_class(self._jobs[job][0], BaseTask, self._task_modules))
        return self._builders[job]

    def _send(self, message: pipe.Done | pipe.Ready) -> None:
        self._channel.sendall(pipe.pack(message))

    def _on_sigterm(self, *_: object) -> None:
        # What is finished must not be lost with us. The other thread may be reporting this very moment: not for ever.
        self.flush(wait_s=0.5)
        raise Terminated


def quickest_close_s() -> float:
    """How long it takes at least to close an end of a socket pair: 2.1 us where this was written."""
    least_s = 1.0
    for _ in range(16):
        end, other = (each.detach() for each in socket.socketpair())
        began = time.monotonic()
        os.close(end)
        least_s = min(least_s, time.monotonic() - began)
        os.close(other)
    return least_s


def error_value(error: BaseException, retry_on: tuple[str, ...]) -> bytes:
    """What the values column holds for a task that raised."""
    if isinstance(error, NotSerialisable):
        error = NotSerialisable(f"the value that execute() returned {error}")
    return encode_columns(error_record(error, retry_on=retry_on))


def _listen(nudges: socket.socket, worker: Worker) -> None:
    while nudges.recv(64):
        worker.flush()


def main() -> None:
    """Entry point; ``argv[1]`` is a JSON object, see ``cyclone.controller.pool``."""
    options = json.loads(sys.argv[1])
    die_with_parent(options["parent_pid"])
    protect_others()
    from cyclone import logs

    # What a task prints is read at once, to be known as its own, and must not be lost with a worker that is killed.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    logs.configure_child("worker", options["log"], options["relayed_to_journal"])
    add_search_path(*options["search_path"])
    channel, nudges = socket.socket(fileno=options["channel_fd"]), socket.socket(fileno=options["nudges_fd"])
    words = memoryview(mmap.mmap(options["words_fd"], pipe.WORDS * 8)).cast("Q")
    for descriptor in (options["channel_fd"], options["nudges_fd"], options["words_fd"]):
        os.set_inheritable(descriptor, False)
    worker = Worker(channel, words, options)
    # A thread inherits what is blocked: SIGTERM must meet the main one, or its task would sleep on to the SIGKILL.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_listen, args=(nudges, worker), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        worker.run()
    except Terminated:
        os._exit(128 + signal.SIGTERM)
    except (ConnectionError, ProtocolError):
        os._exit(1)
    try:
        sys.stdout.flush()
    finally:
        # No interpreter shutdown: user code's atexit handlers and threads must not keep a worker alive. Nor does it
        # matter what a task has made of standard output.
        os._exit(0)
