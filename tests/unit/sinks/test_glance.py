"""A glance at a block: whether it holds records."""

import msgspec
import pytest

from cyclone.protocol.messages import ErrorRecord, ResultColumns
from cyclone.results import encode_columns, error_columns, pack_seconds
from cyclone.sinks.glance import holds_records
from tests.support.sink_sender import block, probe


def around(body: bytes) -> bytes:
    """A block of one completed task with this body."""
    return msgspec.msgpack.encode([1, 1, [["tests:Task", 1]], [b"\x90"], b"\x01", None, body, "node-1"])


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        (block(1, [None] * 3), False),
        (block(1, [None, probe(1)]), True),
        (block(1, [{}], "empty"), True),
        (around(encode_columns(ResultColumns([b"\xc0"], pack_seconds([0.5]), 1.0, 7))), False),
        # As a master writes it that knows of no records, or a task whose worker died.
        (around(msgspec.msgpack.encode([[b"\xc0"], pack_seconds([0.5]), 1.0, 7])), False),
        (around(error_columns(ErrorRecord("WorkerDied", "signal 9"))), False),
        # What cannot be told is opened.
        (around(b"rubbish"), True),
        (b"rubbish", True),
        (b"", True),
    ],
)
def test_given_a_block_then_a_glance_tells_whether_it_holds_records(packed: bytes, expected: bool) -> None:
    assert holds_records(packed) is expected
