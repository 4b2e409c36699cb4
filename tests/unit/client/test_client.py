"""The Client against a played master: what it asks, what it makes of the answers, and what gets lost on the way."""

import itertools
from collections.abc import Iterator

import pytest

from cyclone.client import connection
from cyclone.client.client import Client
from cyclone.errors import CycloneError, NoSuchJob, QuotaExceeded, SubmitRefused, Unreachable
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import (
    NO_JOB,
    QUOTA,
    AddRequest,
    AnyFromClient,
    AnyToClient,
    DetailRequest,
    FollowRequest,
    JobDetail,
    JobsReport,
    JobsRequest,
    JobSummary,
    SubmitRequest,
    Submitted,
    TaskRow,
    TasksReport,
    TasksRequest,
)
from cyclone.protocol.job_spec import JobSelection, JobSpec
from cyclone.values import encode
from tests.support.played_master import PlayedMaster

SPEC = JobSpec(task_class="tasks.function:FunctionTask", shared=encode(["builtins:abs"]))


def rows(count: int) -> Iterator[bytes]:
    return (encode([[-number]]) for number in range(count))


def summary(job_id: int, state: str = "completed", **tasks: int) -> JobSummary:
    return JobSummary(job_id, "", "default", "", state, "m:C", 0, 1.0, 2.0, True, tasks)


@pytest.fixture
def master() -> Iterator[PlayedMaster]:
    with PlayedMaster() as played:
        yield played


@pytest.fixture
def client(master: PlayedMaster) -> Iterator[Client]:
    with Client(master.address) as connected:
        yield connected


def test_given_a_few_tasks_then_one_request_submits_them(master: PlayedMaster, client: Client) -> None:
    assert client.submit(SPEC, rows(3), key=b"k" * 16) == 1
    (request,) = master.of_kind(SubmitRequest)
    assert request.sealed
    assert request.key == b"k" * 16
    assert request.block.args == list(rows(3))


def test_given_no_tasks_then_the_job_is_empty(master: PlayedMaster, client: Client) -> None:
    client.submit(SPEC, [], sealed=False)
    (request,) = master.of_kind(SubmitRequest)
    assert (request.block, request.sealed) == (None, False)


def test_given_many_tasks_then_they_follow_in_blocks_and_the_last_one_seals(
    master: PlayedMaster, client: Client
) -> None:
    client.submit(SPEC, rows(10_000))
    assert [request.block.offset for request in master.of_kind(AddRequest)] == [4096, 8192]
    assert [request.sealed for request in master.of_kind(AddRequest)] == [False, True]
    (job,) = master.jobs.values()
    assert job.rows == list(rows(10_000))


def test_given_tasks_that_end_with_a_block_then_the_job_is_sealed_by_itself(
    master: PlayedMaster, client: Client
) -> None:
    client.submit(SPEC, rows(4096))
    (request,) = master.of_kind(AddRequest)
    assert (request.block, request.sealed) == (None, True)


def test_given_a_job_that_is_not_sealed_then_more_can_be_added(master: PlayedMaster, client: Client) -> None:
    job_id = client.submit(SPEC, rows(2), sealed=False)
    assert client.add(job_id, rows(5), offset=2, sealed=True) == 7
    (job,) = master.jobs.values()
    assert job.sealed
    assert len(job.rows) == 7


def test_given_a_busy_master_then_the_rest_is_sent_again(master: PlayedMaster, client: Client) -> None:
    master.busy = 2
    client.submit(SPEC, rows(5000))
    (job,) = master.jobs.values()
    assert job.rows == list(rows(5000))
    assert job.sealed


def test_given_a_key_that_made_a_job_before_then_it_gets_only_what_it_lacks(
    master: PlayedMaster, client: Client
) -> None:
    first = client.submit(SPEC, rows(5000), key=b"k" * 16, sealed=False)
    assert client.submit(SPEC, rows(6000), key=b"k" * 16) == first
    (job,) = master.jobs.values()
    assert job.rows == list(rows(6000))


def test_given_a_key_whose_job_has_ended_then_it_is_that_one_and_no_more_is_sent(
    master: PlayedMaster, client: Client
) -> None:
    usual = master.handle

    def handle(peer: bytes, request: AnyFromClient) -> AnyToClient | None:
        if isinstance(request, SubmitRequest):
            # It does not know what the job had: there is nothing more to send.
            return Submitted(request.request, 1, 4096, sealed=True, room=0)
        if isinstance(request, AddRequest):
            return Submitted(request.request, 0, 0, sealed=False, room=0, code=NO_JOB)
        return usual(peer, request)

    master.handle = handle  # type: ignore[method-assign]
    assert client.submit(SPEC, rows(5000), key=b"k" * 16) == 1


def test_given_a_quota_then_it_is_raised(master: PlayedMaster, client: Client) -> None:
    master.refusal = QUOTA
    with pytest.raises(QuotaExceeded, match="as many open jobs"):
        client.submit(SPEC, rows(1))


