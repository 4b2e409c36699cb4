"""What has happened at a master: which events are told, in what numbers, and who is named."""

from collections.abc import Iterator
from typing import Any

import pytest

from cyclone.master.actions import Action, Deliver, Record
from cyclone.master.clients import event_log
from cyclone.master.clients.event_log import EventLog
from cyclone.master.journal import NoJournal
from cyclone.protocol.client_messages import CancelRequest, DrainRequest
from cyclone.protocol.event_messages import EVENT_KINDS, EventsRequest, Happening
from cyclone.protocol.job_messages import (
    AddRequest,
    AnyFromClient,
    CancelJobsRequest,
    ControlRequest,
    NamespaceRequest,
    RequeueRequest,
    SubmitRequest,
)
from cyclone.protocol.job_spec import JobSelection, JobSpec, Namespace
from cyclone.protocol.messages import Results
from cyclone.protocol.states import COMPLETED, FAILED, TIMED_OUT
from tests.support.job_requests import ANN, CLIENT, WALL_OFFSET_S, block, ids, key
from tests.support.masters import EPOCH, Master, batch, hello, peer


class World:
    """A master without a file, its log, and the turns of its loop."""

    def __init__(self) -> None:
        self.master = Master(pages=False)
        self.master.scheduler.wall_offset_s = WALL_OFFSET_S
        self.journal = NoJournal()
        self.log = self.opened()
        self.keys = self.numbers = 0

    def opened(self) -> EventLog:
        return EventLog(self.master.scheduler, self.journal, lambda: self.master.now)

    def carry_out(self, actions: list[Action]) -> None:
        """As the service does, to the end of the turn."""
        actions = self.master.carry_out(actions) + self.master.advance()
        happened = [action.event for action in actions if isinstance(action, Record)]
        self.journal.append(happened)
        self.log.recorded(happened)
        for action in actions:
            if isinstance(action, Deliver):
                self.log.deliver(action.block, action.parts)
        self.log.turn(self.master.now)

    def ask(self, request: AnyFromClient, name: str = "ann") -> None:
        actions = self.master.scheduler.answer(CLIENT, request, self.master.now, ANN._replace(is_admin=True))
        self.log.asked(request, actions, name)
        self.carry_out(actions)

    def submit(self, count: int, **more: Any) -> int:
        self.keys += 1
        spec = JobSpec(task_class="tests:Task", name="scan", **more)
        self.ask(SubmitRequest(self.keys, key(str(self.keys)), spec, block(count), sealed=True))
        return self.keys

    def join(self, name: str = "c1") -> int:
        self.carry_out(self.master.scheduler.handle(peer(name), hello(name), self.master.now))
        return self.master.scheduler.state.sessions.by_name[name].session_id

    def end(self, session: int, *statuses: int) -> None:
        """The next tasks end so."""
        self.carry_out(self.master.lease(session, len(statuses)))
        held = sorted(
            task for span in self.master.scheduler.state.sessions.by_id[session].spans for task in span.open_ids()
        )
        results = self.master.scheduler.handle
        for first, status in zip(held, statuses, strict=True):
            self.numbers += 1
            message = Results(session, self.numbers, 0, [batch(first, status)])
            self.carry_out(results(peer("c1"), message, self.master.now))

    def told(self, *kinds: str) -> list[Happening]:
        """All of these kinds, or all."""
        report = self.log.answer(EventsRequest(1))
        return [event for event in report.events if not kinds or event.kind in kinds]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.told()]


