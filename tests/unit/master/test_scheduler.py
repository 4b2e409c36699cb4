"""The scheduler as tables: what it knows, what it hears, and exactly what it does then. Its invariants are re-derived
when a test is over. Results are in test_scheduler_results.py."""

import pytest

from cyclone.master import scheduler as module
from cyclone.master.actions import Finish, Record, Say, Send
from cyclone.master.events import JobAdded, TasksAdded
from cyclone.protocol import limits, messages
from cyclone.protocol.messages import (
    Goodbye,
    Job,
    Pong,
    Recall,
    Recorded,
    Refused,
    Results,
    Returned,
    State,
    Stop,
    TaskBatch,
    TaskRange,
    Tasks,
    Welcome,
)
from cyclone.protocol.states import COMPLETED
from tests.support.masters import (
    EPOCH,
    JOB,
    JOURNAL,
    Master,
    batch,
    final_states,
    hello,
    kinds,
    peer,
    sent,
    tasks,
)
from tests.unit.master.conftest import NewMaster

ARGS = b"\x90"


def welcome(session: int, incarnation: str = "1", drop: tuple[TaskRange, ...] = ()) -> Welcome:
    return Welcome(session, incarnation * 32, EPOCH, JOURNAL, 1.0, 15.0, list(drop))


def joined(held: int = 0) -> Say:
    return Say("info", f"controller=c1 joined host=node slots=2 held={held}")


@pytest.fixture
def leased(master: Master) -> int:
    """A session with the tasks 1 to 4 in attempt 1; 5 and 6 are fresh."""
    session = master.join()
    master.offer(6)
    master.lease(session, 4)
    return session


