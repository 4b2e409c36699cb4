"""Who takes part: what a hello, a goodbye and silence do, as tables. After a restart: test_adoption.py."""

import pytest

from cyclone.master.actions import Record, Say, Send
from cyclone.master.events import (
    AttemptsEnded,
    ControllerJoined,
    ControllerLeft,
)
from cyclone.master.leases.admission import Terms
from cyclone.protocol import messages
from cyclone.protocol.messages import (
    Goodbye,
    Job,
    Refused,
    Results,
    Returned,
    State,
    TaskBatch,
    TaskRange,
    Tasks,
    Welcome,
)
from cyclone.protocol.states import COMPLETED, LOST
from tests.support.masters import (
    EPOCH,
    FORMER_SESSIONS,
    JOB,
    JOURNAL,
    Master,
    batch,
    hello,
    kinds,
    peer,
    sent,
    tasks,
)

ARGS = b"\x90"


def welcome(nth: int, incarnation: str = "1", drop: tuple[TaskRange, ...] = ()) -> Welcome:
    return Welcome(FORMER_SESSIONS + nth, incarnation * 32, EPOCH, JOURNAL, 1.0, 15.0, list(drop))


def joined(held: int = 0) -> Say:
    return Say("info", f"controller=c1 joined host=node slots=2 held={held}")


@pytest.fixture
def leased(master: Master) -> int:
    """A session with the tasks 1 to 4 in attempt 1; 5 and 6 are fresh."""
    session = master.join()
    master.offer(6)
    master.lease(session, 4)
    return session


class TestHello:
    def test_given_a_first_hello_then_a_session_opens(self, master: Master) -> None:
        assert master.handle(hello()) == [
            Record(ControllerJoined("c1", "1" * 32)),
            joined(),
            Send(peer("c1"), welcome(1)),
        ]

    @pytest.mark.parametrize(
        ("code", "protocol"),
        [("version", 1), ("superseded", 2), ("draining", 2)],
    )
    def test_given_a_hello_that_is_refused_then_nothing_else_changes(
        self, master: Master, code: str, protocol: int
    ) -> None:
        if code == "superseded":
            master.join("c1", "0")
            master.join("c1", "1")
        if code == "draining":
            master.scheduler.stop(master.now)
        before = dict(master.scheduler.state.sessions.by_id)
        incarnation = "0" if code == "superseded" else "1"
        assert master.handle(hello("c1", incarnation, protocol=protocol), "other") == [
            Send(peer("other"), Refused(code, incarnation * 32, messages.REFUSALS[code]))
        ]
        assert master.scheduler.state.sessions.by_id == before

    def test_given_a_new_incarnation_then_the_old_one_is_refused_and_its_tasks_wait_in_front(
        self, master: Master, leased: int
    ) -> None:
        text = "a new incarnation of c1 said hello from node, pid 11"
        assert master.scheduler.handle(b"new", hello("c1", "2"), master.now) == [
            Send(peer("c1"), Refused("superseded", "1" * 32, text)),
            Say("warning", f"controller=c1 superseded: {text}"),
            Record(AttemptsEnded(1, 4, EPOCH, 1, LOST, "c1")),
            Record(ControllerJoined("c1", "2" * 32)),
            joined(),
            Send(b"new", welcome(2, "2")),
        ]
        master.scheduler.handle(b"new", State(leased + 1, 1, 0, 5, 2, 0, []), master.now)
        assert sent(master.advance()) == [
            Tasks(
                leased + 1,
                1,
                5,
                [Job(1, *JOB)],
                [TaskBatch(1, 2, [(1, 4)], [ARGS] * 4), TaskBatch(5, 1, [(1, 1)], [ARGS])],
            )
        ]

    def test_given_the_superseded_one_speaks_on_its_session_then_it_is_told_that_the_session_is_gone(
        self, master: Master, leased: int
    ) -> None:
        master.scheduler.handle(b"new", hello("c1", "2"), master.now)
        assert master.results(leased, batch(1, COMPLETED)) == [
            Send(peer("c1"), Refused("no_session", "", f"session {FORMER_SESSIONS + 1} is not known here"))
        ]

    @pytest.mark.parametrize(
        ("held", "adopted", "drop"),
        [
            pytest.param([tasks(1, 4)], 4, [], id="all that it was leased"),
            pytest.param([], 0, [], id="nothing: all was lost"),
            pytest.param([tasks(2, 2)], 2, [], id="a part"),
            pytest.param([tasks(3, 4)], 2, [tasks(5, 2)], id="more than it was leased"),
            pytest.param([tasks(1, 2), tasks(3, 2, attempt=2)], 2, [tasks(3, 2, attempt=2)], id="a part is another's"),
            pytest.param([tasks(1, 4, attempt=2)], 0, [tasks(1, 4, attempt=2)], id="another attempt"),
            pytest.param([tasks(1, 4, epoch=6)], 0, [tasks(1, 4, epoch=6)], id="another epoch"),
            pytest.param([tasks(1, 4, epoch=8)], 0, [tasks(1, 4, epoch=8)], id="an epoch to come"),
            pytest.param([tasks(5, 2)], 0, [tasks(5, 2)], id="fresh tasks"),
            pytest.param([tasks(90)], 0, [tasks(90)], id="tasks that do not exist"),
        ],
    )
    def test_given_the_same_incarnation_again_then_what_it_still_holds_is_adopted(
        self, master: Master, leased: int, held: list[TaskRange], adopted: int, drop: list[TaskRange]
    ) -> None:
        assert master.scheduler.handle(b"again", hello(held=held), master.now) == [
            Send(b"again", welcome(2, drop=tuple(drop)))
        ]
        assert master.scheduler.state.sessions.by_id[leased + 1].open == adopted
        assert master.scheduler.state.lanes.window.in_memory == 6 - adopted
        assert list(master.scheduler.state.sessions.by_id) == [leased + 1]

    def test_given_a_controller_that_was_given_up_when_it_comes_back_then_tasks_not_leased_again_are_adopted(
        self, master: Master, leased: int
    ) -> None:
        master.advance(15.1)
        other = master.join("c2", "2")
        master.lease(other, 2)
        assert master.handle(hello(held=[tasks(1, 2), tasks(3, 2)])) == [
            Record(ControllerJoined("c1", "1" * 32)),
            joined(held=2),
            Send(peer("c1"), welcome(3, drop=(tasks(1, 2),))),
        ]

    def test_given_adopted_tasks_when_the_first_state_does_not_list_them_then_they_are_leased_again(
        self, master: Master, leased: int
    ) -> None:
        master.handle(hello(held=[tasks(1, 4)]))
        master.handle(State(leased + 1, 1, 0, 9, 2, 0, [tasks(1, 2)]))
        batches = [TaskBatch(3, 2, [(1, 2)], [ARGS] * 2), TaskBatch(5, 1, [(1, 2)], [ARGS] * 2)]
        assert sent(master.advance()) == [Tasks(leased + 1, 1, 4, [Job(1, *JOB)], batches)]


