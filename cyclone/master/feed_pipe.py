"""The language between a master and its generator process: msgpack frames over a socket pair.

Both ends are of one installation and start together. The generator runs user code, so what it sends is decoded by type
like a stranger's. Must not import zmq: the generator process imports this module.
"""

import msgspec

from cyclone.errors import ProtocolError
from cyclone.master.progress import GeneratorProgress
from cyclone.protocol import limits
from cyclone.protocol.framing import frame
from cyclone.protocol.messages import ErrorRecord, JobOptions
from cyclone.results import RecordedBlock


class Pull(msgspec.Struct, array_like=True, tag=1):
    """Master to generator: ``generate()`` may have yielded this many tasks in all."""

    granted: int


class Deliver(msgspec.Struct, array_like=True, tag=2):
    """Master to generator: results in the order in which they were recorded; ``number`` is that of the last block."""

    number: int
    blocks: list[RecordedBlock]


class Resume(msgspec.Struct, array_like=True, tag=4):
    """Master to generator, before anything else: where it had come to; ``GeneratorProgress()`` for a first start.

    ``Deliver`` follows from number ``progress.cursor_consumed`` + 1 on.
    """

    progress: GeneratorProgress


class Finish(msgspec.Struct, array_like=True, tag=3):
    """Master to generator: all is done, tell your summary and end."""


class Started(msgspec.Struct, array_like=True, tag=11):
    """Generator to master: the class is loaded. Without ``wants_results`` no results are delivered."""

    wants_results: bool


class Block(msgspec.Struct, array_like=True, tag=12, gc=False):
    """Generator to master: tasks, and how far it has come with them.

    ``jobs`` are this block's; ``runs`` count in them, from 0. ``keys`` has an identity of
    16 bytes for each task, empty for one without, or is None where none has one.
    """

    jobs: list[JobOptions]
    runs: list[tuple[int, int]]
    args: list[bytes]
    progress: GeneratorProgress
    keys: list[bytes] | None = None


class Advanced(msgspec.Struct, array_like=True, tag=13):
    """Generator to master: it has come further without a task: results are consumed, or ``generate()`` has returned."""

    progress: GeneratorProgress


class Failed(msgspec.Struct, array_like=True, tag=15):
    """Generator to master: it raised, and ends."""

    error: ErrorRecord


class Summary(msgspec.Struct, array_like=True, tag=16):
    """Generator to master: ``summary()`` as msgpack, the answer to Finish."""

    packed: bytes


FromMaster = Pull | Deliver | Finish | Resume
FromGenerator = Started | Block | Advanced | Failed | Summary

_encode = msgspec.msgpack.Encoder().encode
_from_generator = msgspec.msgpack.Decoder(FromGenerator)
decode_from_master = msgspec.msgpack.Decoder(FromMaster).decode


def decode_from_generator(body: bytes) -> FromGenerator:
    """What a generator says. Raises ProtocolError, because user code may have written it."""
    try:
        message: FromGenerator = _from_generator.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(str(error)) from error
    if type(message) is Block:
        _check(message)
    return message


def _check(block: Block) -> None:
    if sum(count for _, count in block.runs) != len(block.args) or any(count < 1 for _, count in block.runs):
        raise ProtocolError("a block whose columns differ in length")
    if len(block.args) > limits.TASKS_PER_BATCH_MAX:
        raise ProtocolError(f"a block of {len(block.args)} tasks, the limit is {limits.TASKS_PER_BATCH_MAX}")
    if not all(0 <= job < len(block.jobs) for job, _ in block.runs):
        raise ProtocolError("a block with a job that it does not name")
    if block.keys is not None and len(block.keys) != len(block.args):
        raise ProtocolError("a block whose columns differ in length")


def pack(message: FromMaster | FromGenerator) -> bytes:
    """A message as the frame that goes over the socket."""
    return frame(_encode(message))
