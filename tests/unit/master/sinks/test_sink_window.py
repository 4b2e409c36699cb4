"""The window to a sink: what is gathered into a message, how much is under way, and what an answer frees."""

import pytest

from cyclone.master.sinks import sink_window as module
from cyclone.master.sinks.sink_window import Window
from cyclone.protocol import limits

FULL = bytes(limits.BATCH_BYTES_TARGET)


def added(*blocks: bytes, stored: int = 0) -> Window:
    window = Window(stored)
    for block in blocks:
        window.add(block)
    return window


def sent(window: Window) -> list[tuple[int, int]]:
    """All that may go now: the first number of each message, and how many blocks."""
    found = []
    while due := window.due():
        found.append((due[0], len(due[1])))
    return found


def test_given_an_idle_sink_then_a_block_goes_at_once_with_all_that_is_there() -> None:
    window = added(b"a", b"b", stored=6)
    assert window.due() == (7, [b"a", b"b"])
    assert window.waits
    assert (window.stored, window.taken) == (6, 8)


def test_given_a_busy_sink_then_blocks_wait_for_company_until_it_answers() -> None:
    window = added(b"a")
    assert sent(window) == [(1, 1)]
    window.add(b"b")
    assert sent(window) == [(2, 1)]
    for block in (b"c", b"d"):
        window.add(block)
    assert sent(window) == []
    assert window.acknowledged(1)
    assert sent(window) == [(3, 2)]
    assert window.acknowledged(4)
    assert (window.waits, window.stored) == (False, 4)


def test_given_messages_that_are_full_then_they_go_up_to_the_window() -> None:
    window = added(*[FULL] * 20)
    assert sent(window) == [(number, 1) for number in range(1, 9)]
    assert not window.has_room
    assert window.acknowledged(3)
    assert sent(window) == [(9, 1), (10, 1), (11, 1)]


@pytest.mark.parametrize("size", [limits.MESSAGE_BYTES_MAX - 100, module.BYTES_MAX + 1])
def test_given_a_block_beyond_the_window_then_it_goes_alone(size: int) -> None:
    window = added(b"a", bytes(size), b"b")
    assert sent(window) == [(1, 1)]
    assert window.acknowledged(1)
    assert sent(window) == [(2, 1)]
    assert window.acknowledged(2)
    assert sent(window) == [(3, 1)]


def test_given_many_small_blocks_then_a_message_has_no_more_than_the_protocol_allows() -> None:
    window = added(*[b""] * (limits.BATCHES_PER_MESSAGE_MAX + 5))
    assert sent(window) == [(1, limits.BATCHES_PER_MESSAGE_MAX), (limits.BATCHES_PER_MESSAGE_MAX + 1, 5)]


def test_given_many_small_messages_then_no_more_are_under_way_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH_BYTES_TARGET", 1)
    assert len(sent(added(*[b"a"] * 99))) == module.MESSAGES_MAX


def test_given_blocks_that_are_gone_then_empty_ones_stand_for_them() -> None:
    window = added(b"a")
    assert not window.skip(1)
    assert window.skip(3)
    window.add(b"d")
    assert window.due() == (1, [b"a", b"", b"", b"d"])


@pytest.mark.parametrize(
    ("number", "possible", "stored"), [(0, True, 2), (2, True, 2), (3, True, 3), (4, True, 4), (5, False, 2)]
)
def test_given_an_answer_then_it_counts_where_it_can_be(number: int, possible: bool, stored: int) -> None:
    window = added(b"c", stored=2)
    assert sent(window) == [(3, 1)]
    window.add(b"d")
    assert sent(window) == [(4, 1)]
    window.add(b"e")
    assert window.acknowledged(number) == possible
    assert window.stored == stored


def test_given_nothing_under_way_then_only_what_it_has_can_be_acknowledged() -> None:
    window = added(b"a", stored=4)
    assert window.acknowledged(4)
    assert not window.acknowledged(5)


def test_given_a_sink_that_was_full_then_it_is_tried_with_one_message() -> None:
    window = added(*[FULL] * 3)
    window.probing = True
    assert sent(window) == [(1, 1)]
    window.acknowledged(1)
    window.probing = False
    assert sent(window) == [(2, 1), (3, 1)]
