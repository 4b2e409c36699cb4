"""Failures that are tried again: how often, when, which, and once for each attempt however often it is reported."""

from unittest.mock import Mock

import pytest

from cyclone import results
from cyclone.master import scheduler as scheduler_module
from cyclone.master.actions import Record
from cyclone.master.events import AttemptsEnded
from cyclone.master.leases.retries import RETRY_DELAY_MAX_S, retry_delay_s
from cyclone.protocol.messages import ErrorRecord, Goodbye, Job, JobOptions, ResultBatch, ResultColumns, Returned
from cyclone.protocol.states import COMPLETED, CRASHED, FAILED, SETUP_FAILED, TIMED_OUT
from cyclone.results import encode_columns, pack_seconds
from tests.support.masters import EPOCH, Master, final_states, holders, leases, peer, ready, tasks
from tests.unit.master.conftest import NewMaster

TWICE = JobOptions("tests:Task", retries=2, retry_delay_s=10.0)


def failure(first: int, attempt: int = 1, status: int = FAILED, retry: bool = True) -> ResultBatch:
    """A failed attempt."""
    value = encode_columns(ErrorRecord("OSError", "no", "", retry))
    return ResultBatch(
        first, EPOCH, attempt, bytes([status]), encode_columns(ResultColumns([value], pack_seconds([0.1]), 1.0, 2))
    )


def success(first: int, attempt: int) -> ResultBatch:
    """A completed attempt."""
    return ResultBatch(
        first, EPOCH, attempt, bytes([COMPLETED]), encode_columns(ResultColumns([b"\xc0"], pack_seconds([0.1]), 1.0, 2))
    )


@pytest.fixture
def leased(master: Master) -> int:
    """A session with one task that may be tried twice more."""
    session = master.join()
    master.offer(1, job=TWICE)
    master.lease(session, 1)
    return session


@pytest.mark.parametrize("status", [FAILED, TIMED_OUT, SETUP_FAILED])
def test_given_a_failure_with_retries_left_then_the_task_waits_for_its_time(
    master: Master, leased: int, status: int
) -> None:
    (record, _) = master.results(leased, failure(1, status=status))
    assert isinstance(record, Record)
    assert isinstance(record.event, AttemptsEnded)
    assert (record.event.first, record.event.status, record.event.attempt) == (1, status, 1)
    master.lease(leased, 1)
    assert master.scheduler.leased_tasks == 0
    assert master.now + 5.0 <= master.scheduler.state.delays[0][0] <= master.now + 10.0
    master.advance(by_s=4.9)
    assert master.scheduler.leased_tasks == 0
    master.state(leased, 9)
    master.advance(by_s=5.2)
    assert master.scheduler.leased_tasks == 1


def test_given_as_many_failures_as_are_allowed_then_the_next_one_is_the_result(master: Master, leased: int) -> None:
    for attempt in (1, 2):
        assert final_states(master.results(leased, failure(1, attempt))) == {}
        master.now += 20.0
        master.lease(leased, 1)
    assert final_states(master.results(leased, failure(1, 3))) == {1: "failed"}
    assert not master.scheduler.state.failures


def test_given_the_same_failure_twice_then_it_is_counted_once(master: Master, leased: int) -> None:
    master.results(leased, failure(1))
    assert final_states(master.results(leased, failure(1))) == {}
    master.advance(by_s=11.0)
    assert final_states(master.results(leased, failure(1))) == {}
    assert master.scheduler.state.failures == {1: 1}


def test_given_a_late_success_while_the_task_waits_for_its_time_then_it_is_the_result(
    master: Master, leased: int
) -> None:
    master.results(leased, failure(1))
    assert final_states(master.results(leased, success(1, 1))) == {1: "completed"}
    master.advance(by_s=11.0)
    assert master.scheduler.state.open_tasks == 0


def test_given_an_exception_that_the_job_does_not_name_then_the_first_failure_is_the_result(
    master: Master, leased: int
) -> None:
    assert final_states(master.results(leased, failure(1, retry=False))) == {1: "failed"}


