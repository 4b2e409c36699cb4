"""A worker process: runs ``execute`` of one task after the other and reports batches of outcomes.

Owns one end of the pipe and the worker's shared words (``cyclone.controller.pipe``). Must not import zmq, and imports
user code only here. Two threads: the main one executes; the other only waits for a nudge to report what is finished
while the main one is in a long task, so that a short task's result never waits for a long one behind it.

Dies with its controller: by PR_SET_PDEATHSIG, and by the end of the pipe.
"""

import contextlib
import json
import mmap
import os
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
from cyclone.controller.context import Terminated, WorkerContext
from cyclone.controller.preparation import Builder, Preparation, SetupFailed
from cyclone.controller.surroundings import MemoryBound, protect_others
from cyclone.controller.usage import Usage
from cyclone.errors import NotSerialisable, PayloadTooLarge, ProtocolError
from cyclone.failure import error_record
from cyclone.plugins import add_search_path
from cyclone.processes import die_with_parent, spare_the_collector
from cyclone.protocol import states
from cyclone.protocol.framing import FrameReader
from cyclone.protocol.limits import BATCH_BYTES_TARGET
from cyclone.protocol.messages import Job, ResultColumns
from cyclone.results import encode_columns, pack_seconds
from cyclone.task import BaseTask

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
        self._memory = MemoryBound(options["task_memory_max_bytes"])
        modules = options["task_modules"]
        self._preparation = Preparation(modules, options["by_value"], words)
        scratch, output = Path(options["scratch"]), (bytes.fromhex(options["output_mark"]), options["stdout_max_bytes"])
        self._context = WorkerContext(words, scratch, options["node"], modules, output)
        self.printing = self._context.printing
        self._usage = Usage()
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
        preparation, context = self._preparation, self._context
        preparation.learn(batch.jobs)
        report = self._report = Report(batch.base, self._send)
        context.begin(batch)
        if len(batch.args) == 1:
            self._usage.reset_peak()
        self._usage.mark()
        self._words[pipe.EXECUTING] = pipe.RUNNING
        row = 0
        for job_id, count in batch.runs:
            job = preparation.jobs[job_id]
            context.time_limit_s = self._time_limit_s if job.time_limit_s is None else job.time_limit_s
            # Of a generator's jobs there is nothing to tell, and their runs may be short.
            if job.namespace or context.namespace:
                context.enter(job)
            surrounded = job.environment or job.directory
            build = None if surrounded else preparation.builders.get(job_id)
            goes_on = self._run_rows(batch, job, build, row, row + count, report)
            if surrounded:
                preparation.leave()
            if not goes_on:
                break
            row += count
        self._words[pipe.EXECUTING] = 0
        report.flush(*self._usage.take(), ended=True)

    def _run_rows(
        self, batch: pipe.Execute, job: Job, build: Builder | None, start: int, stop: int, report: Report
    ) -> bool:
        """Rows of one job, which begins in the first of them where nothing builds its tasks yet; False when the limit
        was met, and the rest must not start.

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
        size = 0
        now = clock()
        for seq, properties in enumerate(batch.args[start:stop], batch.base + start):
            words[executing_seq] = seq
            if seq >= words[limit_seq]:
                return False
            times[started_s] = began = now
            try:
                if build is None:
                    build = self._preparation.begin(job)
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
                    self.printing.leave()
            seconds.append(took)
            if size > BATCH_BYTES_TARGET:
                report.flush()
                size = 0
        return True

    def _failure(self, error: BaseException, row: int, job: Job, report: Report) -> bytes:
        """Note what became of a row that raised; what its place in the values column holds."""
        status = states.REFUSED if self._preparation.refused(job, error) else states.FAILED
        if isinstance(error, SetupFailed) and error.__cause__:
            status, error = states.SETUP_FAILED, error.__cause__
        if isinstance(error, MemoryError):
            with self._memory.reserve():
                value = self._error_value(error, job)
        else:
            value = self._error_value(error, job)
        report.failed.append((row, status))
        return value

    def _error_value(self, error: BaseException, job: Job) -> bytes:
        """What the values column holds for a task that raised."""
        if type(error) in (NotSerialisable, PayloadTooLarge):
            error = type(error)(f"the value that execute() returned {error}")
        pickled = self._preparation.pickled(job, error)
        return encode_columns(error_record(error, retry_on=job.retry_on, pickled=pickled))

    def _check_channel(self) -> None:
        """End here if the task has closed our end of the pipe, while it is still the one to be charged."""
        try:
            # Of the calls that need a descriptor the cheapest: 0.25 us, fstat takes 0.8.
            os.get_inheritable(self._channel_fd)
        except OSError:
            os._exit(EX_IOERR)

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


def _listen(nudges: socket.socket, worker: Worker) -> None:
    while nudges.recv(64):
        worker.flush()


def main() -> None:
    """Entry point; ``argv[1]`` is a JSON object, see ``cyclone.controller.pool``."""
    options = json.loads(sys.argv[1])
    die_with_parent(options["parent_pid"])
    protect_others()
    from cyclone import logs

    add_search_path(*options["search_path"])
    channel, nudges = socket.socket(fileno=options["channel_fd"]), socket.socket(fileno=options["nudges_fd"])
    words = memoryview(mmap.mmap(options["words_fd"], pipe.WORDS * 8)).cast("Q")
    for descriptor in (options["channel_fd"], options["nudges_fd"], options["words_fd"]):
        os.set_inheritable(descriptor, False)
    worker = Worker(channel, words, options)
    worker.printing.install()
    # What is logged is told apart from what a task prints.
    with contextlib.redirect_stderr(worker.printing.log):
        logs.configure_child("worker", options["log"], options["relayed_to_journal"])
    # A thread inherits what is blocked: SIGTERM must meet the main one, or its task would sleep on to the SIGKILL.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_listen, args=(nudges, worker), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        worker.run()
    except Terminated:
        worker.printing.flush()
        os._exit(128 + signal.SIGTERM)
    except (ConnectionError, ProtocolError):
        os._exit(1)
    try:
        sys.stdout.flush()
    finally:
        # No interpreter shutdown: user code's atexit handlers and threads must not keep a worker alive. Nor does it
        # matter what a task has made of standard output.
        os._exit(0)
