"""What a master is told about what tasks print, and when: at once, or as soon as there is something."""

import math
from pathlib import Path

import pytest

from cyclone.controller.output_desk import OutputDesk
from cyclone.controller.output_store import OutputStore
from cyclone.controller.printed import LOG
from cyclone.protocol.messages import FetchOutput, Output, TaskRange

JOURNAL = "a" * 32
TASK = 5


class Node:
    """A desk, and the leases that its controller holds."""

    def __init__(self, folder: Path) -> None:
        self.held = [TaskRange(1, 9, 7, 1)]
        self.desk = OutputDesk(OutputStore(folder, 1 << 20), lambda: self.held)
        self.desk.begin(3, JOURNAL)
        self.now = 50.0

    def prints(self, data: bytes, offset: int = 0, stream: int = 1, attempt: int = 1) -> list[Output]:
        self.desk.keep(TaskRange(TASK, 1, 7, attempt), offset, stream, data)
        return self.desk.turn(self.now)

    def ends(self) -> list[Output]:
        self.held = []
        self.desk.changed()
        self.now += 0.05
        return self.desk.turn(self.now)

    def ask(self, offset: int = 0, wait_s: float = 0.0, attempt: int = 0, request: int = 1) -> list[Output]:
        return self.desk.ask(FetchOutput(3, request, TASK, attempt, offset, 100, wait_s), self.now)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "output")


def test_given_output_then_it_is_told_at_once_and_whether_more_may_come(node: Node) -> None:
    node.prints(b"hi")
    assert node.ask(wait_s=9.0) == [Output(3, 1, TASK, 1, 0, [(1, b"hi")], 2, ended=False)]
    node.ends()
    assert node.ask(wait_s=9.0) == [Output(3, 1, TASK, 1, 0, [(1, b"hi")], 2, ended=True)]


def test_given_what_is_logged_then_it_is_told_with_the_errors(node: Node) -> None:
    node.prints(b"warning", stream=LOG)
    assert node.ask()[0].pieces == [(2, b"warning")]


def test_given_nothing_yet_then_the_answer_waits_until_something_is_printed(node: Node) -> None:
    assert node.ask(wait_s=9.0) == []
    assert node.desk.turn(node.now) == []
    assert node.desk.deadline == node.now + 9.0
    assert [output.pieces for output in node.prints(b"hi")] == [[(1, b"hi")]]
    assert node.desk.deadline == math.inf
    assert node.prints(b"more", offset=2) == []


def test_given_nothing_yet_then_the_answer_waits_until_the_task_has_ended(node: Node) -> None:
    assert node.ask(wait_s=9.0) == []
    assert [(output.attempt, output.size, output.ended) for output in node.ends()] == [(0, 0, True)]


def test_given_nothing_for_long_enough_then_that_is_told(node: Node) -> None:
    assert node.ask(wait_s=2.0) == []
    assert node.desk.turn(node.now + 1.9) == []
    assert [(output.attempt, output.ended) for output in node.desk.turn(node.now + 2.0)] == [(1, False)]


def test_given_a_later_attempt_that_has_printed_nothing_yet_then_it_is_the_last_one(node: Node) -> None:
    node.prints(b"first")
    node.held = [TaskRange(TASK, 1, 7, 2)]
    assert node.ask(offset=5) == [Output(3, 1, TASK, 2, 0, [], 0, ended=False)]
    assert node.ask(attempt=1) == [Output(3, 1, TASK, 1, 0, [(1, b"first")], 5, ended=True)]


def test_given_a_new_session_then_questions_of_the_former_are_forgotten_and_what_is_kept_is_not(node: Node) -> None:
    assert node.ask(wait_s=1.0) == []
    node.desk.begin(4, JOURNAL)
    assert node.prints(b"hi") == []
    assert [output.session for output in node.ask()] == [4]


def test_given_very_many_questions_that_wait_then_the_oldest_is_answered(node: Node) -> None:
    answers = [node.ask(wait_s=9.0, request=number) for number in range(1, 300)]
    assert [output.request for found in answers for output in found] == list(range(1, 300 - 256))


def test_given_nothing_that_is_kept_then_the_reason_is_told() -> None:
    desk = OutputDesk(None, list)
    desk.begin(3, JOURNAL)
    (answer,) = desk.ask(FetchOutput(3, 1, TASK, 0, 0, 100, 9.0), 0.0)
    assert (answer.attempt, answer.ended) == (0, True)
    assert "[processing] output = log" in answer.text
