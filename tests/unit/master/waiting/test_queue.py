"""The queue: first come, first served, what was given back in front, and never more than the bounds."""

import pytest

from cyclone.master.spans import Span
from cyclone.master.waiting.queue import TaskQueue, Window


def returned(first: int, count: int) -> Span:
    return Span(first, 1, [(1, count)], [b"x"] * count)


@pytest.mark.parametrize(
    ("count_max", "bytes_max", "expected"),
    [
        pytest.param(99, 99, [(1, 3), (4, 2)], id="blocks stay whole"),
        pytest.param(2, 99, [(1, 2), (3, 1), (4, 2)], id="bounded by count"),
        pytest.param(99, 25, [(1, 2), (3, 1), (4, 2)], id="bounded by bytes"),
        pytest.param(99, 10, [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)], id="exactly one fits"),
        pytest.param(99, 1, [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)], id="one too large goes all the same"),
    ],
)
def test_given_two_blocks_when_taken_then_in_order_and_within_the_bounds(
    count_max: int, bytes_max: int, expected: list[tuple[int, int]]
) -> None:
    queue = TaskQueue(1, Window())
    queue.add_fresh(1, [(1, 2), (2, 1)], [b"0123456789"] * 3, 30)
    queue.add_fresh(4, [(2, 2)], [b"0123456789"] * 2, 20)
    taken = []
    while span := queue.take_fresh(count_max, bytes_max):
        assert sum(count for _, count in span.runs) == span.count
        assert span.attempt == 0
        taken.append((span.first, span.count))
    assert taken == expected
    assert (queue.fresh_count, queue.bytes_added, queue.in_memory) == (0, 50, 0)


@pytest.mark.parametrize("size", [1, 1000, 1024, 1025, 5000])
def test_given_arguments_of_any_size_when_some_are_taken_then_it_is_known_exactly_how_large_the_others_are(
    size: int,
) -> None:
    queue = TaskQueue(1, Window())
    args = [b"x" * (size - 1 + row % 3) for row in range(9)]
    queue.add_fresh(1, [(1, 9)], args, sum(map(len, args)))
    for taken in (2, 6, 8, 9):
        assert queue.take_fresh(taken + 1 - queue.next_new(), 1 << 20)
        assert queue.window.fresh_bytes == sum(map(len, args[taken:]))


def test_given_spans_that_came_back_then_the_lowest_id_is_next_until_it_has_a_holder_or_is_done() -> None:
    queue = TaskQueue(1, Window())
    queue.add_fresh(9, [(1, 1)], [b"x"], 1)
    first, second, third = returned(1, 2), returned(3, 1), returned(4, 1)
    for span in (third, first, second):
        queue.add_returned(span)
    assert queue.in_memory == 5
    assert queue.next_returned() is first
    assert queue.next_returned() is first
    first.holder = 1
    assert queue.next_returned() is second
    second.close(3, 4)
    assert queue.next_returned() is third
    third.holder = 1
    assert queue.next_returned() is None


def test_given_a_span_that_comes_back_twice_then_it_is_offered_while_it_waits() -> None:
    queue = TaskQueue(1, Window())
    span = returned(1, 1)
    queue.add_returned(span)
    span.holder = 1
    queue.add_returned(span)
    assert queue.next_returned() is None
    span.holder = None
    queue.add_returned(span)
    assert queue.next_returned() is span
