"""A follower: results in order, out of the journal when behind and live when caught up; and the memory without one."""

from collections.abc import Iterator

import pytest

from cyclone.master.follower import Follower, Recent


class Books:
    """Results that were recorded; ``asked_after`` is from where on they were read, ``readers`` how many are at it.

    ``fails`` has the next one raise.
    """

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)
        self.asked_after: list[int] = []
        self.readers = 0
        self.fails = False

    def results_after(self, number: int) -> Iterator[tuple[int, str]]:
        self.asked_after.append(number)
        self.readers += 1
        try:
            while (found := next((other for other in self.numbers if other > number), None)) is not None:
                if self.fails:
                    raise OSError("no memory")
                number = found
                yield number, f"results {number}"
        finally:
            self.readers -= 1


def test_given_results_in_order_then_they_are_taken_live_and_nothing_is_read() -> None:
    books = Books()
    follower = Follower(books, 3)
    assert [follower.follows(number) for number in (4, 5, 6)] == [True] * 3
    assert follower.position == 6
    assert books.asked_after == []


def test_given_results_that_are_not_the_next_then_they_are_not_taken_live() -> None:
    follower = Follower(Books(), 3)
    assert [follower.follows(number) for number in (3, 5, 2)] == [False] * 3
    assert follower.position == 3


def test_given_a_reader_that_is_behind_then_it_reads_on_in_one_go_and_is_live_again_behind_the_last() -> None:
    books = Books(1, 2, 3, 4)
    follower = Follower(books, 1)
    assert [follower.next(4), follower.next(4)] == [(2, "results 2"), (3, "results 3")]
    assert books.readers == 1
    # Recorded while it reads: not the next, and in the journal when it comes to it.
    assert not follower.follows(5)
    books.numbers.append(5)
    assert [follower.next(5), follower.next(5)] == [(4, "results 4"), (5, "results 5")]
    assert books.asked_after == [1]
    # What it read last is not kept until it is behind again.
    assert books.readers == 0
    assert follower.follows(6)


def test_given_results_that_were_taken_live_while_it_read_then_they_are_not_read_once_more() -> None:
    books = Books(1, 2, 3, 4)
    follower = Follower(books, 1)
    assert [follower.next(4), follower.next(4)] == [(2, "results 2"), (3, "results 3")]
    assert follower.follows(4)
    books.numbers.append(5)
    assert follower.next(5) == (5, "results 5")


@pytest.mark.parametrize(
    ("numbers", "found", "position"),
    [((5, 6), (5, "results 5"), 5), ((), None, 1)],
    ids=["some are gone", "all are gone"],
)
def test_given_results_that_are_gone_then_the_next_ones_that_there_are_come(
    numbers: tuple[int, ...], found: tuple[int, str] | None, position: int
) -> None:
    follower = Follower(Books(*numbers), 1)
    assert follower.next(6) == found
    assert follower.position == position


def test_given_all_were_gone_then_later_ones_are_found_nevertheless() -> None:
    books = Books()
    follower = Follower(books, 1)
    assert follower.next(6) is None
    books.numbers.append(7)
    assert follower.next(7) == (7, "results 7")


def test_given_a_journal_that_cannot_be_read_then_it_is_read_again_from_the_same_place() -> None:
    books = Books(1, 2, 3)
    follower = Follower(books, 0)
    assert follower.next(3) == (1, "results 1")
    books.fails = True
    with pytest.raises(OSError, match="no memory"):
        follower.next(3)
    books.fails = False
    assert follower.next(3) == (2, "results 2")


def test_given_another_place_then_it_goes_on_behind_that() -> None:
    books = Books(1, 2, 3, 4)
    follower = Follower(books, 0)
    follower.next(4)
    follower.next(4)
    follower.go_to(0)
    assert follower.next(4) == (1, "results 1")
    follower.go_to(3)
    assert follower.follows(4)


class TestRecent:
    def test_given_results_then_they_can_be_read_from_any_place_also_those_that_come_meanwhile(self) -> None:
        recent = Recent(4, 100)
        for number in (5, 6, 7):
            recent.add(number, b"%d" % number)
        reading = recent.results_after(5)
        assert next(reading) == (6, b"6")
        assert next(reading) == (7, b"7")
        recent.add(8, b"8")
        assert next(reading) == (8, b"8")
        assert next(reading, None) is None
        assert list(recent.results_after(0)) == [(5, b"5"), (6, b"6"), (7, b"7"), (8, b"8")]

    def test_given_more_than_it_may_keep_then_the_oldest_go_and_are_counted(self) -> None:
        recent = Recent(0, 25)
        for number in range(1, 6):
            recent.add(number, bytes(10))
        assert [number for number, _ in recent.results_after(0)] == [4, 5]
        assert (recent.dropped, recent.bytes) == (3, 20)
        recent.add(6, bytes(100))
        assert [number for number, _ in recent.results_after(0)] == [6]
        assert recent.dropped == 5

    def test_given_what_nobody_needs_any_more_then_it_goes_without_being_missed(self) -> None:
        recent = Recent(0, 100)
        for number in range(1, 5):
            recent.add(number, bytes(10))
        reading = recent.results_after(1)
        recent.forget(3)
        assert (recent.dropped, recent.bytes) == (0, 10)
        assert next(reading) == (4, bytes(10))
        recent.forget(9)
        assert recent.bytes == 0
        assert next(reading, None) is None
        recent.add(5, b"5")
        assert list(recent.results_after(0)) == [(5, b"5")]
