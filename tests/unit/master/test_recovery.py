"""A master is killed and another goes on with its journal: what it knows, for whom it waits, when it ends.

The journal is played by ``tests/support/replay.py``. What is adopted is in test_adoption.py, what stays in the journal
in test_paging.py, any order of events across restarts in test_model.py.
"""

import pytest

from cyclone.master.actions import Action, Finish, Load, Record, Say
from cyclone.master.events import ControllerLeft, ResultsRecorded, TasksAdded
from cyclone.protocol.messages import (
    Goodbye,
    Job,
    JobOptions,
    Stop,
    Tasks,
)
from cyclone.protocol.states import COMPLETED, CRASHED, FAILED, REFUSED, TIMED_OUT
from tests.support.masters import (
    EPOCH,
    FORMER_SESSIONS,
    JOB,
    MANY,
    NEXT,
    Master,
    batch,
    final_states,
    hello,
    holders,
    kinds,
    leases,
    ready,
    sent,
    tasks,
)
from tests.unit.master.conftest import NewMaster

ARGS = b"\x90"
TIMEOUT_S = 15.0


@pytest.fixture
def master(new_master: NewMaster) -> Master:
    """c1 held the tasks 1 to 4 of a block of six when the master was killed; 7 to 9 were never offered."""
    master = new_master()
    session = master.join("c1", "1")
    master.offer(6)
    master.offer(3)
    master.lease(session, 4)
    master.restart()
    return master


class TestWhatIsKnown:
    def test_given_all_kinds_of_tasks_when_restarted_then_counts_and_charges_agree(self, new_master: NewMaster) -> None:
        master = new_master(crash_limit=3)
        retried = JobOptions("tests:Retried", retries=5)
        session = master.join("c1", "1")
        master.offer(4)
        master.offer(4, job=retried)
        master.offer(4)
        master.offer(4)
        master.lease(session, 10)
        # Tasks 1 to 4 close a block; of the second one stays open, of the third most; the fourth was never offered.
        master.results(
            session, batch(1, COMPLETED, FAILED, COMPLETED, REFUSED, TIMED_OUT, COMPLETED, CRASHED, COMPLETED)
        )
        master.results(session, batch(9, COMPLETED))
        master.lease(session, 1)
        master.results(session, batch(7, CRASHED, attempt=2))
        master.lease(session, 1)
        master.results(session, batch(7, COMPLETED, attempt=3))
        master.results(session, batch(10, CRASHED))
        master.consume(2)
        before = master.scheduler
        master.restart()
        after = master.scheduler
        assert after.state.epoch == NEXT
        for fact in ("last_id", "number", "horizon", "open_tasks", "ended", "crashes", "failures", "attempts_ended"):
            assert getattr(after.state, fact) == getattr(before.state, fact), fact
        assert (after.state.crashes, after.state.failures) == ({10: 1}, {5: 1})
        assert after.state.number == 3
        assert after.state.progress == before.state.progress
        assert (after.consumed, after.done_tasks) == (2, before.done_tasks)
        assert after.state.live == before.state.live == {"c1": "1" * 32}
        assert after.state.lanes.window.stored_count == 4

    def test_given_the_last_results_in_a_closed_block_when_older_ones_are_replayed_then_numbers_go_on(
        self, new_master: NewMaster
    ) -> None:
        master = new_master()
        session = master.join()
        master.offer(2)
        master.offer(2)
        master.lease(session, 4)
        master.results(session, batch(1, COMPLETED))
        master.results(session, batch(3, COMPLETED, COMPLETED))
        master.restart()
        assert master.scheduler.state.number == 2
        session = master.join(held=[tasks(2)])
        (record,) = [action for action in master.results(session, batch(2, COMPLETED)) if isinstance(action, Record)]
        assert isinstance(record.event, ResultsRecorded)
        assert record.event.number == 3

    def test_given_known_jobs_then_they_keep_their_numbers_and_are_announced_anew(self, master: Master) -> None:
        master.offer(1)
        master.offer(1, job=JobOptions("tests:Other"))
        session = ready(master, "c2", "2")
        master.advance()
        jobs = [job for message in sent(master.advance()) if isinstance(message, Tasks) for job in message.jobs]
        assert jobs == [Job(1, *JOB), Job(2, "tests:Other")]
        assert session == FORMER_SESSIONS + 1_000_001

    def test_given_nothing_was_ever_recorded_then_the_next_master_begins_like_the_first(
        self, new_master: NewMaster
    ) -> None:
        master = new_master()
        master.restart()
        session = ready(master, "c1", "1", 2)
        master.offer(2)
        assert leases(master.advance()) == [("c1", 1, 2, 1)]
        assert final_states(master.results(session, batch(1, COMPLETED, COMPLETED, epoch=NEXT))) == {
            1: "completed",
            2: "completed",
        }

    def test_given_keys_then_they_are_recorded_and_a_restart_does_not_stumble_over_them(
        self, new_master: NewMaster
    ) -> None:
        master = new_master()
        session = master.join()
        keys = [b"k" * 16, b""]
        master.offer(2, keys=keys)
        master.lease(session, 1)
        master.restart()
        assert [event.keys for event in master.recorded if isinstance(event, TasksAdded)] == [keys]
        assert master.scheduler.state.open_tasks == 2


