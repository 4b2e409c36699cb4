"""What is not to begin any more is asked for until its controller has answered."""

from collections.abc import Callable

import pytest

from cyclone.master.actions import Action
from cyclone.master.leases.recalls import ASK_AGAIN_S, EVERYTHING
from cyclone.protocol.job_messages import NamespaceRequest
from cyclone.protocol.job_spec import Namespace
from cyclone.protocol.messages import Recall, Returned
from tests.support.job_requests import ask, control, submit
from tests.support.masters import NEXT, Master, sent, tasks

TASKS = 8


def recalls(actions: list[Action]) -> list[Recall]:
    return [message for message in sent(actions) if isinstance(message, Recall)]


@pytest.fixture
def session(master: Master) -> int:
    """A controller with two slots and eight tasks of job 1."""
    session = master.join()
    submit(master, TASKS, sealed=False)
    master.lease(session, TASKS)
    return session


def hold(master: Master) -> None:
    control(master, "hold", 1)


def pause(master: Master) -> None:
    ask(master, NamespaceRequest(1, "set", Namespace(name="default", paused=True)))


def drain(master: Master) -> None:
    master.drain("c1")


def stop(master: Master) -> None:
    master.carry_out(master.scheduler.stop(master.now))


def later(master: Master, session: int, by_s: float = ASK_AGAIN_S + 0.6) -> list[Recall]:
    """What is asked for in that time, in which the controller is heard of."""
    found = []
    for _ in range(int(by_s / 0.5)):
        open_now = master.scheduler.state.sessions.by_id[session].open
        known = master.scheduler.state.sessions.by_id[session]
        master.state(session, known.granted, [tasks(1, open_now)] if open_now else [], known.tasks_seq)
        found += recalls(master.advance(by_s=0.5))
    return found


@pytest.mark.parametrize("wish", [hold, pause, drain, stop])
def test_given_no_answer_then_it_is_asked_again_until_there_is_one(
    master: Master, session: int, wish: Callable[[Master], None]
) -> None:
    wish(master)
    assert later(master, session) == [Recall(session, EVERYTHING)]
    assert later(master, session) == [Recall(session, EVERYTHING)]
    master.handle(Returned(session, 0, [tasks(3, 6)]))
    assert later(master, session) == []
    assert [span.open_count for span in master.scheduler.state.sessions.by_id[session].spans] == [2]


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        pytest.param([tasks(8, 1)], [Recall(0, EVERYTHING)], id="to an earlier question, for less"),
        pytest.param([], [], id="nothing has not started"),
        pytest.param([tasks(1, 8)], [], id="nothing has started"),
    ],
)
def test_given_an_answer_then_it_is_asked_again_only_where_more_may_be_left(
    master: Master, session: int, answer: list[object], again: list[Recall]
) -> None:
    hold(master)
    master.handle(Returned(session, 0, answer))  # type: ignore[arg-type]
    assert [one.count for one in later(master, session)] == [one.count for one in again]


@pytest.mark.parametrize("wish", [hold, pause, drain])
@pytest.mark.parametrize("restarts", [False, True])
def test_given_a_wish_and_a_new_session_then_it_is_asked_there(
    master: Master, session: int, wish: Callable[[Master], None], restarts: bool
) -> None:
    wish(master)
    if restarts:
        master.restart()
    before = master.scheduler.state.sessions.by_name.get("c1")
    again = master.join(held=[tasks(1, TASKS)])
    assert before is None or again != before.session_id
    assert later(master, again) == [Recall(again, EVERYTHING)]


def test_given_no_wish_and_a_new_session_then_nothing_is_asked_for(master: Master, session: int) -> None:
    again = master.join(held=[tasks(1, TASKS)])
    assert master.scheduler.state.sessions.by_id[again].recall_again_at > 1e9
    assert later(master, again) == []


def test_given_a_job_that_is_released_then_what_comes_back_is_leased_again(master: Master, session: int) -> None:
    hold(master)
    control(master, "release", 1)
    master.handle(Returned(session, 0, [tasks(3, 6)]))
    assert master.scheduler.state.lanes.waiting == 6
    assert master.scheduler.state.epoch < NEXT
