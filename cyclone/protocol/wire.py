"""Frames: the only file that knows how a message becomes bytes.

A message is two frames, ``[MAGIC, body]``; ROUTER puts the sender's routing id in front. The magic names the protocol
and its major version, so that a stranger is told apart by one comparison; the body is msgpack, decoded by one typed
decoder that validates while it decodes. What msgspec cannot express is checked here, so that a decoded message needs no
second look.
"""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from cyclone.errors import ProtocolError
from cyclone.protocol import limits
from cyclone.protocol.client_messages import CancelRequest
from cyclone.protocol.job_checks import unprintable
from cyclone.protocol.job_messages import (
    AddRequest,
    AnyFromClient,
    AnyToClient,
    CancelJobsRequest,
    ControlRequest,
    JobResults,
    JobsRequest,
    ProcessedRequest,
    RequeueRequest,
    SubmitRequest,
)
from cyclone.protocol.job_spec import TaskBlock
from cyclone.protocol.messages import (
    AnyFromController,
    AnyFromMaster,
    Cancel,
    Hello,
    Output,
    Refused,
    ResultBatch,
    Results,
    Returned,
    State,
    TaskBatch,
    TaskRange,
    Tasks,
)
from cyclone.protocol.sink_messages import AnyFromSink, AnyToSink
from cyclone.protocol.states import REPORTED

MAGIC = b"CYC1"
_REPORTED = bytes(sorted(REPORTED))

T = TypeVar("T")

_encode = msgspec.msgpack.Encoder().encode
_for_master = msgspec.msgpack.Decoder(AnyFromController | AnyFromClient)
_for_client = msgspec.msgpack.Decoder(AnyToClient | Refused)
_from_master = msgspec.msgpack.Decoder(AnyFromMaster)
_for_sink = msgspec.msgpack.Decoder(AnyToSink)
_from_sink = msgspec.msgpack.Decoder(AnyFromSink | Refused)


def encode(
    message: AnyFromController | AnyFromClient | AnyFromMaster | AnyToClient | AnyToSink | AnyFromSink,
) -> list[bytes]:
    """The frames of a message, without any routing id."""
    return [MAGIC, _encode(message)]


def decode_for_master(frames: Sequence[bytes]) -> AnyFromController | AnyFromClient:
    """What reached a master, in the frames that follow the routing id; ProtocolError says what is wrong with them."""
    message: AnyFromController | AnyFromClient = _decode(_for_master, frames)
    match message:
        case Results():
            for batch in message.batches:
                _check_result_batch(batch)
        case Hello():
            _check_ranges(message.held)
        case State():
            _check_ranges(message.held)
            _check_ranges(message.running)
        case Returned():
            _check_ranges(message.ranges)
        case Output():
            size = sum(len(data) for _, data in message.pieces)
            if size > limits.OUTPUT_BYTES_MAX or message.offset + size > message.size:
                raise ProtocolError(f"output of {size} bytes from {message.offset} on, of {message.size} in all")
        case CancelRequest():
            if message.last < message.first:
                raise ProtocolError(f"tasks from {message.first} to {message.last}")
        case SubmitRequest() | AddRequest():
            if isinstance(message, SubmitRequest) and (field := unprintable(message.spec)):
                raise ProtocolError(f"{field} of a job has characters that cannot be printed")
            if message.block:
                _check_task_block(message.block)
        case JobsRequest() | ControlRequest():
            _check_index_ranges(message.selection.ids)
        case CancelJobsRequest():
            if not message.reason.isprintable():
                raise ProtocolError("reason has characters that cannot be printed")
            _check_index_ranges(message.selection.ids)
            _check_index_ranges(message.indexes)
        case RequeueRequest() | ProcessedRequest():
            _check_index_ranges(message.indexes)
    return message


