"""What people ask of a master: cancel, drain, status."""

import pytest

from cyclone.master import state as state_module
from cyclone.master.actions import Action, Send
from cyclone.master.leases.recalls import EVERYTHING
from cyclone.protocol import limits
from cyclone.protocol.client_messages import Answer, CancelRequest, DrainRequest, StatusReport, StatusRequest
from cyclone.protocol.messages import Cancel, JobOptions, Recall, Returned, TaskRange, Tasks
from cyclone.protocol.states import COMPLETED
from tests.support.masters import Master, batch, final_states, sent, tasks
from tests.unit.master.conftest import NewMaster

OTHER = JobOptions("tests:Other")


def ask(
    master: Master, first: int = 1, last: int = limits.ID_MAX, task_class: str = "", state: str = ""
) -> tuple[Answer, list[Action]]:
    """The answer to a request to cancel, and all that was done."""
    actions = master.scheduler.answer(b"client", CancelRequest(3, first, last, task_class, state), master.now)
    (answer,) = [a.message for a in actions if isinstance(a, Send) and a.peer == b"client"]
    assert isinstance(answer, Answer)
    assert answer.request == 3
    return answer, actions


def cancelled_at(actions: list[Action]) -> list[TaskRange]:
    """What controllers were asked to stop."""
    return [part for message in sent(actions) if isinstance(message, Cancel) for part in message.ranges]


@pytest.fixture
def leased(master: Master) -> int:
    """A session with the tasks 1 to 4; 5 and 6 are fresh, 7 and 8 of another class too."""
    session = master.join()
    master.offer(6)
    master.offer(2, job=OTHER)
    master.lease(session, 4)
    return session


@pytest.mark.parametrize(
    ("asked", "ended", "stopped"),
    [
        pytest.param({"first": 5, "last": 5}, [5], [], id="a fresh one"),
        pytest.param({"first": 2, "last": 2}, [], [2], id="one that is leased"),
        pytest.param({"first": 4, "last": 5}, [5], [4], id="both"),
        pytest.param({"task_class": "tests:Other"}, [7, 8], [], id="a class"),
        pytest.param({"task_class": "tests:Task"}, [5, 6], [1, 2, 3, 4], id="the other class"),
        pytest.param({"state": "queued"}, [5, 6, 7, 8], [], id="what waits"),
        pytest.param({"state": "leased"}, [], [1, 2, 3, 4], id="what is leased"),
        pytest.param({}, [5, 6, 7, 8], [1, 2, 3, 4], id="everything"),
    ],
)
def test_given_a_wish_then_what_waits_ends_and_the_controller_is_asked_for_the_rest(
    master: Master, leased: int, asked: dict[str, object], ended: list[int], stopped: list[int]
) -> None:
    answer, actions = ask(master, **asked)  # type: ignore[arg-type]
    assert (answer.granted, answer.count) == (True, len(ended) + len(stopped))
    assert final_states(actions) == dict.fromkeys(ended, "cancelled")
    assert [i for part in cancelled_at(actions) for i in range(part.first, part.first + part.count)] == stopped
    confirmed = master.handle(Returned(leased, 0, [tasks(i) for i in stopped]))
    assert final_states(confirmed + master.advance()) == dict.fromkeys(stopped, "cancelled")
    assert not master.scheduler.state.cancellations


def test_given_a_task_that_completes_after_the_wish_then_it_is_cancelled_all_the_same(
    master: Master, leased: int
) -> None:
    ask(master, 2, 2)
    actions = master.results(leased, batch(1, COMPLETED, COMPLETED, COMPLETED))
    assert final_states(actions) == {1: "completed", 2: "cancelled", 3: "completed"}
    master.advance(by_s=0.5)
    assert not master.scheduler.state.cancellations


def test_given_no_answer_of_the_controller_then_it_is_asked_again(master: Master, leased: int) -> None:
    assert leased
    ask(master, 2, 2)
    assert cancelled_at(master.advance(by_s=0.5)) == []
    assert cancelled_at(master.advance(by_s=2.0)) == [tasks(2)]


