"""The scheduler as tables: what it knows, what it hears, and exactly what it does then. Its invariants are re-derived
when a test is over. Results are in test_scheduler_results.py."""

import pytest

from cyclone.master import scheduler as module
from cyclone.master.actions import Finish, Record, Say, Send
from cyclone.master.events import (
    GeneratorAdvanced,
    HorizonMoved,
    JobAdded,
    TasksAdded,
)
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.master.leases.recalls import EVERYTHING
from cyclone.protocol import limits
from cyclone.protocol.messages import (
    Cancel,
    Job,
    JobOptions,
    Pong,
    Recall,
    Recorded,
    Results,
    Returned,
    State,
    Stop,
    TaskRange,
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
    kinds,
    peer,
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
        jobs = [JobOptions("tests:A"), JobOptions("tests:B", 2.0)]
        assert master.scheduler.offer(jobs, [(1, 1), (0, 2)], [ARGS] * 3, 0.0) == [
            Record(JobAdded(Job(1, "tests:A", None))),
            Record(JobAdded(Job(2, "tests:B", 2.0))),
            Record(TasksAdded(1, [(2, 1), (1, 2)], [ARGS] * 3)),
        ]

    def test_given_a_known_job_with_other_options_then_only_the_other_options_make_a_job(self, master: Master) -> None:
        master.offer(1)
        assert kinds(master.offer(1)) == ["Record TasksAdded", "Record GeneratorAdvanced"]
        assert master.offer(1, job=JobOptions("tests:Task", 1.0)) == [
            Record(JobAdded(Job(2, "tests:Task", 1.0))),
            Record(TasksAdded(3, [(2, 1)], [ARGS])),
            Record(GeneratorAdvanced(GeneratorProgress(pulled=3))),
        ]

    def test_given_keys_then_they_are_recorded_with_their_tasks(self, master: Master) -> None:
        keys = [b"k" * 16, b""]
        assert master.scheduler.offer([JOB], [(0, 2)], [ARGS] * 2, 0.0, keys)[1:] == [
            Record(TasksAdded(1, [(1, 2)], [ARGS] * 2, keys))
        ]

    def test_given_a_generator_that_came_no_further_then_nothing_is_recorded(self, master: Master) -> None:
        assert master.advanced(pulled=3) == [Record(GeneratorAdvanced(GeneratorProgress(pulled=3)))]
        assert master.advanced(pulled=3) == []

    def test_given_tasks_that_on_result_made_then_they_take_no_room_of_generate(self, master: Master) -> None:
        session = master.join()
        master.scheduler.offer([JOB], [(0, 20)], [ARGS] * 20, master.now)
        master.lease(session, 20)
        assert master.scheduler.pull_limit() == module.WINDOW_START_TASKS + 20

    def test_given_a_full_window_then_the_pull_limit_moves_only_with_leases_and_never_falls(
        self, master: Master, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "WINDOW_START_TASKS", module.WINDOW_TASKS)
        master.offer(master.scheduler.pull_limit())
        assert master.scheduler.state.lanes.window.in_memory == module.WINDOW_TASKS == master.scheduler.pull_limit()
        leased = module.WINDOW_TASKS // 4
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


class TestState:
    def test_given_a_state_then_pong_tells_what_was_sent(self, master: Master, leased: int) -> None:
        assert master.state(leased, 0, [tasks(1, 4)], tasks_seq=1) == [Send(peer("c1"), Pong(leased, 2, 1, 4, 1.0))]
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
        assert master.handle(State(leased, 1, 1, 99, 0, 0, [])) == [Send(peer("c1"), Pong(leased, 1, 1, 4, 1.0))]
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
        assert kinds(master.advance()) == ["Record HorizonMoved", "Send Tasks"]

    def test_given_blocks_then_the_horizon_is_recorded_before_the_first_lease_of_each(self, master: Master) -> None:
        session = master.join()
        master.offer(2)
        master.offer(2)
        assert master.lease(session, 1)[0] == Record(HorizonMoved(2, ((0, 2),)))
        assert kinds(master.lease(session, 1)) == ["Send Tasks"]
        assert master.lease(session, 1)[0] == Record(HorizonMoved(4, ((0, 4),)))


class TestTime:
    def test_given_a_lease_beyond_the_hard_limit_then_it_is_asked_back_and_leased_again_when_it_is_returned(
        self, new_master: NewMaster
    ) -> None:
        master = new_master(task_resend_timeout_s=20.0, controller_timeout_s=1000.0)
        session = master.join()
        master.offer(1)
        master.lease(session, 1)
        assert master.advance(20.0) == []
        said = Say("warning", "tasks=1-1 on controller=c1 passed task_resend_timeout: asked back")
        asked = Send(peer("c1"), Cancel(session, [tasks(1)]))
        assert master.advance(1.1) == [said, asked]
        assert master.advance(1.1) == [said, asked]
        assert master.scheduler.leased_tasks == 1
        master.handle(Returned(session, 1, [tasks(1)]))
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
        master.consume(consumed)
        if exhausted:
            master.exhaust()
        assert kinds(master.advance()) == expected

    def test_given_the_end_then_it_is_told_once(self, new_master: NewMaster) -> None:
        master = new_master(exit_when_done=True)
        session = master.join()
        master.exhaust()
        assert master.advance() == [Send(peer("c1"), Stop(session, "all work is done")), Finish()]
        assert master.advance() == []

    def test_given_a_stop_then_what_has_not_started_is_recalled_and_nothing_is_leased(
        self, master: Master, leased: int
    ) -> None:
        assert master.scheduler.stop(master.now) == [Send(peer("c1"), Recall(leased, EVERYTHING))]
        master.handle(Returned(leased, 4, [tasks(2, 3)]))
        assert master.lease(leased, 9) == []
        assert final_states(master.results(leased, batch(1, COMPLETED))) == {1: "completed"}