class TestTheWait:
    def test_given_a_controller_that_may_still_hold_them_then_only_tasks_above_the_horizon_are_leased(
        self, master: Master
    ) -> None:
        ready(master, "c2", "2")
        assert master.advance() == [Load([7])]
        assert leases(master.advance()) == [("c2", 7, 2, 1), ("c2", 9, 1, 1)]
        assert leases(master.advance(TIMEOUT_S - 1)) == []
        assert {task_id: name for task_id, (name, _) in holders(master).items() if task_id < 7} == dict.fromkeys(
            range(1, 7), "?"
        )

    def test_given_all_have_greeted_then_what_nobody_claims_waits_in_front_with_a_new_lease(
        self, master: Master
    ) -> None:
        session = master.join("c1", "1", held=[tasks(2, 2)])
        master.state(session, MANY, [tasks(2, 2)])
        said = Say("info", "4 tasks of an earlier epoch are held by nobody: they wait again")
        actions = master.advance()
        assert actions[0] == said
        assert leases(actions) == [("c1", 1, 1, 2), ("c1", 4, 3, 2)]
        assert holders(master) == {
            1: ("c1", (NEXT, 2)),
            2: ("c1", (EPOCH, 1)),
            3: ("c1", (EPOCH, 1)),
            4: ("c1", (NEXT, 2)),
            5: ("c1", (NEXT, 2)),
            6: ("c1", (NEXT, 2)),
        }

    def test_given_a_new_incarnation_of_the_only_one_then_all_that_the_old_one_held_is_leased_again(
        self, master: Master
    ) -> None:
        assert kinds(master.handle(hello("c1", "2"))) == ["Record ControllerJoined", "Say", "Send Welcome"]
        session = master.scheduler.state.sessions.by_name["c1"].session_id
        master.state(session, 6)
        assert leases(master.advance()) == [("c1", 1, 6, 2)]
        assert set(holders(master).values()) == {("c1", (NEXT, 2))}

    def test_given_two_that_are_awaited_when_one_has_greeted_then_the_other_is_still_waited_for(
        self, new_master: NewMaster
    ) -> None:
        master = new_master()
        first, second = master.join("c1", "1"), master.join("c2", "2")
        master.offer(4)
        master.lease(first, 2)
        master.lease(second, 2)
        master.restart()
        ready(master, "c1", "3")
        assert leases(master.advance()) == []
        master.join("c2", "2", held=[tasks(3, 2)])
        assert leases(master.advance()) == [("c1", 1, 2, 2)]

    def test_given_one_that_does_not_come_back_then_after_the_timeout_its_leaving_is_recorded_and_all_waits(
        self, master: Master
    ) -> None:
        ready(master, "c2", "2", 3)
        master.advance()
        master.advance()
        session = master.scheduler.state.sessions.by_name["c2"]
        master.now += TIMEOUT_S + 0.1
        master.state(session.session_id, 9, [tasks(7, 3, epoch=NEXT)], tasks_seq=1)
        actions = master.advance()
        assert actions[:3] == [
            Record(ControllerLeft("c1")),
            Say("warning", "did not come back after the restart:", ("c1",)),
            Say("info", "6 tasks of an earlier epoch are held by nobody: they wait again"),
        ]
        assert leases(actions) == [("c2", 1, 6, 2)]
        assert master.scheduler.state.live == {"c2": "2" * 32}

    @pytest.mark.parametrize("end", ["goodbye", "silence", "superseded and goodbye"])
    def test_given_one_that_has_left_then_nobody_awaits_it(self, new_master: NewMaster, end: str) -> None:
        master = new_master()
        session = master.join("c1", "1")
        master.offer(2)
        master.lease(session, 2)
        if end == "silence":
            master.advance(TIMEOUT_S + 1)
        else:
            if end.startswith("superseded"):
                session = master.join("c1", "2")
            master.handle(Goodbye(session, "stopped"))
        master.restart()
        assert master.scheduler.state.awaited == set()
        ready(master, "c3", "3")
        assert leases(master.advance()) == [("c3", 1, 2, 2)]

    def test_given_nothing_was_leased_then_everything_is_leased_at_once_though_controllers_are_awaited(
        self, new_master: NewMaster
    ) -> None:
        master = new_master()
        master.join("c1", "1")
        master.offer(2)
        master.restart()
        assert master.scheduler.state.awaited == {"c1"}
        ready(master, "c2", "2")
        master.advance()
        assert leases(master.advance()) == [("c2", 1, 2, 1)]

    def test_given_one_that_never_comes_back_when_nothing_waits_for_it_then_its_leaving_is_recorded_all_the_same(
        self, new_master: NewMaster
    ) -> None:
        master = new_master()
        master.join("c1", "1")
        master.offer(2)
        master.restart()
        assert Record(ControllerLeft("c1")) in master.advance(TIMEOUT_S + 0.1)
        master.restart()
        assert master.scheduler.state.awaited == set()

    def test_given_nobody_is_awaited_when_the_first_turn_comes_late_then_nobody_is_missed(
        self, new_master: NewMaster
    ) -> None:
        master = new_master()
        session = master.join()
        master.offer(2)
        master.lease(session, 2)
        master.handle(Goodbye(session, "stopped"))
        master.restart()
        assert master.advance(TIMEOUT_S + 1) == [
            Say("info", "2 tasks of an earlier epoch are held by nobody: they wait again")
        ]

    def test_given_a_drained_controller_and_a_delayed_task_then_the_one_stays_drained_and_the_other_just_waits(
        self, new_master: NewMaster
    ) -> None:
        master = new_master()
        session = master.join("c1", "1")
        master.offer(1, job=JobOptions("tests:Task", retries=2, retry_delay_s=1000.0))
        master.lease(session, 1)
        assert final_states(master.results(session, batch(1, FAILED))) == {}
        master.drain("c1")
        master.handle(Goodbye(session, "stopped"))
        master.restart()
        ready(master, "c1", "2")
        assert leases(master.advance()) == []
        ready(master, "c2", "3")
        assert leases(master.advance()) == [("c2", 1, 1, 2)]
        assert master.scheduler.state.failures == {1: 1}


