"""The largest that clients may submit and controllers may say of themselves: each answer still fits a message."""

from typing import Any

import pytest

from cyclone.master.jobs.job_control import NAMESPACES_MAX
from cyclone.protocol import limits, wire
from cyclone.protocol.client_messages import Answer, DrainRequest, StatusReport, StatusRequest
from cyclone.protocol.event_messages import EventsReport, EventsRequest
from cyclone.protocol.job_messages import (
    INVALID,
    DetailRequest,
    ExplainRequest,
    Explanation,
    JobDetail,
    JobsReport,
    JobsRequest,
    NamespaceRequest,
    NamespacesReport,
    NamespacesRequest,
    SubmitRequest,
    Submitted,
)
from cyclone.protocol.job_spec import JobSelection, JobSpec, Namespace
from cyclone.protocol.messages import Offer
from tests.support.client_desk import Desk
from tests.support.masters import hello

# What takes most: characters of four bytes, and labels that have an alphabet of one byte.
NAME = "\N{CLINKING BEER MUGS}" * limits.NAME_CHARS_MAX
LABELS = [f"{n:0255}" for n in range(limits.LABELS_MAX)]
NAMED: dict[str, Any] = {
    "task_class": "m:" + NAME[2:],
    "name": NAME,
    "session": NAME,
    "tags": dict.fromkeys(LABELS, NAME),
}
NEEDS: dict[str, Any] = {"labels": tuple(LABELS), "resources": dict.fromkeys(LABELS, 1 << 62), "nodes": (NAME,) * 9}
OFFER = Offer((NAME,) * limits.LABELS_MAX, (NAME,) * limits.LABELS_MAX, 1, {NAME[:-2] + one[-2:]: 1 for one in LABELS})


def submit(desk: Desk, number: int = 1, **options: Any) -> Submitted:
    spec = JobSpec(**{**NAMED, **options})
    (answer,) = desk.ask(SubmitRequest(1, number.to_bytes(16, "big"), spec))
    assert isinstance(answer, Submitted)
    return answer


def join(desk: Desk, count: int, offer: Offer = OFFER) -> None:
    """So many controllers, whose names begin with their numbers."""
    for number in range(count):
        name = f"{number:03}{NAME[3:]}"
        greeting = hello(name, f"{number:032x}", host=NAME, offer=offer, version=NAME)
        desk.scheduler.handle(f"{number}".encode(), greeting, desk.now)


def test_given_the_largest_job_then_all_of_it_is_told_and_a_larger_one_is_refused() -> None:
    desk = Desk()
    largest: dict[str, Any] = {"shared": b"\x91" + bytes(limits.VALUE_BYTES_MAX - 1), "nodes": (NAME,) * 3950}
    assert submit(desk, **largest).code == ""
    (answer,) = desk.ask(DetailRequest(2, 1, with_shared=True))
    assert isinstance(answer, JobDetail)
    assert answer.spec == JobSpec(**NAMED, **largest)
    assert sum(map(len, wire.encode(answer))) > limits.SPEC_BYTES_MAX
    refused = submit(desk, 2, **largest, exclude=("x" + NAME[1:],) * 300)
    assert (refused.code, "expected at most" in refused.text) == (INVALID, True)


def test_given_jobs_with_the_longest_names_then_a_list_of_them_and_of_what_happened_comes_in_pages() -> None:
    desk = Desk()
    for number in range(250):
        assert submit(desk, number, **(NEEDS if not number else {})).code == ""
    before, found = 0, []
    for _ in range(250):
        (page,) = desk.ask(JobsRequest(2, JobSelection(), before=before))
        assert isinstance(page, JobsReport)
        found += [job.job_id for job in page.jobs]
        before = page.next
        if not before:
            break
    assert found == list(range(250, 0, -1))
    join(desk, 1)
    (reasons,) = desk.ask(ExplainRequest(3, 1))
    assert isinstance(reasons, Explanation)
    (events,) = desk.ask(EventsRequest(4))
    assert isinstance(events, EventsReport)
    assert len(events.events) >= 250


def test_given_as_many_namespaces_as_there_may_be_then_all_are_listed() -> None:
    desk = Desk()
    for number in range(NAMESPACES_MAX):
        namespace = Namespace(name=f"{number:0255}", weight=1e6, jobs_max=limits.ID_MAX, tasks_max=limits.ID_MAX)
        desk.ask(NamespaceRequest(1, "set", namespace))
    (report,) = desk.ask(NamespacesRequest(2))
    assert isinstance(report, NamespacesReport)
    assert len(report.namespaces) == NAMESPACES_MAX


@pytest.mark.parametrize(("count", "offer", "told"), [(100, OFFER, 100), (9, Offer(), 9)])
def test_given_controllers_that_offer_the_most_then_each_is_listed_and_the_first_with_their_offers(
    count: int, offer: Offer, told: int
) -> None:
    desk = Desk()
    join(desk, count, offer)
    (report,) = desk.ask(StatusRequest(1))
    assert isinstance(report, StatusReport)
    assert [one.name[:3] for one in report.controllers] == [f"{number:03}" for number in range(told)]
    assert report.controllers[0].offer == offer
    assert (report.controllers[-1].version, report.controllers[-1].slots) == ("" if offer is OFFER else NAME, 2)


def test_given_more_names_of_controllers_than_a_message_holds_then_the_first_are_told() -> None:
    desk = Desk()
    join(desk, 9)
    names = {f"{number:05}{NAME[5:]}" for number in range(limits.SESSIONS_MAX)}
    desk.scheduler.state.awaited = names
    desk.scheduler.state.live = dict.fromkeys(names, "")
    (report,) = desk.ask(StatusRequest(1))
    assert isinstance(report, StatusReport)
    assert report.awaited == sorted(names)[: len(report.awaited)] != []
    assert len(report.controllers) == 9
    (answer,) = desk.ask(DrainRequest(2, "c9", False))
    assert isinstance(answer, Answer)
    assert not answer.granted and len(answer.names) == 1000
