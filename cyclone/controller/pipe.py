"""The language between a controller and its workers: length-prefixed msgpack over a socket pair, and four words of
shared memory. PURE.

Owns the messages, the framing and the layout of the shared words. Both ends are of one installation and start together,
so there is no version; but a worker runs user code that may scribble on any descriptor, so what it sends is decoded by
type like a stranger's. Must not import zmq: workers import this module.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from cyclone.errors import ProtocolError
from cyclone.protocol import limits, states
from cyclone.protocol.framing import framed
from cyclone.protocol.messages import Count, Job, Seconds

# Shared words, 64 bits each, written by one side only: whole numbers, and seconds in ``seconds_view``.
EXECUTING_SEQ = 0  # worker: number of the row that it executes or executed last; 0 before the first
LIMIT_SEQ = 1  # controller: the first row that must not start
STARTED_S = 2  # worker: CLOCK_MONOTONIC at which that row started, and again when its preparation is over, a float64
EXECUTING = 3  # worker: RUNNING inside the task's code, PREPARING while that is being prepared, 0 between batches
WORDS = 4
NO_LIMIT = (1 << 64) - 1
RUNNING, PREPARING = 1, 2

# Whatever else can become of a task, its controller says and not the worker that may be dead by then.
_STATUSES = bytes([states.COMPLETED, states.FAILED, states.REFUSED, states.SETUP_FAILED])
# What a worker keeps of the jobs that it was told of: so many, with so much of what their tasks share.
TOLD_JOBS_MAX = 1024
TOLD_BYTES_MAX = 64 << 20


class Execute(msgspec.Struct, array_like=True, tag=1, gc=False):
    """Controller to worker: run these rows. ``jobs`` are those of them that the worker has not been told of.

    ``base`` numbers the first row, ``slot`` is what the tasks are told as theirs; ``first``, ``attempt``, ``runs``,
    ``args`` and ``time_limits`` are those of a ``TaskBatch``.
    """

    base: int
    slot: int
    first: int
    attempt: int
    jobs: list[Job]
    runs: list[tuple[int, int]]
    args: list[bytes]
    time_limits: list[tuple[int, float]] = []


class Ready(msgspec.Struct, array_like=True, tag=11):
    """Worker to controller: started, and waiting for rows."""

    pid: Count


class Done(msgspec.Struct, array_like=True, tag=12, gc=False):
    """Worker to controller: the outcome of rows from number ``base`` on, as a ``ResultBatch`` has it.

    ``busy_s`` is the time spent in them. ``ended``: no more of this Execute will come, its other rows were not started.
    """

    base: Count
    statuses: Annotated[bytes, Meta(max_length=limits.TASKS_PER_BATCH_MAX)]
    body: Annotated[bytes, Meta(max_length=limits.BODY_BYTES_MAX)]
    busy_s: Seconds
    ended: bool


def job_bytes(job: Job) -> int:
    """What announcing it takes beyond what any job does."""
    if not job.environment:
        return len(job.shared)
    return len(job.shared) + sum([len(name) + len(value) for name, value in job.environment.items()])


class ToldJobs:
    """Which jobs a worker knows. Both ends put the same into one, so that they forget at the same moment."""

    def __init__(self) -> None:
        self._ids: set[int] = set()
        self._bytes = 0

    def __contains__(self, job_id: int) -> bool:
        return job_id in self._ids

    def add(self, new: Sequence[Job]) -> bool:
        """The worker is told of these; False, and nothing is known any more, where that would be too much.

        Then ``add`` is owed again, with all jobs of the rows at hand, and takes whatever it is given.
        """
        size = self._bytes + sum([job_bytes(job) for job in new])
        if self._ids and (len(self._ids) + len(new) > TOLD_JOBS_MAX or size > TOLD_BYTES_MAX):
            self.clear()
            return False
        self._ids.update([job.job_id for job in new])
        self._bytes = size
        return True

    def clear(self) -> None:
        """It is another process, or has forgotten all."""
        self._ids.clear()
        self._bytes = 0


def seconds_view(words: memoryview) -> "memoryview[float]":
    """The same words as float64.

    What the clock gives and what is compared with it goes in and out as it is. With nanoseconds, of which each row
    makes several whole numbers beyond 30 bits and a division, a worker took 0.08 us longer for a row.
    """
    return words.cast("B").cast("d")


_from_worker = msgspec.msgpack.Decoder(Ready | Done)
decode_from_controller = msgspec.msgpack.Decoder(Execute).decode


def pack(message: Execute | Ready | Done) -> bytearray:
    """A message as the frame that goes over the socket."""
    return framed(message)


def decode_from_worker(body: bytes) -> Ready | Done:
    """What a worker says. Raises ProtocolError, because user code may have written it."""
    try:
        message: Ready | Done = _from_worker.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(str(error)) from error
    if type(message) is Done and message.statuses.strip(_STATUSES):
        raise ProtocolError(f"statuses {message.statuses[:64].hex()}: a worker may report {_STATUSES.hex(' ')}")
    return message