class TestTheEnd:
    @pytest.mark.parametrize(
        ("done", "consumed", "exhausted", "expected"),
        [
            pytest.param(2, 1, True, [Finish()], id="finished"),
            pytest.param(2, 1, False, [], id="the generator was not"),
            pytest.param(2, 0, True, [], id="the generator has not seen all results"),
            pytest.param(1, 1, True, [], id="a task is open"),
        ],
    )
    def test_given_a_journal_then_only_a_finished_one_ends_without_controllers(
        self, new_master: NewMaster, done: int, consumed: int, exhausted: bool, expected: list[Action]
    ) -> None:
        master = new_master(exit_when_done=True)
        session = master.join()
        master.offer(2)
        master.lease(session, 2)
        master.results(session, batch(1, *[COMPLETED] * done))
        master.advanced(consumed=consumed, exhausted=exhausted)
        master.restart()
        assert master.advance() == expected
        assert master.advance() == []

    def test_given_results_that_are_delivered_once_more_then_the_end_waits_for_that(
        self, new_master: NewMaster
    ) -> None:
        master = new_master(exit_when_done=True)
        master.exhaust()
        master.restart()
        master.scheduler.catching_up = True
        assert master.advance() == []
        master.scheduler.catching_up = False
        assert master.advance() == [Finish()]


def test_given_all_done_while_a_controller_is_awaited_then_the_end_waits_for_it_to_hear_of_it(
    new_master: NewMaster,
) -> None:
    master = new_master(exit_when_done=True)
    one, _ = master.join("c1", "1"), master.join("c2", "2")
    master.offer(1)
    master.lease(one, 1)
    master.exhaust()
    master.restart()
    one = master.join("c1", "1", held=[tasks(1)])
    master.results(one, batch(1, COMPLETED))
    master.consume(1)
    assert not any(isinstance(action, Finish) for action in master.advance())
    two = master.join("c2", "2")
    actions = master.advance()
    assert any(isinstance(action, Finish) for action in actions)
    assert Stop(two, "all work is done") in sent(actions)


def test_given_nothing_left_but_results_to_be_read_again_then_the_end_waits_for_no_controller(
    new_master: NewMaster,
) -> None:
    master = new_master(exit_when_done=True)
    session = master.join()
    master.offer(1)
    master.lease(session, 1)
    master.exhaust()
    master.results(session, batch(1, COMPLETED))
    master.restart()
    assert master.scheduler.state.awaited == {"c1"}
    assert not any(isinstance(action, Finish) for action in master.advance())
    master.consume(1)
    assert any(isinstance(action, Finish) for action in master.advance())
