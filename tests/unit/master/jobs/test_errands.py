"""Requests about very many jobs take several turns, and are answered when all of it is recorded."""

from typing import Any

import pytest

from cyclone.master.actions import Action, Send
from cyclone.master.events import CancelWanted, JobEnded, JobHeld
from cyclone.master.jobs import errands as errands_module
from cyclone.master.leases.recalls import EVERYTHING
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import AnyFromClient, CancelJobsRequest, ControlRequest, NamespaceRequest
from cyclone.protocol.job_spec import JobSelection, Namespace
from cyclone.protocol.messages import Recall
from cyclone.protocol.states import COMPLETED
from tests.support.job_requests import CLIENT, ask, submit
from tests.support.masters import Master, batch, leases, sent

JOBS, PER_TURN = 7, 2
CANCEL = CancelJobsRequest(9, JobSelection(name="many"), reason="enough")
HOLD = ControlRequest(9, JobSelection(name="many"), "hold")
PURGE = NamespaceRequest(9, "purge", Namespace(name="default"))


@pytest.fixture(autouse=True)
def few_per_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errands_module, "JOBS_PER_TURN", PER_TURN)


@pytest.fixture
def jobs(master: Master) -> Master:
    for number in range(JOBS):
        submit(master, 1, f"k{number}", name="many")
    return master


def answers(actions: list[Action]) -> list[Answer]:
    return [a.message for a in actions if isinstance(a, Send) and a.peer == CLIENT and isinstance(a.message, Answer)]


def about(master: Master, kind: Any) -> list[int]:
    """The jobs of these events, by their numbers: each of them as often as it was recorded."""
    return sorted(event.job_id for event in master.recorded if isinstance(event, kind))


def until_answered(master: Master, actions: list[Action]) -> tuple[Answer, int]:
    """The one answer, and how many turns it took."""
    for turns in range(JOBS):
        if found := answers(actions):
            (answer,) = found
            return answer, turns
        actions = master.advance(by_s=0.01)
    raise AssertionError("nobody has answered")


@pytest.mark.parametrize(
    ("request_", "kind", "count", "text"),
    [
        pytest.param(CANCEL, CancelWanted, JOBS, "7 jobs with 7 tasks cancelled", id="cancel"),
        pytest.param(PURGE, CancelWanted, JOBS, "7 jobs with 7 tasks cancelled", id="purge"),
        pytest.param(HOLD, JobHeld, JOBS, "7 jobs held", id="hold"),
    ],
)
def test_given_more_jobs_than_a_turn_changes_then_the_answer_comes_behind_the_last_and_counts_them_all(
    jobs: Master, request_: AnyFromClient, kind: type, count: int, text: str
) -> None:
    actions = ask(jobs, request_)
    assert len(about(jobs, kind)) == PER_TURN
    assert jobs.scheduler.deadline < jobs.now + 0.01
    answer, turns = until_answered(jobs, actions)
    assert (answer.granted, answer.count, turns) == (True, count, JOBS // PER_TURN)
    assert answer.text.startswith(text)
    assert about(jobs, kind) == list(range(1, JOBS + 1))
    jobs.advance(by_s=0.3)
    assert about(jobs, JobEnded) == (list(range(1, JOBS + 1)) if kind is CancelWanted else [])
    jobs.scheduler.check()


def test_given_the_same_request_again_before_its_answer_then_it_is_answered_once_and_nothing_is_recorded_twice(
    jobs: Master,
) -> None:
    ask(jobs, CANCEL)
    actions = ask(jobs, CANCEL)
    assert answers(actions) == []
    assert until_answered(jobs, actions)[0].count == JOBS
    assert about(jobs, CancelWanted) == list(range(1, JOBS + 1))


def test_given_a_master_that_is_killed_in_between_then_the_next_one_ends_the_rest_when_it_is_asked(
    jobs: Master,
) -> None:
    ask(jobs, CANCEL)
    jobs.restart()
    before = len(about(jobs, CancelWanted))
    assert before == PER_TURN
    answer, _ = until_answered(jobs, ask(jobs, CANCEL))
    assert answer.granted
    assert about(jobs, CancelWanted) == list(range(1, JOBS + 1))
    for _ in range(4):
        jobs.advance(by_s=0.3)
    assert about(jobs, JobEnded) == list(range(1, JOBS + 1))


def test_given_many_jobs_under_way_then_another_request_about_few_keeps_its_place_behind_them(jobs: Master) -> None:
    ask(jobs, HOLD)
    release = ControlRequest(10, JobSelection(ids=[(JOBS, JOBS)]), "release")
    assert answers(ask(jobs, release)) == []
    found = [one for _ in range(JOBS) for one in answers(jobs.advance(by_s=0.01))]
    assert [(one.request, one.text) for one in found] == [(9, "7 jobs held"), (10, "1 job released")]


def test_given_a_job_that_ends_meanwhile_then_it_is_passed_over(jobs: Master) -> None:
    session = jobs.join()
    jobs.lease(session, JOBS)
    actions = ask(jobs, HOLD)
    jobs.results(session, batch(1, *[COMPLETED] * JOBS))
    answer, _ = until_answered(jobs, actions)
    assert (answer.count, about(jobs, JobEnded)) == (JOBS, list(range(1, JOBS + 1)))
    assert len(about(jobs, JobHeld)) == 2 * PER_TURN
    jobs.scheduler.check()


def test_given_jobs_that_are_held_over_turns_then_what_has_not_started_of_them_comes_back(jobs: Master) -> None:
    session = jobs.join()
    assert len(leases(jobs.lease(session, JOBS))) == JOBS
    actions, recalled = ask(jobs, HOLD), []
    while not answers(actions):
        actions = jobs.advance(by_s=0.01)
        recalled += [message for message in sent(actions) if isinstance(message, Recall)]
    assert recalled == [Recall(session, EVERYTHING)]


def test_given_too_many_requests_about_many_jobs_then_one_more_is_refused(
    jobs: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands_module, "ERRANDS_MAX", 1)
    ask(jobs, HOLD)
    (refused,) = answers(ask(jobs, CANCEL))
    assert (refused.granted, "try again later" in refused.text) == (False, True)
    assert not about(jobs, CancelWanted)


def test_given_jobs_that_are_to_end_already_then_a_second_wish_is_granted_and_not_recorded_again(
    jobs: Master,
) -> None:
    session = jobs.join()
    jobs.lease(session, JOBS)
    for _ in range(2):
        answer, _ = until_answered(jobs, ask(jobs, CANCEL))
        assert (answer.granted, answer.count) == (True, JOBS)
    assert about(jobs, CancelWanted) == list(range(1, JOBS + 1))
