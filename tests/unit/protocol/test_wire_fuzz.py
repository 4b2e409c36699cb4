"""Malformed frames at the decoders: a message or a ProtocolError, whatever comes. Live peers: tests/integration."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import pytest

from cyclone.errors import ProtocolError
from cyclone.protocol import wire
from tests.support.fuzzing import SEED, for_a_client, for_a_controller, for_a_master, for_a_sink, from_a_sink
from tests.support.malformed import Malformer

MESSAGES = 20_000


@pytest.mark.parametrize(
    ("decode", "malformer"),
    [
        (wire.decode_for_master, for_a_master()),
        (wire.decode_from_master, for_a_controller()),
        (wire.decode_for_client, for_a_client()),
        (wire.decode_for_sink, for_a_sink()),
        (wire.decode_from_sink, from_a_sink()),
    ],
    ids=["master", "controller", "client", "sink", "from a sink"],
)
def test_given_malformed_frames_when_decoded_then_they_are_refused_or_a_message_that_can_be_sent_again(
    decode: Callable[[Sequence[bytes]], Any], malformer: Malformer
) -> None:
    refused = 0
    for number, frames in enumerate(islice(malformer, MESSAGES)):
        try:
            message = decode(frames)
            encoded = wire.encode(message)
            # By their bytes: a number that is none is not even equal to itself.
            assert wire.encode(decode(encoded)) == encoded
        except ProtocolError:
            refused += 1
        except Exception as error:
            shown = b" | ".join(frames)[:2000].hex()
            raise AssertionError(
                f"CYCLONE_FUZZ_SEED={SEED}, message {number}, {len(frames)} frames: {shown}"
            ) from error

    assert MESSAGES // 2 < refused < MESSAGES
