"""What is wished of jobs that are there: held, released, sealed, taken back; by whom, and what follows."""

from typing import Any

import pytest

from cyclone.master.events import JobEnded, JobHeld, JobSealed
from cyclone.master.jobs.rights import ANYBODY, Who
from cyclone.master.leases.admission import Terms
from cyclone.master.leases.recalls import EVERYTHING
from cyclone.protocol.client_messages import CancelRequest, DrainRequest
from cyclone.protocol.job_messages import (
    ControlRequest,
    NamespaceRequest,
    ProcessedRequest,
    RequeueRequest,
)
from cyclone.protocol.job_spec import Namespace
from cyclone.protocol.messages import Cancel, Recall, Returned
from cyclone.protocol.states import FAILED
from tests.support.job_requests import ANN, BOB, answer, ask, control, counts, events, ids, submit
from tests.support.masters import JOURNAL, Master, batch, leases, sent, tasks

NOBODY_HAS_IT = "no controller has any of these tasks: they wait, or have ended"


class TestHold:
    def test_given_a_job_that_is_held_then_nothing_more_of_it_is_leased_until_it_is_released(
        self, master: Master, running: int
    ) -> None:
        assert control(master, "hold", 1).text == "1 job held"
        assert counts(master, 1) == {"held": 2, "leased": 2}
        assert leases(master.lease(running, 9)) == [("c1", 5, 2, 1)]
        assert control(master, "hold", 1).text == "0 jobs held; 1 job already"
        control(master, "release", 1)
        assert leases(master.lease(running, 9)) == [("c1", 3, 2, 1)]
        assert events(master, JobHeld) == [JobHeld(1, True), JobHeld(1, False)]

    def test_given_a_controller_with_more_than_it_has_slots_then_it_is_asked_for_what_has_not_started(
        self, master: Master
    ) -> None:
        session = master.join(slots=2)
        submit(master, 8)
        master.lease(session, 8)
        actions = ask(master, ControlRequest(3, ids(1), "hold"))
        assert [message for message in sent(actions) if isinstance(message, Recall)] == [Recall(session, EVERYTHING)]

    def test_given_a_job_that_is_submitted_held_then_it_waits_also_after_a_restart(self, master: Master) -> None:
        submit(master, 2, held=True)
        master.restart()
        session = master.join()
        assert leases(master.lease(session, 9)) == []
        control(master, "release", 1)
        # What is not to run soon lies in the journal alone.
        master.advance()
        assert leases(master.advance()) == [("c1", 1, 2, 1)]


def test_given_a_seal_then_the_job_ends_with_what_it_has(master: Master) -> None:
    job_id = submit(master, 0, sealed=False).job_id
    for _ in range(2):
        control(master, "seal", job_id)
    master.advance()
    assert events(master, JobSealed) == [JobSealed(job_id)]
    assert [event.job_id for event in events(master, JobEnded)] == [job_id]


@pytest.mark.parametrize(
    ("who", "granted", "text"),
    [
        pytest.param(ANN, True, "1 job held; 1 job of others left alone", id="its owner"),
        pytest.param(ANYBODY, True, "2 jobs held", id="an administrator"),
        pytest.param(Who("eve", False), False, "all 2 jobs that are meant are somebody else's", id="nobody's"),
    ],
)
def test_given_jobs_of_others_then_only_their_owners_and_administrators_steer_them(
    master: Master, running: int, who: Who, granted: bool, text: str
) -> None:
    found = control(master, "hold", 1, 2, who=who)
    assert (found.granted, found.text, found.code) == (granted, text, "" if granted else "not_allowed")
    assert {record.owner: record.held for record in master.scheduler.state.jobs.records.values()} == {
        "ann": who in (ANN, ANYBODY),
        "bob": who == ANYBODY,
    }


