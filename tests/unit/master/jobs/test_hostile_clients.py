"""Well-formed requests that make no sense, or too much of it, at a master's brain and all that answers clients.

Whatever a client may say is at the edge of its type here. Nothing raises, each answer fits a message and its kind, the
invariants hold, and what a client cannot end by itself has a bound.
"""

import random
from typing import get_args

import msgspec
import pytest

from cyclone.errors import ProtocolError
from cyclone.master.jobs import job_control, submissions
from cyclone.protocol import limits
from cyclone.protocol.client_messages import Answer, StatusReport
from cyclone.protocol.event_messages import EventsRequest
from cyclone.protocol.job_messages import (
    BUSY,
    AddRequest,
    AnyFromClient,
    CancelJobsRequest,
    FollowRequest,
    JobsReport,
    JobsRequest,
    NamespaceRequest,
    NamespacesReport,
    NamespacesRequest,
    OutputRequest,
    ProcessedRequest,
    RequeueRequest,
    SubmitRequest,
    Submitted,
)
from cyclone.protocol.job_spec import JobSelection, JobSpec, Namespace, TaskBlock
from cyclone.security.key_files import PeerEntry
from tests.support.client_desk import Desk
from tests.support.extremes import Extremes

CASES, CASES_PER_LIFE = 1500, 150
# The body answers these by itself, from what controllers and its own log have.
ELSEWHERE = (OutputRequest, EventsRequest)
KINDS = [kind for kind in get_args(AnyFromClient) if not issubclass(kind, ELSEWHERE)]


def test_given_requests_at_the_edges_of_their_types_then_each_has_an_answer_and_the_master_keeps_its_invariants() -> (
    None
):
    granted = made = understood = 0
    for case in range(CASES):
        rng = random.Random(case)
        if case % CASES_PER_LIFE == 0:
            desk = Desk()
            desk.ask(SubmitRequest(1, bytes(16), JobSpec(task_class="m:A"), TaskBlock(0, [b"\x90"] * 20)))
        request = Extremes(rng).of(rng.choice(KINDS))
        if "job_id" in request.__struct_fields__ and rng.random() < 0.7:
            request = msgspec.structs.replace(request, job_id=1)
        who = rng.choice(
            (None, PeerEntry("ann", "client", "k" * 40, "now"), PeerEntry("root", "admin", "r" * 40, "now"))
        )
        try:
            answers = desk.ask(request, who)
        except ProtocolError:
            # What the wire does not let through, such as options of rows that are not there.
            continue
        understood += 1
        # Who follows hears when there is something, and who asks for no answer where there is something wrong.
        is_quiet = isinstance(request, FollowRequest) or (isinstance(request, AddRequest) and request.quiet)
        assert is_quiet or request.request in [answer.request for answer in answers], request
        granted += any(isinstance(answer, Answer) and answer.granted for answer in answers)
        made += any(isinstance(answer, Submitted) and not answer.code for answer in answers)
        desk.scheduler.check()
    assert understood > CASES // 2 and granted > CASES // 50 and made > CASES // 100, (understood, granted, made)


def _block(count: int) -> TaskBlock:
    return TaskBlock(0, [b"\x90"] * count)


def _key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_given_more_jobs_and_namespaces_than_a_master_keeps_then_the_next_is_refused_and_lists_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submissions, "OPEN_JOBS_MAX", 50)
    monkeypatch.setattr(job_control, "NAMESPACES_MAX", 20)
    desk, spec = Desk(), JobSpec(task_class="m:A")
    codes = [
        said.code
        for n in range(60)
        for said in desk.ask(SubmitRequest(n, _key(n), spec))
        if isinstance(said, Submitted)
    ]
    assert codes == [""] * 50 + [BUSY] * 10
    grants = []
    for number in range(30):
        [answer] = desk.ask(NamespaceRequest(number, "set", Namespace(name=f"n{number}")))
        assert isinstance(answer, Answer)
        grants.append(answer.granted)
    # Three were there.
    assert grants == [True] * 17 + [False] * 13
    [listed] = desk.ask(NamespacesRequest(1))
    assert isinstance(listed, NamespacesReport) and len(listed.namespaces) == 20
    [page] = desk.ask(JobsRequest(1, JobSelection(), page=limits.PAGE_ROWS_MAX))
    assert isinstance(page, JobsReport) and len(page.jobs) == 50


def test_given_selections_and_indexes_of_the_largest_ranges_then_they_are_answered_at_once() -> None:
    desk, everything = Desk(), [(0, limits.ID_MAX)]
    desk.ask(SubmitRequest(1, _key(1), JobSpec(task_class="m:A"), _block(4096)))
    ranges = [(number, number) for number in range(0, 2 * limits.RANGES_PER_MESSAGE_MAX, 2)]
    requests: list[AnyFromClient] = [
        JobsRequest(1, JobSelection(ids=everything)),
        JobsRequest(1, JobSelection(ids=ranges)),
        RequeueRequest(1, 1, everything),
        RequeueRequest(1, 1, ranges),
        ProcessedRequest(1, 1, everything),
        ProcessedRequest(1, 1, ranges),
        CancelJobsRequest(1, JobSelection(ids=ranges), dry_run=True),
        CancelJobsRequest(1, JobSelection(ids=everything), ranges),
        CancelJobsRequest(1, JobSelection(ids=everything), everything),
    ]
    for request in requests:
        [answer] = desk.ask(request)
        assert isinstance(answer, Answer | JobsReport | StatusReport), request
        desk.scheduler.check()
    # The last one was all of it; so many stretches take some turns.
    for _ in range(3):
        desk.ask(JobsRequest(1, JobSelection()))
    assert desk.scheduler.state.open_tasks == 0
    [refused] = desk.ask(AddRequest(1, 1, TaskBlock(limits.ID_MAX, [b"\x90"])))
    assert isinstance(refused, Submitted) and refused.code