def test_given_a_job_without_retries_then_the_first_failure_is_the_result(master: Master) -> None:
    session = master.join()
    master.offer(1)
    master.lease(session, 1)
    assert final_states(master.results(session, failure(1))) == {1: "failed"}


def test_given_doubling_delays_then_they_stay_within_the_bound_and_neighbours_differ() -> None:
    job = Job(1, "tests:Task", retries=99, retry_delay_s=10.0)
    for failures, base_s in ((1, 10.0), (2, 20.0), (5, 160.0), (60, RETRY_DELAY_MAX_S)):
        delays = [retry_delay_s(job, task_id, failures) for task_id in range(1, 200)]
        assert all(base_s / 2 <= delay_s <= base_s for delay_s in delays)
        assert len(set(delays)) == len(delays)
        assert max(delays) - min(delays) > base_s / 3


class TestExclusive:
    @pytest.fixture
    def session(self, master: Master) -> int:
        session = master.join()
        master.offer(1, job=JobOptions("tests:Task", exclusive=True))
        master.lease(session, 1)
        return session

    def test_given_silence_then_the_task_waits_until_the_lease_is_over_there_too(
        self, master: Master, session: int
    ) -> None:
        assert session
        other = master.join("c2", "2")
        for _ in range(40):
            master.state(other, 5)
            master.advance(by_s=0.5)
            if master.now <= 100.0 + 15.0 * 1.1:
                assert master.scheduler.state.sessions.by_id[other].open == 0
        assert master.scheduler.state.sessions.by_id[other].open == 0
        for _ in range(8):
            master.state(other, 5, [tasks(1, attempt=2)] if master.scheduler.leased_tasks else [], 1)
            master.advance(by_s=0.5)
        assert master.scheduler.state.sessions.by_id[other].open == 1

    def test_given_a_hello_older_than_the_lease_then_a_state_decides_whether_it_is_held(
        self, master: Master, session: int
    ) -> None:
        other = master.join("c2", "2")
        again = master.join()
        master.lease(other, 1)
        assert again != session
        assert master.scheduler.state.sessions.by_id[other].open == 0
        master.state(again, 0, [])
        master.lease(other, 1)
        assert master.scheduler.state.sessions.by_id[other].open == 1

    def test_given_a_new_incarnation_then_the_old_one_may_still_run(self, new_master: NewMaster) -> None:
        master = new_master()
        session = master.join()
        master.offer(1, job=JobOptions("tests:Task", exclusive=True))
        master.lease(session, 1)
        again = master.join("c1", "2")
        master.lease(again, 1)
        assert master.scheduler.leased_tasks == 0

    def test_given_a_failure_while_it_waits_with_others_then_it_goes_on_waiting_for_its_own_time(
        self, master: Master
    ) -> None:
        session = master.join()
        master.offer(2, job=JobOptions("tests:Task", exclusive=True, retries=1, retry_delay_s=3600.0))
        master.lease(session, 2)
        master.advance(by_s=16.0)
        again = master.join()
        assert final_states(master.results(again, failure(1))) == {}
        master.state(again, 9)
        master.advance(by_s=6.0)
        assert holders(master)[2] == ("c1", (EPOCH, 2))
        assert holders(master)[1] != ("c1", (EPOCH, 2))

    @pytest.mark.parametrize("proof", ["goodbye", "returned"])
    def test_given_proof_that_it_does_not_run_then_it_is_leased_again_at_once(
        self, master: Master, session: int, proof: str
    ) -> None:
        message = Goodbye(session, "bye") if proof == "goodbye" else Returned(session, 0, [tasks(1)])
        master.scheduler.handle(peer("c1"), message, master.now)
        other = master.join("c2", "2")
        master.lease(other, 1)
        assert master.scheduler.leased_tasks == 1


def test_given_a_failure_of_a_lease_that_was_handed_back_then_the_task_waits_for_its_time_too(
    master: Master, leased: int
) -> None:
    master.handle(Returned(leased, 0, [tasks(1)]))
    assert final_states(master.results(leased, failure(1))) == {}
    assert master.scheduler.state.failures == {1: 1}
    master.lease(leased, 1)
    assert master.scheduler.leased_tasks == 0
    master.now += 11.0
    master.lease(leased, 1)
    assert master.scheduler.leased_tasks == 1