def test_given_the_class_of_none_then_the_answer_says_so_and_nothing_changes(master: Master, leased: int) -> None:
    assert leased
    answer, actions = ask(master, task_class="tests:Nothing")
    assert not answer.granted
    assert "no open task" in answer.text
    assert final_states(actions) == {}


def test_given_a_state_that_there_is_not_then_the_answer_says_which_there_are(master: Master) -> None:
    answer, _ = ask(master, state="sleeping")
    assert not answer.granted
    assert "queued or leased" in answer.text


def test_given_fresh_tasks_beside_a_cancelled_one_then_they_keep_their_order(master: Master, leased: int) -> None:
    ask(master, 6, 6)
    master.handle(Returned(leased, 0, [tasks(1, 4)]))
    actions = master.lease(leased, 8)
    sent_batches = [b for message in sent(actions) if isinstance(message, Tasks) for b in message.batches]
    assert [b.first + row for b in sent_batches for row in range(len(b.args))] == [1, 2, 3, 4, 5, 7, 8]


class TestDrain:
    def test_given_a_controller_then_it_gets_nothing_new_and_is_asked_for_what_it_has_not_started(
        self, master: Master, leased: int
    ) -> None:
        actions = master.scheduler.answer(b"client", DrainRequest(1, "c1", False), master.now)
        assert Recall(leased, EVERYTHING) in sent(actions)
        master.handle(Returned(leased, 0, [tasks(3, 2)]))
        master.lease(leased, 4)
        assert master.scheduler.leased_tasks == 2
        master.scheduler.answer(b"client", DrainRequest(2, "c1", True), master.now)
        master.lease(leased, 4)
        assert master.scheduler.leased_tasks == 6

    def test_given_a_drained_controller_that_comes_back_then_it_is_still_drained(
        self, master: Master, leased: int
    ) -> None:
        assert leased
        master.scheduler.answer(b"client", DrainRequest(1, "c1", False), master.now)
        again = master.join("c1", "2")
        master.lease(again, 4)
        assert master.scheduler.leased_tasks == 0

    def test_given_a_name_that_nobody_has_then_the_answer_names_those_there_are(
        self, master: Master, leased: int
    ) -> None:
        assert leased
        (answer,) = sent(master.scheduler.answer(b"client", DrainRequest(1, "c9", False), master.now))
        assert isinstance(answer, Answer)
        assert not answer.granted
        assert answer.text == "no controller is called 'c9'; known:"
        assert answer.names == ["c1"]


def test_given_tasks_in_every_state_then_status_counts_them(master: Master, leased: int) -> None:
    master.results(leased, batch(1, COMPLETED))
    (report,) = sent(master.scheduler.answer(b"client", StatusRequest(9), master.now))
    assert isinstance(report, StatusReport)
    assert report.request == 9
    assert {name: count for name, count in report.tasks.items() if count} == {"queued": 4, "leased": 3, "completed": 1}
    assert [(one.name, one.slots, one.open) for one in report.controllers] == [("c1", 2, 3)]


@pytest.mark.parametrize(
    ("asked", "count", "text"),
    [
        pytest.param({"first": 70, "last": 70}, 1, "1 task is cancelled; what runs is being stopped", id="one"),
        pytest.param({"first": 70}, 11, "11 tasks are cancelled; what runs is being stopped", id="all behind it"),
        pytest.param(
            {"first": 70, "task_class": "tests:Task"},
            11,
            "0 tasks are cancelled; what runs is being stopped; "
            "so is what is meant of 11 that still lie in the journal",
            id="a class",
        ),
    ],
)
def test_given_tasks_that_only_the_journal_has_then_the_answer_counts_them(
    new_master: NewMaster, monkeypatch: pytest.MonkeyPatch, asked: dict[str, object], count: int, text: str
) -> None:
    monkeypatch.setattr(state_module, "PAGE_TASKS", 8)
    master = new_master()
    for _ in range(10):
        master.offer(8)
    answer, _ = ask(master, **asked)  # type: ignore[arg-type]
    assert (answer.granted, answer.count, answer.text) == (True, count, text)
    for _ in range(3):
        master.advance()
    assert master.scheduler.state.ended["cancelled"] == count
