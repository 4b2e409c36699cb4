"""Moments of a job: not before one, not after another, by the clock on the wall."""

import pytest

from cyclone.master.events import CancelWanted, JobEnded
from cyclone.master.leases.recalls import EVERYTHING
from cyclone.protocol.job_messages import RequeueRequest
from cyclone.protocol.messages import Recall, Returned
from cyclone.protocol.states import COMPLETED, EXPIRED, FAILED
from tests.support.job_requests import WALL_OFFSET_S, add, answer, ask, submit
from tests.support.masters import Master, batch, final_states, leases, sent, tasks
from tests.unit.master.conftest import NewMaster


def at(master: Master, seconds: float) -> float:
    """Unix time, so long from now."""
    return WALL_OFFSET_S + master.now + seconds


@pytest.fixture
def session(master: Master) -> int:
    master.scheduler.wall_offset_s = WALL_OFFSET_S
    return master.join(slots=4)


def test_given_a_job_not_before_a_moment_then_it_is_leased_from_then_on(master: Master, session: int) -> None:
    submit(master, 1, not_before=at(master, 10.0))
    assert leases(master.lease(session, 4)) == []
    assert master.scheduler.deadline <= master.now + 10.0
    assert leases(master.advance(by_s=9.9)) == []
    assert leases(master.advance(by_s=0.2) + master.advance()) == [("c1", 1, 1, 1)]


def test_given_a_task_not_before_a_moment_then_those_behind_it_go_first(master: Master, session: int) -> None:
    job_id = submit(master, 0, sealed=False).job_id
    add(master, job_id, 3, 0, options=[(0, at(master, 10.0), None)])
    assert leases(master.lease(session, 4)) == [("c1", 2, 2, 1)]
    assert leases(master.advance(by_s=10.1)) == [("c1", 1, 1, 1)]


def test_given_a_task_not_before_a_moment_then_requeue_does_not_change_that(master: Master, session: int) -> None:
    job_id = submit(master, 0, sealed=False).job_id
    add(master, job_id, 2, 0, options=[(0, at(master, 10.0), None)])
    master.lease(session, 4)
    actions = ask(master, RequeueRequest(1, job_id))
    assert answer(actions).count == 1, "the other one"
    answered = answer(ask(master, RequeueRequest(1, job_id, [(0, 0)])))
    assert (answered.count, answered.granted) == (0, False)
    assert leases(master.advance(by_s=10.1)) == [("c1", 1, 1, 1)]


class TestNotAfter:
    def test_given_the_moment_then_what_waits_has_expired_and_what_runs_goes_on(
        self, master: Master, session: int
    ) -> None:
        submit(master, 6, not_after=at(master, 10.0))
        master.lease(session, 4)
        assert master.scheduler.deadline <= master.now + 10.0
        actions = master.advance(by_s=10.1)
        assert final_states(actions) == {5: "expired", 6: "expired"}
        assert not [message for message in sent(actions) if isinstance(message, Recall)]
        assert final_states(master.results(session, batch(1, COMPLETED, COMPLETED, COMPLETED, COMPLETED))) == (
            dict.fromkeys(range(1, 5), "completed")
        )
        master.advance()
        assert isinstance(master.recorded[-1], JobEnded)

    def test_given_more_than_slots_at_a_controller_then_what_has_not_started_is_asked_back_and_expires(
        self, master: Master, session: int
    ) -> None:
        submit(master, 6, not_after=at(master, 10.0))
        master.lease(session, 6)
        actions = master.advance(by_s=10.1)
        assert [message for message in sent(actions) if isinstance(message, Recall)] == [Recall(session, EVERYTHING)]
        returned = master.handle(Returned(session, 0, [tasks(5, 2)])) + master.advance()
        assert final_states(returned) == {5: "expired", 6: "expired"}

    def test_given_that_the_controller_was_not_reached_then_it_is_asked_again_after_a_while(
        self, master: Master, session: int
    ) -> None:
        submit(master, 6, not_after=at(master, 10.0))
        master.lease(session, 6)
        master.advance(by_s=10.1)
        recalls = [[message for message in sent(master.advance(by_s=0.5)) if isinstance(message, Recall)]]
        recalls += [[message for message in sent(master.advance(by_s=0.5)) if isinstance(message, Recall)]]
        recalls += [[message for message in sent(master.advance(by_s=1.1)) if isinstance(message, Recall)]]
        assert recalls == [[], [], [Recall(session, EVERYTHING)]]
        master.handle(Returned(session, 0, [tasks(5, 2)]))
        master.advance()
        assert not [message for message in sent(master.advance(by_s=2.5)) if isinstance(message, Recall)]

    def test_given_a_failure_after_the_moment_then_it_is_not_tried_again(self, master: Master, session: int) -> None:
        submit(master, 1, not_after=at(master, 10.0), retries=3)
        master.lease(session, 1)
        master.advance(by_s=10.1)
        assert final_states(master.results(session, batch(1, FAILED)) + master.advance()) == {1: "expired"}

    def test_given_tasks_that_are_added_after_the_moment_then_they_expire_too(
        self, master: Master, session: int
    ) -> None:
        job_id = submit(master, 1, not_after=at(master, 10.0), sealed=False).job_id
        master.advance(by_s=10.1)
        add(master, job_id, 2, 1)
        actions = [action for _ in range(4) for action in master.advance(by_s=0.3)]
        assert final_states(actions) == {2: "expired", 3: "expired"}
        assert leases(master.lease(session, 4)) == []

    def test_given_the_moment_while_the_master_is_away_then_the_next_one_lets_them_expire(
        self, new_master: NewMaster
    ) -> None:
        master = new_master()
        submit(master, 2, not_after=at(master, 10.0))
        master.restart()
        master.scheduler.wall_offset_s = WALL_OFFSET_S
        actions = master.advance(by_s=20.0) + master.advance() + master.advance(by_s=0.3)
        assert final_states(actions) == {1: "expired", 2: "expired"}
        (wish,) = [event for event in master.recorded if isinstance(event, CancelWanted)]
        assert (wish.job_id, wish.status) == (1, EXPIRED)
        master.restart()
        master.scheduler.wall_offset_s = WALL_OFFSET_S
        master.advance()
        assert not master.scheduler.state.cancellations