def failures(first: int, count: int) -> ResultBatch:
    """Failed first attempts in one batch."""
    values = [encode_columns(ErrorRecord("OSError", "no"))] * count
    body = encode_columns(ResultColumns(values, pack_seconds([0.5] * count), 100.0, 2))
    return ResultBatch(first, EPOCH, 1, bytes([FAILED]) * count, body)


def test_given_a_batch_of_failures_then_its_columns_are_decoded_once(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = master.join()
    master.offer(100, job=TWICE)
    master.lease(session, 100)
    decode = Mock(wraps=results._decode_columns)
    monkeypatch.setattr(results, "_decode_columns", decode)
    actions = master.results(session, failures(1, 100))
    assert decode.call_count == 1
    bodies = [a.event.body for a in actions if isinstance(a, Record) and isinstance(a.event, AttemptsEnded)]
    assert [decode(body).started for body in bodies] == [100.0 + 0.5 * row for row in range(100)]


def test_given_ever_more_tasks_that_wait_for_their_time_then_no_more_are_pulled(
    new_master: NewMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "WINDOW_TASKS", 64)
    master = new_master()
    session = master.join(slots=64)
    state = master.scheduler.state
    while (room := master.scheduler.pull_limit() - state.progress.pulled) > 0:
        assert state.last_id < 1000
        master.offer(room, job=TWICE)
        master.lease(session, room)
        master.results(session, failures(state.last_id - room + 1, room))
    assert (
        64 * scheduler_module.WINDOWS_DELAYED
        <= state.sessions.delayed.open
        <= 64 * (scheduler_module.WINDOWS_DELAYED + 1)
    )
    master.advance(by_s=10.0)
    assert master.scheduler.pull_limit() - state.progress.pulled <= 0


class TestExclusiveAcrossARestart:
    """c1 fell silent with the task, c2 got it when c1 must have ended it, then the master was killed."""

    @pytest.fixture
    def master(self, new_master: NewMaster) -> Master:
        master = new_master()
        first = master.join("c1", "1")
        master.offer(1, job=JobOptions("tests:Task", exclusive=True, retries=9, retry_delay_s=0.1))
        master.lease(first, 1)
        second = master.join("c2", "2")
        for _ in range(80):
            master.state(second, 1)
            master.advance(by_s=0.5)
        assert holders(master) == {1: ("c2", (EPOCH, 2))}
        master.restart()
        return master

    @pytest.mark.parametrize("end", ["returned", "goodbye", "failed", "crashed", "not held any more"])
    def test_given_the_end_of_the_older_lease_then_the_task_waits_for_whoever_has_the_later_one(
        self, master: Master, end: str
    ) -> None:
        held = [tasks(1)]
        session = master.join("c1", "1", held=held)
        if end == "returned":
            master.handle(Returned(session, 0, held))
        elif end == "goodbye":
            master.handle(Goodbye(session, "bye"))
        elif end == "not held any more":
            master.state(session)
        else:
            master.results(session, failure(1, status=FAILED if end == "failed" else CRASHED))
        ready(master, "c3", "3")
        assert leases(master.advance(by_s=0.2)) == []
        late = master.join("c2", "2", held=[tasks(1, attempt=2)])
        assert holders(master) == {1: ("c2", (EPOCH, 2))}
        assert final_states(master.results(late, success(1, 2))) == {1: "completed"}

    def test_given_nobody_with_a_later_lease_then_the_task_is_leased_when_that_must_be_over(
        self, master: Master
    ) -> None:
        session = master.join("c1", "1", held=[tasks(1)])
        master.handle(Returned(session, 0, [tasks(1)]))
        waited = 0
        while not leases(master.advance(by_s=0.5)):
            waited += 1
            assert waited < 100
            master.state(session, 1)
        assert 15.0 * 1.1 + 5.0 <= (waited + 1) * 0.5 <= 15.0 * 1.1 + 6.0
