"""What a task prints, read and followed: each byte once, through attempts, gaps and nodes that are away."""

import time
from collections.abc import Callable

import pytest

from cyclone.client.task_output import OutputReader
from cyclone.protocol.job_messages import OutputAnswer
from cyclone.protocol.messages import OutputPieces

Told = list[tuple[int, int, bytes]]


class Task:
    """What may be asked: outputs by attempt, of which so much is there. ``then`` are what happens between questions."""

    def __init__(self, *then: Callable[["Task"], object]) -> None:
        self.printed: dict[int, bytes] = {}
        self.state = "queued"
        self.lost = 0
        self.away = False
        # The master has just started, and nobody has told it yet who has the task.
        self.is_new = False
        self.then = list(then)
        self.asked = 0

    def answer(self, attempt: int, offset: int, wait_s: float) -> OutputAnswer:
        if self.asked and self.then:
            self.then.pop(0)(self)
        self.asked += 1
        last = max(self.printed, default=0)
        number = attempt or last
        if self.away or self.is_new or not number:
            ended = self.state not in ("running", "queued")
            return OutputAnswer(1, number, 0, [], 0, ended, self.state, "c1", "away" if self.away else "")
        data = self.printed[number]
        begin = min(max(offset, self.lost), len(data))
        part = data[begin : begin + 4]
        ended = number < last or self.state not in ("running", "queued")
        return OutputAnswer(1, number, begin, [(1, part)] if part else [], len(data), ended, self.state, "c1")

    def is_in(self, attempt: int, printed: bytes, state: str = "running") -> "Task":
        self.printed[attempt], self.state = printed, state
        return self


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def told(reader: OutputReader) -> Told:
    return [(piece.attempt, piece.offset, piece.data) for piece in reader.follow(1.0) if piece]


def test_given_an_output_then_it_is_read_to_its_end(at_once: None) -> None:
    task = Task().is_in(1, b"abcdefghij", "completed")
    reader = OutputReader(task.answer)
    assert b"".join(piece.data for piece in reader.read()) == b"abcdefghij"
    assert [piece.data for piece in OutputReader(task.answer, offset=7).read()] == [b"hij"]


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        pytest.param([], [(1, 0, b"ab")], id="has ended"),
        pytest.param(
            [lambda task: task.is_in(1, b"abcd"), lambda task: None, lambda task: task.is_in(1, b"abcdef", "failed")],
            [(1, 0, b"ab"), (1, 2, b"cd"), (1, 4, b"ef")],
            id="goes on",
        ),
        pytest.param(
            [lambda task: task.is_in(2, b""), lambda task: None, lambda task: task.is_in(2, b"xyz", "completed")],
            [(1, 0, b"ab"), (2, 0, b"xyz")],
            id="is tried again",
        ),
        pytest.param(
            [lambda task: task.is_in(2, b"xyzw", "completed")], [(1, 0, b"ab"), (2, 0, b"xyzw")], id="had been already"
        ),
        pytest.param(
            [
                lambda task: setattr(task, "away", True),
                lambda task: None,
                lambda task: setattr(task.is_in(1, b"abc", "completed"), "away", False),
            ],
            [(1, 0, b"ab"), (1, 2, b"c")],
            id="was away",
        ),
        pytest.param(
            [
                lambda task: setattr(task.is_in(1, b"abcd", "completed"), "away", True),
                lambda task: None,
                lambda task: None,
                lambda task: setattr(task, "away", False),
            ],
            [(1, 0, b"ab"), (1, 2, b"cd")],
            id="has ended while its node was away",
        ),
        pytest.param(
            [
                lambda task: task.is_in(1, b"abcdef"),
                lambda task: setattr(task, "is_new", True),
                lambda task: None,
                lambda task: setattr(task.is_in(1, b"abcdefgh", "completed"), "is_new", False),
            ],
            [(1, 0, b"ab"), (1, 2, b"cdef"), (1, 6, b"gh")],
            id="goes on while the master is started anew",
        ),
        pytest.param(
            [
                lambda task: setattr(task, "is_new", True),
                lambda task: setattr(task.is_in(1, b"xyzu", "completed"), "is_new", False),
            ],
            [(1, 0, b"ab"), (1, 0, b"xyzu")],
            id="is begun anew by another master, which counts from one again",
        ),
        pytest.param(
            [lambda task: task.is_in(1, b"x"), lambda task: None, lambda task: task.is_in(1, b"xy", "completed")],
            [(1, 0, b"ab"), (1, 0, b"x"), (1, 1, b"y")],
            id="is begun anew, and has printed less by now",
        ),
    ],
)
def test_given_a_task_when_followed_then_each_byte_is_told_once(
    then: list[Callable[[Task], object]], expected: Told
) -> None:
    task = Task(*then).is_in(1, b"ab", "running" if then else "completed")
    assert told(OutputReader(task.answer)) == expected


def test_given_a_node_that_does_not_come_back_then_the_rest_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cyclone.client.task_output._BACK_S", 0.0)
    task = Task(lambda task: setattr(task.is_in(1, b"abcd", "completed"), "away", True)).is_in(1, b"ab")
    reader = OutputReader(task.answer)
    assert told(reader) == [(1, 0, b"ab")]
    assert reader.last is not None
    assert reader.last.text == "away"


def test_given_a_task_that_waits_then_it_is_followed_from_its_beginning() -> None:
    task = Task(lambda task: None, lambda task: task.is_in(1, b"ab"), lambda task: task.is_in(1, b"ab", "completed"))
    assert told(OutputReader(task.answer)) == [(1, 0, b"ab")]


def test_given_one_attempt_that_is_named_then_the_next_is_not_followed() -> None:
    task = Task().is_in(1, b"ab").is_in(2, b"cd")
    assert told(OutputReader(task.answer, attempt=1)) == [(1, 0, b"ab")]


def test_given_a_beginning_that_is_not_kept_then_it_is_counted() -> None:
    task = Task().is_in(1, b"abcdef", "completed")
    task.lost = 3
    reader = OutputReader(task.answer)
    assert told(reader) == [(1, 3, b"def")]
    assert reader.lost_bytes == 3


def test_given_a_task_that_prints_nothing_then_its_end_is_the_end() -> None:
    task = Task()
    task.state = "cancelled"
    task.printed = {1: b""}
    reader = OutputReader(task.answer)
    assert told(reader) == []
    assert reader.last is not None
    assert reader.last.state == "cancelled"


def test_given_a_task_that_printed_more_than_is_kept_then_that_is_told_beside_what_it_printed() -> None:
    pages: list[OutputPieces] = [[(1, b"abc"), (5, b"9 more by")], [(5, b"tes\n")], []]

    def answer(_: int, offset: int, __: float) -> OutputAnswer:
        return OutputAnswer(1, 1, offset, pages.pop(0), 16, True, "completed", "c1")

    reader = OutputReader(answer, attempt=1)
    assert [(piece.offset, piece.data) for piece in reader.read()] == [(0, b"abc")]
    assert reader.cut == "9 more bytes"
