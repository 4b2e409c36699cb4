"""The language between a master and its generator process: msgpack frames over a socket pair.

Both ends are of one installation and start together. The generator runs user code, so what it sends is decoded by type
like a stranger's. Must not import zmq: the generator process imports this module.
"""

import msgspec

from cyclone.errors import ProtocolError
from cyclone.protocol.framing import frame
from cyclone.protocol.messages import ErrorRecord
from cyclone.results import RecordedBlock


class Pull(msgspec.Struct, array_like=True, tag=1):
    """Master to generator: ``generate()`` may have yielded this many tasks in all."""

    granted: int


class Deliver(msgspec.Struct, array_like=True, tag=2):
    """Master to generator: results in the order in which they were recorded; ``number`` is that of the last block."""

    number: int
    blocks: list[RecordedBlock]


class Finish(msgspec.Struct, array_like=True, tag=3):
    """Master to generator: all is done, tell your summary and end."""


class Started(msgspec.Struct, array_like=True, tag=11):
    """Generator to master: the class is loaded. Without ``wants_results`` no results are delivered."""

    wants_results: bool


class Block(msgspec.Struct, array_like=True, tag=12, gc=False):
    """Generator to master: tasks. ``jobs`` are this block's, ``(task class, time limit)``; ``runs`` count
    in them, from 0."""

    jobs: list[tuple[str, float | None]]
    runs: list[tuple[int, int]]
    args: list[bytes]


class Consumed(msgspec.Struct, array_like=True, tag=13):
    """Generator to master: ``on_result`` has run for everything up to this delivery, and what it made was sent."""

    number: int


class Exhausted(msgspec.Struct, array_like=True, tag=14):
    """Generator to master: ``generate()`` has returned."""


class Failed(msgspec.Struct, array_like=True, tag=15):
    """Generator to master: it raised, and ends."""

    error: ErrorRecord


class Summary(msgspec.Struct, array_like=True, tag=16):
    """Generator to master: ``summary()`` as msgpack, the answer to Finish."""

    packed: bytes


FromMaster = Pull | Deliver | Finish
FromGenerator = Started | Block | Consumed | Exhausted | Failed | Summary

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
    if not all(0 <= job < len(block.jobs) for job, _ in block.runs):
        raise ProtocolError("a block with a job that it does not name")


def pack(message: FromMaster | FromGenerator) -> bytes:
    """A message as the frame that goes over the socket."""
    return frame(_encode(message))
