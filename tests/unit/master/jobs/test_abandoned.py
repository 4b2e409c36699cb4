"""Jobs whose client is gone are sealed, and those whose client still says something are not."""

import pytest

from cyclone.master.actions import Say
from cyclone.master.events import JobEnded, JobSealed
from cyclone.master.jobs.rights import ANYBODY, Who
from cyclone.protocol.job_messages import AddRequest, DetailRequest, FollowRequest, ProcessedRequest
from cyclone.protocol.states import COMPLETED
from tests.support.job_requests import ANN, BOB, ask, explain, submit
from tests.support.masters import Master, batch
from tests.unit.master.conftest import NewMaster

AFTER_S = 100.0


@pytest.fixture
def master(new_master: NewMaster) -> Master:
    return new_master(abandon_s=AFTER_S, controller_timeout_s=1e6)


def sealed(master: Master) -> list[int]:
    return [event.job_id for event in master.recorded if isinstance(event, JobSealed)]


def wait(master: Master, seconds: float) -> list[str]:
    """What the master says meanwhile."""
    said: list[str] = []
    for _ in range(20):
        said += [action.text for action in master.advance(by_s=seconds / 20) if isinstance(action, Say)]
    return said


def test_given_silence_then_the_job_is_sealed_and_ends_with_what_it_has(master: Master) -> None:
    job_id = submit(master, 1, who=ANN, sealed=False).job_id
    session = master.join()
    master.lease(session, 1)
    assert wait(master, AFTER_S - 20) == []
    assert sealed(master) == []
    (said,) = wait(master, 40)
    assert said.startswith(f"job={job_id} of ann gets no more tasks: for 100 s no client has said anything")
    assert sealed(master) == [job_id]
    assert "abandoned" in explain(master, job_id)
    master.results(session, batch(1, COMPLETED))
    master.advance()
    assert [event.job_id for event in master.recorded if isinstance(event, JobEnded)] == [job_id]


@pytest.mark.parametrize(
    ("request_", "who", "keeps"),
    [
        (AddRequest(1, 1), ANN, True),
        (FollowRequest(1, 1, 0, 1000), ANN, True),
        (ProcessedRequest(1, 1, []), ANN, True),
        (AddRequest(1, 1), ANYBODY, True),
        (FollowRequest(1, 1, 0, 1000), BOB, False),
        (DetailRequest(1, 1), ANN, False),
    ],
)
def test_given_a_request_meanwhile_then_the_time_counts_from_there_if_its_owner_made_it(
    master: Master, request_: AddRequest | FollowRequest | ProcessedRequest | DetailRequest, who: Who, keeps: bool
) -> None:
    submit(master, 1, who=ANN, sealed=False)
    wait(master, 70)
    ask(master, request_, who)
    wait(master, 70)
    assert sealed(master) == ([] if keeps else [1])
    wait(master, 50)
    assert sealed(master) == [1]


def test_given_a_submit_that_is_repeated_then_the_time_counts_from_there(master: Master) -> None:
    submit(master, 1, sealed=False)
    wait(master, 70)
    submit(master, 1, sealed=False)
    wait(master, 70)
    assert sealed(master) == []


def test_given_a_restart_then_the_time_counts_anew(master: Master) -> None:
    submit(master, 1, sealed=False)
    wait(master, 70)
    master.restart()
    wait(master, 70)
    assert sealed(master) == []
    wait(master, 50)
    assert sealed(master) == [1]


def test_given_no_limit_then_a_job_waits_for_ever(new_master: NewMaster) -> None:
    master = new_master(abandon_s=0.0)
    submit(master, 1, sealed=False)
    wait(master, 1e6)
    assert sealed(master) == []