def test_given_an_answer_that_got_lost_then_the_repetition_makes_no_second_job(
    master: PlayedMaster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_RESEND_S", 0.02)
    answers = itertools.count()
    master.mute = lambda request: isinstance(request, SubmitRequest | AddRequest) and next(answers) in (0, 2)
    client.submit(SPEC, rows(5000))
    assert len(master.of_kind(SubmitRequest)) == 2
    assert len(master.jobs) == 1
    (job,) = master.jobs.values()
    assert job.rows == list(rows(5000))


def test_given_a_job_that_ended_before_its_seal_was_answered_then_it_is_submitted(
    master: PlayedMaster, client: Client
) -> None:
    usual = master.handle

    def handle(peer: bytes, request: AnyFromClient) -> AnyToClient | None:
        if isinstance(request, AddRequest):
            usual(peer, request)
            return Submitted(request.request, 1, 0, sealed=False, room=0, code=NO_JOB)
        if isinstance(request, DetailRequest):
            return JobDetail(request.request, summary(1, completed=5000))
        return usual(peer, request)

    master.handle = handle  # type: ignore[method-assign]
    assert client.submit(SPEC, rows(5000)) == 1


def test_given_results_then_they_come_to_the_end_with_their_places(master: PlayedMaster, client: Client) -> None:
    usual = master.handle

    def handle(peer: bytes, request: AnyFromClient) -> AnyToClient | None:
        if isinstance(request, DetailRequest):
            return JobDetail(request.request, summary(request.job_id))
        return usual(peer, request)

    master.handle = handle  # type: ignore[method-assign]
    job_id = client.submit(SPEC, rows(5000))
    found = list(client.results(job_id))
    assert [result.index for result in found] == list(range(5000))
    assert [result.value for result in found] == list(range(5000))
    assert {result.job_id for result in found} == {job_id}
    with pytest.raises(AttributeError, match="with_args=True"):
        _ = found[0].args
    later = list(client.results(job_id, position=1))
    assert [result.index for result in later] == list(range(4096, 5000))


def test_given_results_that_got_lost_then_they_are_asked_for_again(master: PlayedMaster, client: Client) -> None:
    usual, sent = master.handle, master._send
    messages = itertools.count()

    def handle(peer: bytes, request: AnyFromClient) -> AnyToClient | None:
        if isinstance(request, DetailRequest):
            return JobDetail(request.request, summary(request.job_id))
        return usual(peer, request)

    def send(peer: bytes, answer: AnyToClient) -> None:
        if type(answer).__name__ != "JobResults" or next(messages) != 1:
            sent(peer, answer)

    master.handle, master._send = handle, send  # type: ignore[method-assign]
    job_id = client.submit(SPEC, rows(20_000))
    assert [result.value for result in client.results(job_id)] == list(range(20_000))
    assert [request.position for request in master.of_kind(FollowRequest) if request.resume] == [1]


def test_given_no_such_job_then_it_is_said(master: PlayedMaster, client: Client) -> None:
    def handle(peer: bytes, request: AnyFromClient) -> AnyToClient | None:
        if isinstance(request, DetailRequest):
            return JobDetail(request.request, None)
        return JobsReport(request.request, [], 0)

    master.handle = handle  # type: ignore[method-assign]
    for ask in (lambda: client.detail(7), lambda: list(client.results(7)), lambda: client.wait([7])):
        with pytest.raises(NoSuchJob, match="no job 7"):
            ask()


def test_given_pages_then_lists_go_over_them(master: PlayedMaster, client: Client) -> None:
    def handle(peer: bytes, request: AnyFromClient) -> AnyToClient | None:
        if isinstance(request, JobsRequest):
            newest = request.before - 1 if request.before else 5
            page = range(newest, max(0, newest - 2), -1)
            return JobsReport(request.request, [summary(job_id) for job_id in page], page[-1] if newest > 2 else 0)
        assert isinstance(request, TasksRequest)
        after = request.start + 2
        found = [TaskRow(index, 10 + index, "queued", 1, "") for index in range(request.start, after)]
        return TasksReport(request.request, found, after if after < 6 else None)

    master.handle = handle  # type: ignore[method-assign]
    assert [job.job_id for job in client.jobs()] == [5, 4, 3, 2, 1]
    assert [row.index for row in client.tasks(3, start=2)] == [2, 3, 4, 5]


def test_given_no_such_job_then_its_tasks_cannot_be_listed(master: PlayedMaster, client: Client) -> None:
    def handle(peer: bytes, request: AnyFromClient) -> AnyToClient | None:
        if isinstance(request, TasksRequest):
            return TasksReport(request.request, [], None)
        return JobDetail(request.request, None)

    master.handle = handle  # type: ignore[method-assign]
    with pytest.raises(NoSuchJob, match="there is no job 3"):
        list(client.tasks(3))


def test_given_jobs_that_end_then_wait_returns_them_in_the_order_asked_for(
    master: PlayedMaster, client: Client
) -> None:
    asked = itertools.count()

    def handle(peer: bytes, request: AnyFromClient) -> AnyToClient | None:
        assert isinstance(request, JobsRequest)
        done = next(asked)
        ids = [job_id for low, high in request.selection.ids for job_id in range(low, high + 1)]
        jobs = [summary(job_id, "completed" if job_id <= done else "running") for job_id in ids]
        return JobsReport(request.request, jobs, 0)

    master.handle = handle  # type: ignore[method-assign]
    assert [job.job_id for job in client.wait([2, 1, 2])] == [2, 1, 2]
    with pytest.raises(TimeoutError, match="not ended after 0 s: 99"):
        client.wait([99], timeout_s=0)


def test_given_an_answer_of_another_kind_then_it_is_an_error(master: PlayedMaster, client: Client) -> None:
    master.handle = lambda peer, request: Answer(request.request, False, 0, "not like this")  # type: ignore[method-assign]
    with pytest.raises(CycloneError, match="not like this"):
        client.detail(1)
    assert not client.hold(JobSelection()).granted


def test_given_no_master_then_it_is_unreachable() -> None:
    with Client("tcp://127.0.0.1:9", timeout_s=0.05) as client, pytest.raises(Unreachable, match="no answer from"):
        client.status()


def test_given_a_refusal_then_its_code_is_there(master: PlayedMaster, client: Client) -> None:
    master.refusal = "invalid"
    with pytest.raises(SubmitRefused) as raised:
        client.submit(SPEC, rows(1))
    assert raised.value.code == "invalid"