@pytest.fixture
def world() -> Iterator[World]:
    opened = World()
    yield opened
    numbers = [event.number for event in opened.told()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert set(opened.kinds()) <= set(EVENT_KINDS)


def test_given_a_job_from_its_submission_to_its_end_then_each_step_is_told_with_who_asked(world: World) -> None:
    job = world.submit(3, held=True, namespace="default")
    world.ask(ControlRequest(9, ids(job), "release"), "bob")
    world.end(world.join(), COMPLETED, COMPLETED, FAILED)
    assert [(event.kind, event.by, event.job_id) for event in world.told()] == [
        ("master_started", "", None),
        ("job_submitted", "ann", 1),
        ("job_released", "bob", 1),
        ("controller_joined", "", None),
        ("task_failed", "", 1),
        ("job_ended", "", 1),
    ]
    ended = world.told("job_ended")[0]
    assert (ended.name, ended.namespace, ended.text) == ("scan", "default", "failed")
    assert ended.tasks == {"completed": 2, "failed": 1}
    assert ended.time == world.master.now + WALL_OFFSET_S
    assert world.told("job_submitted")[0].text == "tests:Task, held"


def test_given_many_failures_of_a_job_then_the_first_few_are_told_and_no_more(world: World) -> None:
    world.submit(8)
    world.end(world.join(), *[FAILED, TIMED_OUT] * 4)
    told = world.told("task_failed")
    assert [(event.tasks, event.text.split(":")[0]) for event in told] == [
        ({"failed": 1}, "task 0"),
        ({"timed_out": 1}, "task 1"),
        ({"failed": 1}, "task 2"),
    ]
    assert told[-1].text.endswith("no further ones of this job are told")
    assert world.told("job_ended")[0].tasks == {"failed": 4, "timed_out": 4}
    assert not world.log._failures


def test_given_many_tasks_that_are_cancelled_then_they_are_one_event(world: World) -> None:
    job = world.submit(500)
    world.ask(CancelJobsRequest(2, ids(job), reason="wrong input"))
    (wanted,) = world.told("cancel_wanted")
    assert (wanted.by, wanted.job_id, wanted.text) == ("ann", job, "wrong input")
    assert [event.tasks for event in world.told("tasks_cancelled")] == [{"cancelled": 500}]
    assert world.kinds().index("tasks_cancelled") < world.kinds().index("job_ended")


def test_given_tasks_that_expire_then_it_is_told_and_nobody_is_said_to_have_cancelled_them(world: World) -> None:
    world.submit(5, not_after=WALL_OFFSET_S + world.master.now + 1)
    world.master.now += 2
    world.carry_out([])
    assert [event.tasks for event in world.told("tasks_expired")] == [{"expired": 5}]
    assert not world.told("cancel_wanted")


def test_given_a_job_that_grows_then_only_its_sealing_is_told(world: World) -> None:
    spec = JobSpec(task_class="tests:Task")
    world.ask(SubmitRequest(1, key("k"), spec, block(1)))
    world.ask(AddRequest(2, 1, block(5, offset=1)))
    world.ask(ControlRequest(3, JobSelection(), "seal"))
    assert [(event.kind, event.by) for event in world.told()[1:]] == [("job_submitted", "ann"), ("job_sealed", "ann")]


def test_given_wishes_of_an_administrator_then_they_are_told(world: World) -> None:
    session = world.join()
    job = world.submit(4)
    world.carry_out(world.master.lease(session, 2))
    world.ask(RequeueRequest(2, job, [(0, 1)]))
    world.ask(DrainRequest(3, "c1", False))
    world.ask(DrainRequest(4, "c1", True))
    world.ask(NamespaceRequest(5, "set", Namespace(name="night", weight=2, jobs_max=9)))
    world.ask(NamespaceRequest(6, "set", Namespace(name="night", weight=2, jobs_max=9, paused=True)))
    world.ask(NamespaceRequest(7, "set", Namespace(name="night", weight=2, jobs_max=9)))
    world.ask(NamespaceRequest(8, "delete", Namespace(name="night")))
    world.ask(CancelRequest(9, 1, 2, "tests:Task", ""))
    told = [event for event in world.told() if event.number > 3]
    assert {event.by for event in told} == {"ann"}
    assert [(event.kind, event.name or event.namespace or event.controller, event.text) for event in told] == [
        ("tasks_requeued", "scan", ""),
        ("controller_drained", "c1", ""),
        ("controller_undrained", "c1", ""),
        ("namespace_set", "night", "weight=2 jobs_max=9"),
        ("namespace_paused", "night", ""),
        ("namespace_resumed", "night", ""),
        ("namespace_deleted", "night", ""),
        ("cancel_wanted", "", "tasks 1-2 of tests:Task"),
    ]
    assert told[0].tasks == {"queued": 2}


def test_given_a_controller_that_is_suspected_then_it_is_told_once_and_when_it_is_trusted_again(world: World) -> None:
    session = world.master.scheduler.state.sessions.by_id[world.join()]
    for suspected in (True, True, False):
        session.suspected = suspected
        world.master.now += 2
        world.carry_out([])
    assert world.kinds()[-2:] == ["controller_suspected", "controller_trusted"]


def test_given_a_page_then_it_goes_on_behind_what_was_read(world: World) -> None:
    for _ in range(5):
        world.submit(0)
    read: list[int] = []
    while True:
        report = world.log.answer(EventsRequest(7, EPOCH, read[-1] if read else 0, 4))
        read += [event.number for event in report.events]
        if not report.events:
            break
    assert (report.request, report.epoch, report.first, report.last) == (7, EPOCH, 1, 11)
    assert read == list(range(1, 12))
    # A number of another epoch says nothing about this one.
    assert world.log.answer(EventsRequest(8, EPOCH - 1, 9, 2)).events[0].number == 1


def test_given_more_events_than_are_kept_then_the_oldest_are_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "EVENTS_MAX", 4)
    world.log = world.opened()
    for number in range(10):
        world.ask(NamespaceRequest(number, "set", Namespace(name=f"n{number}")))
    report = world.log.answer(EventsRequest(1, EPOCH, 3))
    assert (report.first, report.last) == (8, 11)
    assert [event.namespace for event in report.events] == ["n6", "n7", "n8", "n9"]


def test_given_a_restart_then_what_the_journal_knows_of_jobs_is_told_again(world: World) -> None:
    world.submit(1)
    world.end(world.join(), COMPLETED)
    world.master.now += 1
    world.submit(2)
    world.log = world.opened()
    told = [(event.kind, event.job_id, event.by, event.restored) for event in world.told()]
    assert told == [
        ("job_submitted", 1, "ann", True),
        ("job_ended", 1, "", True),
        ("job_submitted", 2, "ann", True),
        ("master_started", None, "", False),
    ]


def test_given_a_generator_then_failures_of_its_tasks_are_told_of_job_0(world: World) -> None:
    world.carry_out(world.master.offer(2))
    world.end(world.join(), COMPLETED, FAILED)
    (failed,) = world.told("task_failed")
    assert (failed.job_id, failed.controller, failed.text) == (0, "c1", "task 2: WorkerDied: signal 11")
