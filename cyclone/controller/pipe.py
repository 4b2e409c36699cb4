"""The language between a controller and its workers: length-prefixed msgpack over a socket pair, and four words of
shared memory. PURE.

Owns the messages, the framing and the layout of the shared words. Both ends are of one installation and start together,
so there is no version; but a worker runs user code that may scribble on any descriptor, so what it sends is decoded by
type like a stranger's. Must not import zmq: workers import this module.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from cyclone.errors import ProtocolError
from cyclone.protocol import limits, states
from cyclone.protocol.framing import framed
from cyclone.protocol.messages import Count, Seconds

# Shared words, 64 bits each, written by one side only: whole numbers, and seconds in ``seconds_view``.
EXECUTING_SEQ = 0  # worker: number of the row that it executes or executed last; 0 before the first
LIMIT_SEQ = 1  # controller: the first row that must not start
STARTED_S = 2  # worker: CLOCK_MONOTONIC at which that row started, a float64
EXECUTING = 3  # worker: 1 while inside the task's code
WORDS = 4
NO_LIMIT = (1 << 64) - 1

# Whatever else can become of a task, its controller says and not the worker that may be dead by then.
_STATUSES = bytes([states.COMPLETED, states.FAILED, states.REFUSED])


class Execute(msgspec.Struct, array_like=True, tag=1, gc=False):
    """Controller to worker: run these rows. ``jobs`` is ``(job, task class, time limit, retry_on)`` of new jobs.

    ``base`` numbers the first row; ``first``, ``attempt``, ``runs`` and ``args`` are those of a ``TaskBatch``.
    """

    base: int
    first: int
    attempt: int
    jobs: list[tuple[int, str, float | None, tuple[str, ...]]]
    runs: list[tuple[int, int]]
    args: list[bytes]


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
