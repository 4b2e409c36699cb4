"""Tasks that are added quietly: nothing is answered where all goes well, and everything else is."""

import pytest

from cyclone.protocol.job_messages import GAP, NO_JOB, AddRequest, Submitted
from tests.support.job_requests import ask, block, submit
from tests.support.masters import Master
from tests.unit.master.conftest import NewMaster


def quietly(master: Master, job_id: int, count: int, offset: int) -> list[Submitted]:
    """The answers to these tasks for a job."""
    actions = ask(master, AddRequest(2, job_id, block(count, offset), quiet=True))
    answers = [getattr(action, "message", None) for action in actions]
    return [answer for answer in answers if isinstance(answer, Submitted)]


@pytest.fixture
def master(new_master: NewMaster) -> Master:
    return new_master()


def test_given_tasks_that_are_added_quietly_then_the_job_has_them_and_nobody_hears_of_it(master: Master) -> None:
    job_id = submit(master, 1, sealed=False).job_id
    assert quietly(master, job_id, 2, offset=1) == []
    assert quietly(master, job_id, 2, offset=1) == []
    assert master.scheduler.state.jobs.records[job_id].added == 3


def test_given_a_gap_or_no_such_job_then_it_is_answered_all_the_same(master: Master) -> None:
    job_id = submit(master, 1, sealed=False).job_id
    assert [answer.code for answer in quietly(master, job_id, 1, offset=7)] == [GAP]
    assert [answer.code for answer in quietly(master, 99, 1, offset=0)] == [NO_JOB]