class TestTheEndOfASession:
    def test_given_a_goodbye_then_what_it_held_waits_in_front(self, master: Master, leased: int) -> None:
        assert master.handle(Goodbye(leased, "stopped")) == [
            Say("info", "controller=c1 left: stopped"),
            Record(ControllerLeft("c1")),
        ]
        assert master.scheduler.state.lanes.window.in_memory == 6
        assert len(master.scheduler.state.sessions) == 0

    def test_given_silence_then_all_that_it_holds_is_requeued_once_the_time_is_over(
        self, master: Master, leased: int
    ) -> None:
        master.advance(15.0)
        assert master.scheduler.leased_tasks == 4
        assert master.advance(0.6) == [
            Say("warning", "controller=c1 silent for 15.6 s: 4 tasks requeued"),
            Record(ControllerLeft("c1")),
            Record(AttemptsEnded(1, 4, EPOCH, 1, LOST, "c1")),
        ]
        assert master.scheduler.leased_tasks == 0

    def test_given_messages_that_wait_unread_then_nobody_is_silent_whose_may_be_among_them(
        self, master: Master, leased: int
    ) -> None:
        heard_until = master.now
        master.now += 60.0
        assert master.scheduler.advance(master.now, heard_until) == []
        assert master.scheduler.leased_tasks == 4
        master.now += 1.0
        master.scheduler.advance(master.now, heard_until + 16.0)
        assert master.scheduler.leased_tasks == 0

    def test_given_any_message_then_it_is_a_sign_of_life(self, master: Master, leased: int) -> None:
        master.advance(10.0)
        master.handle(Returned(leased, 0, []))
        assert master.advance(10.0) == []

    @pytest.mark.parametrize(
        "message",
        [
            State(9, 1, 0, 0, 2, 0, []),
            Results(9, 1, 0, [batch(1, COMPLETED)]),
            Returned(9, 0, [tasks(1)]),
            Goodbye(9, ""),
        ],
        ids=lambda message: type(message).__name__,
    )
    def test_given_an_unknown_session_then_the_sender_is_told_to_say_hello(
        self, master: Master, leased: int, message: State
    ) -> None:
        refused = Refused("no_session", "", "session 9 is not known here")
        assert master.handle(message) == [Send(peer("c1"), refused)]

    def test_given_the_session_of_another_connection_then_it_is_refused(self, master: Master, leased: int) -> None:
        assert kinds(master.handle(Goodbye(leased, ""), "stranger")) == ["Send Refused"]
        assert master.scheduler.leased_tasks == 4


@pytest.mark.parametrize(
    ("heartbeat_s", "timeout_s", "sessions", "expected_s"),
    [
        pytest.param(1.0, 15.0, 1, 1.0, id="a few speak as configured"),
        pytest.param(1.0, 15.0, 1000, 1.0, id="a thousand too"),
        pytest.param(1.0, 15.0, 4000, 4.0, id="more than that share a thousand a second"),
        pytest.param(1.0, 15.0, 10_000, 9.0, id="but lost heartbeats are no time-out yet"),
        pytest.param(7.0, 10.0, 10_000, 7.0, id="who configures a longer one gets it"),
        pytest.param(10.0, 60.0, 10_000, 10.0, id="a long time-out leaves room"),
    ],
)
def test_given_many_sessions_then_each_speaks_more_seldom(
    heartbeat_s: float, timeout_s: float, sessions: int, expected_s: float
) -> None:
    assert Terms("j", heartbeat_s, timeout_s).pace_s(sessions) == expected_s