@pytest.mark.parametrize(
    ("request_", "who"),
    [
        pytest.param(CancelRequest(1, 1, 9, "", ""), ANN, id="tasks by id"),
        pytest.param(DrainRequest(1, "c1", False), ANN, id="a controller"),
        pytest.param(NamespaceRequest(1, "set", Namespace(name="n")), ANN, id="a namespace"),
        pytest.param(RequeueRequest(1, 1), BOB, id="tasks of a job of somebody else"),
        pytest.param(ProcessedRequest(1, 1, [(0, 0)]), BOB, id="results of somebody else"),
    ],
)
def test_given_what_is_not_ones_own_then_it_is_not_granted_and_nothing_happens(
    master: Master, running: int, request_: Any, who: Who
) -> None:
    known = len(master.recorded)
    found = answer(ask(master, request_, who))
    assert (found.granted, found.code) == (False, "not_allowed")
    assert len(master.recorded) == known


class TestRequeue:
    def test_given_tasks_that_a_controller_has_then_it_is_asked_for_them_and_they_wait_again(
        self, master: Master, running: int
    ) -> None:
        actions = ask(master, RequeueRequest(1, 1, [(1, 3)]), ANN)
        assert answer(actions).count == 1
        assert [message for message in sent(actions) if isinstance(message, Cancel)] == [Cancel(running, [tasks(2)])]
        master.handle(Returned(running, 0, [tasks(2)]))
        assert leases(master.lease(running, 1)) == [("c1", 2, 1, 2)]

    @pytest.mark.parametrize(
        ("count", "indexes", "text"),
        [
            pytest.param(4, [(4, 4)], "job 1 has no task 4: its indexes are 0-3", id="the one behind the last"),
            pytest.param(4, [(2, 2), (7, 9)], "job 1 has no task 7: its indexes are 0-3", id="some that are there"),
            pytest.param(1, [(1, 1)], "job 1 has no task 1: its only index is 0", id="the only one is another"),
            pytest.param(0, [(0, 0)], "job 1 has no task 0: it has none so far", id="there is none"),
            pytest.param(4, [(2, 9)], NOBODY_HAS_IT, id="those there are wait"),
            pytest.param(4, [], NOBODY_HAS_IT, id="all wait"),
        ],
    )
    def test_given_tasks_that_nobody_has_then_it_is_told_why_nothing_is_taken_back(
        self, master: Master, count: int, indexes: list[tuple[int, int]], text: str
    ) -> None:
        submit(master, count, sealed=count > 0)
        found = answer(ask(master, RequeueRequest(1, 1, indexes)))
        assert (found.granted, found.count, found.text) == (False, 0, text)

    def test_given_a_task_that_waits_for_its_next_try_then_it_waits_no_longer(self, master: Master) -> None:
        session = master.join()
        submit(master, 1, retries=1, retry_delay_s=1000.0)
        master.lease(session, 1)
        master.results(session, batch(1, FAILED))
        assert counts(master, 1) == {"delayed": 1}
        assert answer(ask(master, RequeueRequest(1, 1))).count == 1
        assert leases(master.lease(session, 1)) == [("c1", 1, 1, 2)]

    def test_given_an_exclusive_task_that_a_lost_controller_may_still_run_then_it_waits_until_that_is_over(
        self, master: Master
    ) -> None:
        submit(master, 1, exclusive=True)
        master.lease(master.join("c1"), 1)
        wait_s = Terms(JOURNAL, 1.0, 15.0).exclusive_wait_s
        master.advance(15.1)
        other = master.join("c2", "2")
        assert counts(master, 1) == {"delayed": 1}
        assert answer(ask(master, RequeueRequest(1, 1))).count == 0
        assert leases(master.lease(other, 1)) == []
        assert leases(master.advance(wait_s - 15.0)) == [("c2", 1, 1, 2)]

    def test_given_an_exclusive_task_that_failed_then_it_waits_no_longer(self, master: Master) -> None:
        session = master.join()
        submit(master, 1, exclusive=True, retries=1, retry_delay_s=1000.0)
        master.lease(session, 1)
        master.results(session, batch(1, FAILED))
        assert answer(ask(master, RequeueRequest(1, 1))).count == 1
        assert leases(master.lease(session, 1)) == [("c1", 1, 1, 2)]