class TestOffer:
    def test_given_new_jobs_when_offered_then_jobs_and_tasks_are_recorded_in_order(self, master: Master) -> None:
        jobs = [("tests:A", None), ("tests:B", 2.0)]
        assert master.scheduler.offer(jobs, [(1, 1), (0, 2)], [ARGS] * 3, 0.0) == [
            Record(JobAdded(Job(1, "tests:A", None))),
            Record(JobAdded(Job(2, "tests:B", 2.0))),
            Record(TasksAdded(1, [(2, 1), (1, 2)], [ARGS] * 3)),
        ]

    def test_given_a_known_job_with_other_options_then_only_the_other_options_make_a_job(self, master: Master) -> None:
        master.offer(1)
        assert kinds(master.offer(1)) == ["Record TasksAdded"]
        assert master.offer(1, job=("tests:Task", 1.0)) == [
            Record(JobAdded(Job(2, "tests:Task", 1.0))),
            Record(TasksAdded(3, [(2, 1)], [ARGS])),
        ]

    def test_given_a_full_window_then_the_pull_limit_moves_only_with_leases_and_never_falls(
        self, master: Master, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "WINDOW_START_TASKS", module.WINDOW_TASKS)
        master.offer(master.scheduler.pull_limit())
        assert len(master.scheduler.state.queue) == module.WINDOW_TASKS == master.scheduler.pull_limit()
        leased = module.WINDOW_TASKS // 8
        session = master.join()
        master.lease(session, leased)
        assert master.scheduler.pull_limit() == module.WINDOW_TASKS + leased
        master.handle(Returned(session, leased, [tasks(1, leased)]))
        assert master.scheduler.pull_limit() == module.WINDOW_TASKS + leased

    def test_given_tasks_that_nobody_takes_then_the_pull_limit_stays_small(self, master: Master) -> None:
        assert master.scheduler.pull_limit() == module.WINDOW_START_TASKS
        while (room := master.scheduler.pull_limit() - master.scheduler.state.last_id) > 0:
            master.offer(room)
        assert master.scheduler.state.last_id < 10 * module.WINDOW_START_TASKS

    def test_given_large_arguments_then_the_pull_limit_counts_bytes(self, master: Master) -> None:
        master.offer(50, bytes(module.WINDOW_BYTES // 64))
        assert master.scheduler.pull_limit() == 64
        master.offer(14, bytes(module.WINDOW_BYTES // 64))
        assert master.scheduler.pull_limit() == 64

    @pytest.mark.parametrize("reason", ["stopping", "backlog"])
    def test_given_no_room_downstream_then_the_generator_rests(self, master: Master, reason: str) -> None:
        master.scheduler.pull_limit()
        before = master.scheduler.pull_limit()
        session = master.join()
        master.offer(2)
        if reason == "stopping":
            master.scheduler.stop(master.now)
        else:
            master.scheduler.backlog_bytes = module.BACKLOG_BYTES_MAX + 1
            assert master.lease(session, 2) == []
        assert master.scheduler.pull_limit() == before


class TestHello:
    def test_given_a_first_hello_then_a_session_opens(self, master: Master) -> None:
        assert master.handle(hello()) == [joined(), Send(peer("c1"), welcome(1))]

    @pytest.mark.parametrize(
        ("code", "protocol"),
        [("version", 2), ("superseded", 1), ("draining", 1)],
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
            joined(),
            Send(b"new", welcome(2, "2")),
        ]
        master.scheduler.handle(b"new", State(2, 1, 0, 5, 2, 0, []), master.now)
        assert sent(master.advance()) == [
            Tasks(2, 1, 5, [Job(1, *JOB)], [TaskBatch(1, 2, [(1, 4)], [ARGS] * 4), TaskBatch(5, 1, [(1, 1)], [ARGS])])
        ]

    def test_given_the_superseded_one_speaks_on_its_session_then_it_is_told_that_the_session_is_gone(
        self, master: Master, leased: int
    ) -> None:
        master.scheduler.handle(b"new", hello("c1", "2"), master.now)
        assert master.results(leased, batch(1, COMPLETED)) == [
            Send(peer("c1"), Refused("no_session", "", "session 1 is not known here"))
        ]

    @pytest.mark.parametrize(
        ("held", "adopted", "drop"),
        [
            pytest.param([tasks(1, 4)], 4, [], id="all that it was leased"),
            pytest.param([], 0, [], id="nothing: all was lost"),
            pytest.param([tasks(2, 2)], 2, [], id="a part"),
            pytest.param([tasks(3, 4)], 2, [], id="more than it was leased"),
            pytest.param([tasks(1, 4, attempt=2)], 0, [tasks(1, 4, attempt=2)], id="another attempt"),
            pytest.param([tasks(1, 4, epoch=6)], 0, [tasks(1, 4, epoch=6)], id="another epoch"),
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
        assert master.scheduler.state.sessions.by_id[2].open == adopted
        assert len(master.scheduler.state.queue) == 6 - adopted
        assert list(master.scheduler.state.sessions.by_id) == [2]

    def test_given_a_controller_that_was_given_up_when_it_comes_back_then_tasks_not_leased_again_are_adopted(
        self, master: Master, leased: int
    ) -> None:
        master.advance(15.1)
        other = master.join("c2", "2")
        master.lease(other, 2)
        assert master.handle(hello(held=[tasks(1, 2), tasks(3, 2)])) == [
            joined(held=2),
            Send(peer("c1"), welcome(3, drop=(tasks(1, 2),))),
        ]

    def test_given_adopted_tasks_when_the_first_state_does_not_list_them_then_they_are_leased_again(
        self, master: Master, leased: int
    ) -> None:
        master.handle(hello(held=[tasks(1, 4)]))
        master.handle(State(2, 1, 0, 9, 2, 0, [tasks(1, 2)]))
        batches = [TaskBatch(3, 2, [(1, 2)], [ARGS] * 2), TaskBatch(5, 1, [(1, 2)], [ARGS] * 2)]
        assert sent(master.advance()) == [Tasks(2, 1, 4, [Job(1, *JOB)], batches)]


class TestState:
    def test_given_a_state_then_pong_tells_what_was_sent(self, master: Master, leased: int) -> None:
        assert master.state(leased, 0, [tasks(1, 4)], tasks_seq=1) == [Send(peer("c1"), Pong(leased, 2, 1, 4))]
        assert master.scheduler.leased_tasks == 4

    @pytest.mark.parametrize(
        ("tasks_seq", "held", "returned"),
        [
            pytest.param(1, [tasks(1, 4)], [], id="all arrived"),
            pytest.param(0, [], [], id="not yet arrived"),
            pytest.param(1, [], [1, 2, 3, 4], id="lost"),
            pytest.param(1, [tasks(1), tasks(3)], [2, 4], id="lost in part"),
            pytest.param(1, [tasks(1, 4, attempt=2)], [1, 2, 3, 4], id="another attempt"),
            pytest.param(1, [tasks(1, 4, epoch=6)], [1, 2, 3, 4], id="another epoch"),
            pytest.param(9, [tasks(2, 3)], [1], id="more messages than were sent"),
        ],
    )
    def test_given_a_state_then_what_the_controller_passed_and_does_not_hold_waits_again(
        self, master: Master, leased: int, tasks_seq: int, held: list[TaskRange], returned: list[int]
    ) -> None:
        assert kinds(master.state(leased, 0, held, tasks_seq)) == ["Send Pong"]
        waiting = [i for span in master.scheduler.state.index if span.holder is None for i in span.open_ids()]
        assert sorted(waiting) == returned

    def test_given_an_older_state_then_it_is_answered_and_ignored(self, master: Master, leased: int) -> None:
        master.state(leased, 4, [tasks(1, 4)], tasks_seq=1)
        assert master.handle(State(leased, 1, 1, 99, 0, 0, [])) == [Send(peer("c1"), Pong(leased, 1, 1, 4))]
        assert master.scheduler.leased_tasks == 4
        assert master.advance() == []

    def test_given_a_grant_beyond_all_reason_then_it_is_cut(self, master: Master) -> None:
        session = master.join()
        master.state(session, limits.ID_MAX)
        assert master.scheduler.state.sessions.credit_total == limits.CREDIT_MAX

    def test_given_a_grant_that_falls_then_the_highest_counts(self, master: Master) -> None:
        session = master.join()
        master.state(session, 5)
        master.state(session, 3)
        assert master.scheduler.state.sessions.credit_total == 5

    def test_given_a_peer_that_could_not_be_reached_when_it_reports_then_it_gets_work_again(
        self, master: Master
    ) -> None:
        session = master.join()
        master.scheduler.unreachable(peer("c1"))
        master.offer(1)
        assert master.handle(Results(session, 1, 5, [batch(9, COMPLETED)])) == [
            Send(peer("c1"), Recorded(session, [1]))
        ]
        assert master.advance() == []
        master.state(session, 5)
        assert kinds(master.advance()) == ["Send Tasks"]


class TestTheEndOfASession:
    def test_given_a_goodbye_then_what_it_held_waits_in_front(self, master: Master, leased: int) -> None:
        assert master.handle(Goodbye(leased, "stopped")) == [Say("info", "controller=c1 left: stopped")]
        assert len(master.scheduler.state.queue) == 6
        assert len(master.scheduler.state.sessions) == 0

    def test_given_silence_then_all_that_it_holds_is_requeued_once_the_time_is_over(
        self, master: Master, leased: int
    ) -> None:
        master.advance(15.0)
        assert master.scheduler.leased_tasks == 4
        assert master.advance(0.6) == [Say("warning", "controller=c1 silent for 15.6 s: 4 tasks requeued")]
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


class TestTime:
    def test_given_a_lease_beyond_the_hard_limit_then_it_is_leased_again_though_its_controller_lives(
        self, new_master: NewMaster
    ) -> None:
        master = new_master(task_resend_timeout_s=20.0, controller_timeout_s=1000.0)
        session = master.join()
        master.offer(1)
        master.lease(session, 1)
        assert master.advance(20.0) == []
        said = Say("warning", "tasks=1-1 on controller=c1 passed task_resend_timeout: leased again")
        assert master.advance(1.1) == [said]
        assert kinds(master.lease(session, 1)) == ["Send Tasks"]

    def test_given_no_hard_limit_then_a_lease_lasts(self, new_master: NewMaster) -> None:
        master = new_master(task_resend_timeout_s=0.0, controller_timeout_s=1e9)
        session = master.join()
        master.offer(1)
        master.lease(session, 1)
        assert master.advance(1e8) == []

    def test_given_no_work_then_the_deadline_is_the_next_look_at_silence(self, master: Master) -> None:
        master.advance()
        assert master.scheduler.deadline == pytest.approx(master.now + 0.5)


class TestTheEnd:
    @pytest.mark.parametrize(
        ("exhausted", "done", "consumed", "exit_when_done", "expected"),
        [
            pytest.param(True, 2, 1, True, ["Send Stop", "Finish"], id="all is done and read"),
            pytest.param(False, 2, 1, True, [], id="the generator may yield more"),
            pytest.param(True, 1, 1, True, [], id="a task is open"),
            pytest.param(True, 2, 0, True, [], id="results may bring new tasks"),
            pytest.param(True, 2, 1, False, [], id="a daemon stays"),
        ],
    )
    def test_given_a_turn_then_the_master_ends_only_when_nothing_can_follow(
        self,
        new_master: NewMaster,
        exhausted: bool,
        done: int,
        consumed: int,
        exit_when_done: bool,
        expected: list[str],
    ) -> None:
        master = new_master(exit_when_done=exit_when_done)
        session = master.join()
        master.offer(2)
        master.lease(session, 2)
        master.results(session, batch(1, *[COMPLETED] * done))
        master.scheduler.consume(consumed)
        if exhausted:
            master.scheduler.exhaust()
        assert kinds(master.advance()) == expected

    def test_given_the_end_then_it_is_told_once(self, new_master: NewMaster) -> None:
        master = new_master(exit_when_done=True)
        session = master.join()
        master.scheduler.exhaust()
        assert master.advance() == [Send(peer("c1"), Stop(session, "all work is done")), Finish()]
        assert master.advance() == []

    def test_given_a_stop_then_what_has_not_started_is_recalled_and_nothing_is_leased(
        self, master: Master, leased: int
    ) -> None:
        assert master.scheduler.stop(master.now) == [Send(peer("c1"), Recall(leased, 4))]
        master.handle(Returned(leased, 4, [tasks(2, 3)]))
        assert master.lease(leased, 9) == []
        assert final_states(master.results(leased, batch(1, COMPLETED))) == {1: "completed"}
