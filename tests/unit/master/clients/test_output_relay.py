"""Questions about what tasks have printed: who is asked, and what becomes of answers, silence and lies."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cyclone.master.clients.output_relay import OutputRelay
from cyclone.master.jobs.listing import LiveTasks
from cyclone.master.journal import Journal
from cyclone.master.scheduler import Scheduler
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import OutputAnswer, OutputRequest, TaskRow
from cyclone.protocol.messages import FetchOutput, Output

JOB, TASK = 5, 170
CLIENT = b"client"
MOMENT = 1_800_000_000.0
AWAY = (
    "{} is not connected{}: what its tasks have printed is kept there, in output/ of its [control] state_dir, and can "
    "be fetched when it is back"
)


class World:
    """A relay between clients and controllers that are called by a letter; ``task`` is where the task is."""

    def __init__(self) -> None:
        self.now = 100.0
        self.task: tuple[str, int, str] | None = ("running", 1, "a")
        self.sessions = SimpleNamespace(by_id={}, by_name={})
        self._sessions = 0
        self.asked: list[tuple[bytes, FetchOutput]] = []
        self.answers: list[OutputAnswer | Answer] = []
        scheduler = SimpleNamespace(state=SimpleNamespace(sessions=self.sessions), live_tasks=self._live)
        journal = SimpleNamespace(task_rows=self._rows)
        self.relay = OutputRelay(
            *(cast(Scheduler, scheduler), cast(Journal, journal), self._to_client, self._to_controller), lambda: MOMENT
        )

    def joins(self, *names: str) -> None:
        for name in names:
            self._sessions += 1
            number = self._sessions
            session = SimpleNamespace(session_id=number, peer=name.encode(), name=name)
            self.sessions.by_id[number] = self.sessions.by_name[name] = session

    def leaves(self, name: str) -> None:
        session = self.sessions.by_name.pop(name)
        del self.sessions.by_id[session.session_id]
        self.relay.left(name)

    def ask(self, request: int = 1, index: int = 17, peer: bytes = CLIENT, **options: Any) -> list[FetchOutput]:
        """What controllers are asked then."""
        before = len(self.asked)
        self.relay.ask(peer, OutputRequest(request, JOB, index, **options))
        self.turn()
        return [message for _, message in self.asked[before:]]

    def says(self, name: str, question: FetchOutput, **fields: Any) -> None:
        told = {
            "session": question.session,
            "request": question.request,
            "task_id": question.task_id,
            "attempt": 1,
            "offset": 0,
            "pieces": [],
            "size": 0,
            "ended": True,
        }
        self.relay.told(name.encode(), Output(**{**told, **fields}))
        self.turn()

    def turn(self, by_s: float = 0.02) -> None:
        self.now += by_s
        self.relay.turn(self.now)

    def answered(self) -> OutputAnswer:
        (answer,) = self.answers
        assert isinstance(answer, OutputAnswer)
        return answer

    def _live(self, job_id: int, start: int, stop: int) -> Iterator[LiveTasks]:
        if self.task and self.task[0] in ("queued", "delayed", "running") and (job_id, start) == (JOB, 17):
            yield LiveTasks(start, TASK, 1, *self.task)

    def _rows(self, job_id: int, start: int, *_: Any, **__: Any) -> tuple[list[TaskRow], None]:
        if self.task and self.task[0] == "completed" and (job_id, start) == (JOB, 17):
            return [TaskRow(start, TASK, *self.task)], None
        return [TaskRow(start + 1, TASK + 1, "completed", 1, "a")], None

    def _to_client(self, peer: bytes, answer: Any) -> bool:
        assert peer == CLIENT
        self.answers.append(answer)
        return True

    def _to_controller(self, peer: bytes, question: FetchOutput) -> bool:
        self.asked.append((peer, question))
        return True


@pytest.fixture
def world() -> World:
    made = World()
    made.joins("a", "b")
    return made


@pytest.mark.parametrize("state", ["running", "completed"])
def test_given_a_task_then_who_has_it_or_had_it_is_asked_and_the_answer_goes_back(world: World, state: str) -> None:
    world.task = (state, 1, "b")
    (question,) = world.ask(offset=7, bytes_max=100, wait_s=2.0)
    assert question == FetchOutput(2, 1, TASK, 0, 7, 100, 2.0)
    assert world.asked[0][0] == b"b"
    world.says("b", question, offset=7, pieces=[(1, b"hi")], size=9, ended=False)
    assert world.answered() == OutputAnswer(1, 1, 7, [(1, b"hi")], 9, False, state, "b")


def test_given_a_question_that_is_repeated_then_it_is_asked_once_and_later_anew(world: World) -> None:
    (question,) = world.ask()
    assert world.ask() == []
    world.says("a", question)
    world.says("a", question)
    assert len(world.answers) == 1
    assert len(world.ask()) == 1


def test_given_a_task_that_nobody_has_had_then_it_is_waited_for(world: World) -> None:
    world.task = ("queued", 0, "")
    assert world.ask(wait_s=2.0) == []
    world.turn(1.0)
    assert world.answers == []
    world.task = ("running", 1, "a")
    world.turn()
    ((_, question),) = world.asked
    world.says("a", question, pieces=[(1, b"x")], size=1)
    assert world.answered().pieces == [(1, b"x")]


@pytest.mark.parametrize(
    ("task", "wait_s", "expected"),
    [
        pytest.param(("queued", 0, ""), 0.0, (False, "queued", ""), id="nobody waits"),
        pytest.param(("queued", 0, ""), 1.0, (False, "queued", ""), id="waited in vain"),
        pytest.param(("completed", 0, ""), 1.0, (True, "completed", ""), id="it never ran"),
    ],
)
def test_given_a_task_that_has_not_run_then_its_state_is_told(
    world: World, task: tuple[str, int, str], wait_s: float, expected: tuple[bool, str, str]
) -> None:
    world.task = task
    assert world.ask(wait_s=wait_s) == []
    world.turn(wait_s)
    answer = world.answered()
    assert (answer.ended, answer.state, answer.text) == expected


def test_given_a_former_attempt_then_all_are_asked_and_the_one_that_has_it_is_told(world: World) -> None:
    world.task = ("running", 3, "a")
    questions = world.ask(attempt=2, wait_s=5.0)
    assert [(question.session, question.attempt, question.wait_s) for question in questions] == [(1, 2, 0), (2, 2, 0)]
    world.says("b", questions[1], attempt=2, pieces=[(2, b"old")], size=3)
    assert world.answers == []
    world.says("a", questions[0], attempt=0)
    assert (world.answered().controller, world.answered().pieces) == ("b", [(2, b"old")])


def test_given_a_former_attempt_and_very_many_controllers_then_nobody_is_asked(world: World) -> None:
    world.joins(*(f"c{number}" for number in range(100)))
    world.task = ("running", 2, "a")
    assert world.ask(attempt=1) == []
    assert world.answered().text == "it is not known any more who had this attempt"


def test_given_an_attempt_that_has_not_been_then_it_is_said(world: World) -> None:
    assert world.ask(attempt=2) == []
    assert world.answered().text == "there has been no attempt 2, the last one is 1"


def test_given_a_task_that_waits_for_its_next_try_then_its_last_attempt_is_found(world: World) -> None:
    world.task = ("delayed", 2, "")
    questions = world.ask()
    world.says("a", questions[0], attempt=1, size=4, pieces=[(1, b"1st.")])
    world.says("b", questions[1], attempt=2, size=1, pieces=[(1, b"2")])
    assert (world.answered().attempt, world.answered().controller) == (2, "b")


def test_given_a_node_that_is_away_then_it_is_said_where_the_output_lies(world: World) -> None:
    world.task = ("completed", 1, "gone")
    for question, name in zip(world.ask(), "ab", strict=True):
        world.says(name, question, attempt=0)
    assert world.answered().text == AWAY.format("gone", "")
    assert world.answered().ended


def test_given_an_attempt_that_nobody_has_any_more_while_the_next_one_runs_then_it_has_ended(world: World) -> None:
    world.task = ("running", 2, "b")
    for question, name in zip(world.ask(attempt=1), "ab", strict=True):
        world.says(name, question, attempt=0)
    assert (world.answered().attempt, world.answered().ended, world.answered().state) == (1, True, "running")


def test_given_nobody_at_all_then_it_is_said_at_once(world: World) -> None:
    world.leaves("a")
    world.leaves("b")
    assert world.ask(wait_s=9.0) == []
    assert world.answered().text == AWAY.format("a", " since 2027-01-15T08:00:00Z")
    assert world.answered().away


def test_given_a_controller_that_dies_in_the_middle_of_an_answer_then_it_is_said_at_once(world: World) -> None:
    world.leaves("b")
    assert len(world.ask(wait_s=60.0)) == 1
    world.leaves("a")
    world.turn()
    assert world.answered().text == AWAY.format("a", " since 2027-01-15T08:00:00Z")
    assert (world.answered().controller, world.answered().away) == ("a", True)


def test_given_a_controller_that_dies_in_the_middle_of_an_answer_then_the_others_may_have_taken_it_over(
    world: World,
) -> None:
    world.ask()
    world.leaves("a")
    world.turn()
    assert [(peer, message.session) for peer, message in world.asked] == [(b"a", 1), (b"b", 2)]
    world.says("b", world.asked[-1][1], size=1, pieces=[(1, b"x")])
    assert (world.answered().controller, world.answered().pieces) == ("b", [(1, b"x")])


def test_given_a_controller_that_is_started_again_in_the_middle_of_an_answer_then_it_is_asked_anew(
    world: World,
) -> None:
    world.ask()
    world.leaves("a")
    world.joins("a")
    world.turn()
    assert [message.session for _, message in world.asked] == [1, 3]
    world.says("a", world.asked[-1][1], size=1, pieces=[(1, b"x")])
    assert world.answered().pieces == [(1, b"x")]


def test_given_one_of_several_that_dies_then_the_answers_of_the_others_are_enough(world: World) -> None:
    world.task = ("running", 3, "a")
    questions = world.ask(attempt=2)
    world.says("b", questions[1], attempt=2, pieces=[(2, b"old")], size=3)
    world.leaves("a")
    world.turn()
    assert (world.answered().controller, world.answered().pieces) == ("b", [(2, b"old")])


def test_given_a_node_that_is_away_and_another_that_does_not_answer_then_it_is_said_whose_it_is(world: World) -> None:
    world.leaves("a")
    world.ask()
    world.turn(3.1)
    assert world.answered().text == AWAY.format("a", " since 2027-01-15T08:00:00Z")


def test_given_a_controller_that_does_not_answer_then_it_is_said_in_time(world: World) -> None:
    world.ask(wait_s=2.0)
    world.turn(4.9)
    assert world.answers == []
    world.turn(0.2)
    assert (world.answered().text, world.answered().away) == ("a did not answer in time", True)
    assert len(world.ask()) == 1


def test_given_a_controller_that_keeps_nothing_then_its_reason_is_told(world: World) -> None:
    (question,) = world.ask()
    world.says("a", question, attempt=0, text="it is not kept")
    assert (world.answered().text, world.answered().away) == ("it is not kept", False)


def test_given_a_task_that_has_printed_nothing_then_nothing_is_wrong(world: World) -> None:
    world.task = ("completed", 1, "a")
    (question,) = world.ask()
    world.says("a", question, attempt=0)
    assert (world.answered().text, world.answered().ended, world.answered().size) == ("", True, 0)


@pytest.mark.parametrize(
    ("name", "lie"),
    [
        pytest.param("b", {}, id="of another's session"),
        pytest.param("b", {"session": 2}, id="who was not asked"),
        pytest.param("a", {"request": 99}, id="to no question"),
    ],
)
def test_given_an_answer_that_nobody_asked_for_then_it_is_passed_over(
    world: World, name: str, lie: dict[str, Any]
) -> None:
    (question,) = world.ask()
    world.says(name, question, **lie)
    assert world.answers == []
    world.says("a", question, size=1, pieces=[(1, b"x")])
    assert world.answered().size == 1


@pytest.mark.parametrize("lie", [{"task_id": TASK + 1}, {"attempt": 9}])
def test_given_an_answer_about_something_else_then_nothing_of_it_is_told(world: World, lie: dict[str, Any]) -> None:
    (question,) = world.ask(attempt=1)
    world.says("a", question, size=6, pieces=[(1, b"secret")], **lie)
    assert (world.answered().pieces, world.answered().size) == ([], 0)


def test_given_no_such_task_then_it_is_refused(world: World) -> None:
    world.ask(index=18)
    assert world.answers == [Answer(1, False, 0, "there is no task 5.18, or it is not kept any more")]


def test_given_too_many_questions_of_a_client_then_one_more_is_refused_until_some_are_answered(world: World) -> None:
    questions = [world.ask(request=number)[0] for number in range(64)]
    assert world.ask(request=64) == []
    assert isinstance(world.answers.pop(), Answer)
    world.says("a", questions[0])
    assert len(world.ask(request=64)) == 1


def test_given_a_client_that_is_gone_then_its_questions_are_forgotten(world: World) -> None:
    (question,) = world.ask(wait_s=1.0)
    world.relay.gone(CLIENT)
    world.says("a", question)
    world.turn(60.0)
    assert world.answers == []