def decode_for_client(frames: Sequence[bytes]) -> AnyToClient | Refused:
    """The answer to a client in the frames; ProtocolError says what is wrong with them."""
    message: AnyToClient | Refused = _decode(_for_client, frames)
    if isinstance(message, JobResults):
        for block in message.blocks:
            if block.accepted is not None and len(block.accepted) != len(block.statuses):
                raise ProtocolError(f"{len(block.accepted)} marks beside {len(block.statuses)} statuses")
    return message


def decode_from_master(frames: Sequence[bytes]) -> AnyFromMaster:
    """The message in the frames; ProtocolError says what is wrong with them."""
    message: AnyFromMaster = _decode(_from_master, frames)
    match message:
        case Tasks():
            for batch in message.batches:
                _check_task_batch(batch)
        case Cancel():
            _check_ranges(message.ranges)
    return message


def decode_for_sink(frames: Sequence[bytes]) -> AnyToSink:
    """What reached a sink, in the frames that follow the routing id; ProtocolError says what is wrong with them."""
    message: AnyToSink = _decode(_for_sink, frames)
    return message


def decode_from_sink(frames: Sequence[bytes]) -> AnyFromSink | Refused:
    """A sink's answer; ProtocolError says what is wrong with it."""
    message: AnyFromSink | Refused = _decode(_from_sink, frames)
    return message


def _decode(decoder: "msgspec.msgpack.Decoder[T]", frames: Sequence[bytes]) -> T:
    if len(frames) != 2:
        raise ProtocolError(f"{len(frames)} frames where 2 belong")
    if frames[0] != MAGIC:
        raise ProtocolError(f"magic {bytes(frames[0][:8])!r} is not {MAGIC!r}")
    if len(frames[1]) > limits.MESSAGE_BYTES_MAX:
        raise ProtocolError(f"{len(frames[1])} bytes are more than {limits.MESSAGE_BYTES_MAX}")
    try:
        return decoder.decode(frames[1])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(str(error)) from error


def _check_task_batch(batch: TaskBatch) -> None:
    total = sum(count for _, count in batch.runs)
    if total != len(batch.args):
        raise ProtocolError(f"runs of {total} tasks with {len(batch.args)} arguments")
    if batch.first + total - 1 > limits.ID_MAX:
        raise ProtocolError(f"task id {batch.first + total - 1} is too large")
    _check_rows([row for row, _ in batch.time_limits], total)


def _check_ranges(ranges: list[TaskRange]) -> None:
    """In order and apart, so that what they name can be found in one pass however often somebody claims everything."""
    last = (0, 0, 0)
    for part in ranges:
        if (part.epoch, part.attempt, part.first) < last:
            raise ProtocolError(f"tasks from {part.first} on are out of order, or named twice")
        last = (part.epoch, part.attempt, part.first + part.count)


def _check_index_ranges(ranges: list[tuple[int, int]]) -> None:
    """In order and apart."""
    last = -1
    for low, high in ranges:
        if low <= last or high < low:
            raise ProtocolError(f"range {low} to {high} is out of order, turned round, or named twice")
        last = high


def _check_task_block(block: TaskBlock) -> None:
    if block.offset + len(block.args) - 1 > limits.ID_MAX:
        raise ProtocolError(f"index {block.offset + len(block.args) - 1} is too large")
    _check_rows([row for row, _, _ in block.options], len(block.args))


def _check_rows(rows: list[int], count: int) -> None:
    """A sparse column: each row at most once, in order."""
    last = -1
    for row in rows:
        if not last < row < count:
            raise ProtocolError(f"options of row {row}: expected rising rows below {count}")
        last = row


def _check_result_batch(batch: ResultBatch) -> None:
    if other := batch.statuses.strip(_REPORTED):
        raise ProtocolError(f"status {other[0]} is not one that a controller may report")
    if batch.first + len(batch.statuses) - 1 > limits.ID_MAX:
        raise ProtocolError(f"task id {batch.first + len(batch.statuses) - 1} is too large")
