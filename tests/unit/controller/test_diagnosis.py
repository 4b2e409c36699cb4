"""What a controller says about a master that it cannot talk to."""

import pytest
import zmq

from cyclone.controller.diagnosis import SILENCE_S, Diagnosis


@pytest.mark.parametrize(
    ("event", "with_keys", "part"),
    [
        (zmq.EVENT_HANDSHAKE_FAILED_AUTH, True, "does not know our key"),
        (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, True, "has no keys"),
        (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, False, "wants a key"),
        (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, True, "another master's key"),
        (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, False, ""),
        (zmq.EVENT_DISCONNECTED, True, ""),
        (zmq.EVENT_CONNECT_RETRIED, True, ""),
    ],
)
def test_given_a_failed_handshake_then_its_likely_cause_is_named_once_a_minute(
    event: int, with_keys: bool, part: str
) -> None:
    diagnosis = Diagnosis(with_keys)
    first = diagnosis.event(event, 10.0)
    assert part in first and bool(part) == bool(first)
    assert diagnosis.event(event, 69.0) == ""
    assert diagnosis.event(event, 70.0) == first


def test_given_a_connection_on_which_nothing_comes_then_it_is_said_after_a_while() -> None:
    diagnosis = Diagnosis(with_keys=False)
    assert diagnosis.look(5.0) == ""
    diagnosis.event(zmq.EVENT_HANDSHAKE_SUCCEEDED, 10.0)
    assert diagnosis.look(10.0 + SILENCE_S - 0.1) == ""
    assert "no answer to our greeting" in diagnosis.look(10.0 + SILENCE_S)
    assert diagnosis.look(10.0 + SILENCE_S + 0.1) == ""


@pytest.mark.parametrize("end", ["heard", "disconnected"])
def test_given_an_answer_or_another_loss_then_nothing_is_said(end: str) -> None:
    diagnosis = Diagnosis(with_keys=False)
    diagnosis.event(zmq.EVENT_HANDSHAKE_SUCCEEDED, 10.0)
    if end == "heard":
        diagnosis.heard()
    else:
        diagnosis.event(zmq.EVENT_DISCONNECTED, 11.0)
    assert diagnosis.look(1000.0) == ""
