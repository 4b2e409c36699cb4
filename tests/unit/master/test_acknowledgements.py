"""That results are recorded is told soon: with the next tasks, after a moment, or at the end."""

import math

from cyclone.master.acknowledgements import Acknowledgements
from cyclone.master.actions import Send
from cyclone.protocol.messages import Recorded


def told(number: int) -> Send:
    return Send(b"peer", Recorded(1, [number]))


def test_given_records_then_they_are_told_in_their_order_when_the_first_has_waited_long_enough() -> None:
    sent: list[Send] = []
    kept = Acknowledgements(sent.append)
    assert kept.wait_s == math.inf
    kept.add(told(1), 10.0)
    kept.add(told(2), 10.001)
    assert kept.wait_s == 0.002
    kept.turn(10.0019)
    assert sent == []
    kept.turn(10.002)
    assert sent == [told(1), told(2)]
    assert kept.wait_s == math.inf
    kept.turn(math.inf)
    assert len(sent) == 2


def test_given_tasks_or_the_end_then_they_are_told_at_once_and_the_time_of_the_next_begins_anew() -> None:
    sent: list[Send] = []
    kept = Acknowledgements(sent.append)
    kept.add(told(1), 10.0)
    kept.flush()
    assert sent == [told(1)]
    kept.add(told(2), 10.001)
    kept.turn(10.0025)
    assert sent == [told(1)]
    kept.turn(math.inf)
    assert sent == [told(1), told(2)]
