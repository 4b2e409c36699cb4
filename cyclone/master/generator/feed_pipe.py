"""The language between a master and its generator process: msgpack frames over a socket pair.

Both ends are of one installation and start together. The generator runs user code, so what it sends is decoded by type
like a stranger's. Must not import zmq: the generator process imports this module.
"""

import functools
import struct
from collections.abc import Sequence
from typing import cast, overload

import msgspec

from cyclone.errors import ProtocolError
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.protocol import limits
from cyclone.protocol.framing import framed, framed_pieces
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
    16 bytes for each task, empty for one without, or is None where none has one. ``size_bytes`` is not told but found:
    how long the message was, which is about how large ``args`` are.
    """

    jobs: list[JobOptions]
    runs: list[tuple[int, int]]
    args: list[bytes]
    progress: GeneratorProgress
    keys: list[bytes] | None = None
    size_bytes: int = 0


class Advanced(msgspec.Struct, array_like=True, tag=13):
    """Generator to master: it has come further without a task: results are consumed, or ``generate()`` has returned.

    Owed after each ``Deliver``: the master sends them at the pace at which they are consumed.
    """

    progress: GeneratorProgress


class Failed(msgspec.Struct, array_like=True, tag=15):
    """Generator to master: it raised, and ends."""

    error: ErrorRecord


class Summary(msgspec.Struct, array_like=True, tag=16):
    """Generator to master: ``summary()`` as msgpack, the answer to Finish."""

    packed: bytes


FromMaster = Pull | Deliver | Finish | Resume
FromGenerator = Started | Block | Advanced | Failed | Summary


class _DeliveredBlock(msgspec.Struct, array_like=True, gc=False):
    """A ``RecordedBlock`` as it arrives: arguments and body stay where they are until somebody asks for them."""

    first: int
    attempt: int
    runs: list[tuple[str, int]]
    args: msgspec.Raw
    statuses: bytes
    accepted: bytes | None
    body: memoryview
    controller: str


class _Delivered(msgspec.Struct, array_like=True, tag=2):
    """``Deliver`` as it arrives."""

    number: int
    blocks: list[_DeliveredBlock]


class _SealedHead(msgspec.Struct, array_like=True, gc=False):
    """A large ``RecordedBlock`` as it leaves: what comes before its columns, and a byte in the place of each."""

    first: int
    attempt: int
    runs: list[tuple[str, int]]
    args: None = None
    statuses: None = None
    accepted: None = None
    body: None = None
    controller: None = None


class _Delivery(msgspec.Struct, array_like=True, tag=2):
    """``Deliver`` as it leaves."""

    number: int
    blocks: list[None]


# Results that are larger on average are sent from where they are, and their arguments too: with 100 KB of each, to copy
# them was a tenth of the master's processor time.
_LARGE_BYTES = 1 << 16
# Of a block, behind its runs.
_COLUMNS = 5
# Of msgpack: the type byte and the length of an array and of bytes, as long as they may be.
_ARRAY, _BIN = b"\xdd", b"\xc6"
_HEADER = struct.Struct(">cI").pack

_encode = msgspec.msgpack.Encoder().encode
_from_generator = msgspec.msgpack.Decoder(FromGenerator)
_from_master = msgspec.msgpack.Decoder(Pull | _Delivered | Finish | Resume).decode
_decode_column = msgspec.msgpack.Decoder(list[bytes]).decode


class _EncodedColumn(Sequence[bytes]):
    """Decoded when somebody looks into it: few do, and 35 ns a task is what it would cost all others."""

    def __init__(self, packed: msgspec.Raw, rows: int) -> None:
        self._packed = packed
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | list[bytes]:
        return self._column[at]

    @functools.cached_property
    def _column(self) -> list[bytes]:
        return _decode_column(self._packed)


def decode_from_master(body: bytes) -> FromMaster:
    """What the master says."""
    message = _from_master(body)
    return Deliver(message.number, list(map(_opened, message.blocks))) if type(message) is _Delivered else message


def _opened(block: _DeliveredBlock) -> RecordedBlock:
    args = _EncodedColumn(block.args, len(block.statuses))
    # As good as bytes for whoever decodes it.
    columns = (block.statuses, block.accepted, cast(bytes, block.body), block.controller)
    return RecordedBlock(block.first, block.attempt, block.runs, args, *columns)


def decode_from_generator(body: bytes) -> FromGenerator:
    """What a generator says. Raises ProtocolError, because user code may have written it."""
    try:
        message: FromGenerator = _from_generator.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(str(error)) from error
    if type(message) is Block:
        _check(message)
        message.size_bytes = len(body)
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


def seal(block: RecordedBlock) -> list[bytes]:
    """A block as it will stand in a ``Deliver``, in pieces."""
    if len(block.body) < _LARGE_BYTES * len(block.statuses):
        return [_encode(block)]
    head = _encode(_SealedHead(block.first, block.attempt, block.runs))[:-_COLUMNS]
    args = [piece for packed in block.args for piece in (_HEADER(_BIN, len(packed)), packed)]
    marks = _encode(block.statuses) + _encode(block.accepted)
    body = _HEADER(_BIN, len(block.body))
    return [head + _HEADER(_ARRAY, len(block.args)), *args, marks + body, block.body, _encode(block.controller)]


def pack_sealed(number: int, blocks: int, pieces: Sequence[bytes]) -> list[bytes]:
    """The frame of a ``Deliver`` of so many sealed blocks, in pieces."""
    # The blocks are the end of the message, so that its head is what comes before as many blocks of a byte.
    head = _encode(_Delivery(number, [None] * blocks))[:-blocks]
    return framed_pieces(head, *pieces)


def pack(message: FromMaster | FromGenerator) -> bytearray:
    """A message as the frame that goes over the socket."""
    return framed(message)
