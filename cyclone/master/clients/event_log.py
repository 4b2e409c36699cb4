"""What has happened at this master, for people and programs that ask: numbered, in order, the last ones only.

Owns which recorded events are worth telling, in what words, and who asked for them; keeps ``EVENTS_MAX`` in memory and
forgets them with the epoch. Tells of tasks in numbers, never one event per task: a few first failures of a job, and of
other ends how many there were in a moment. What was before this epoch is read in the journal once, as far as that knows
it: which jobs there were, when they came and how they ended. Nothing rests on it.
The caller owes: ``asked`` for what follows from a request, ``recorded`` and ``deliver`` for what is, in its order, and
``turn`` once per turn.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import msgspec

from cyclone.lifecycle import BAD_ENDS
from cyclone.master import events
from cyclone.master.actions import Action, Record, Send
from cyclone.master.events import Recorded
from cyclone.master.journal import Journal
from cyclone.master.scheduler import Scheduler
from cyclone.protocol import limits, states
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.event_messages import EventsReport, EventsRequest, Happening
from cyclone.protocol.job_messages import AnyFromClient, JobSummary, RequeueRequest
from cyclone.protocol.job_spec import GENERATOR_JOB, JobSelection
from cyclone.protocol.messages import ErrorRecord
from cyclone.results import UNREADABLE, RecordedBlock, packed_error

EVENTS_MAX = 10_000
# So many failures of a job are told one by one; `cyclone tasks -s bad` has all of them.
FIRST_FAILURES = 3
# How many of the jobs of before are told of again.
RESTORED_JOBS_MAX = 1000
# In one answer, which has to fit a message with the longest names.
_PAGE_MAX = 1000
# Ends of tasks are added up for so long; who is suspected is looked up as often.
_GATHER_S = 1.0
_TEXT_CHARS_MAX = 300
_TOLD_AS = {
    states.CANCELLED: "tasks_cancelled",
    states.EXPIRED: "tasks_expired",
    states.QUARANTINED: "tasks_quarantined",
}
_FAILURES = frozenset(status for status, name in states.STATE_NAMES.items() if name in BAD_ENDS) - _TOLD_AS.keys()

_decode_error = msgspec.msgpack.Decoder(ErrorRecord).decode


class EventLog:
    """See the module. ``clock`` is monotonic."""

    def __init__(self, scheduler: Scheduler, journal: Journal, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = scheduler.state
        self._journal = journal
        self._clock = clock
        self._events: deque[Happening] = deque(maxlen=EVENTS_MAX)
        self._last = 0
        # By the identity of an event that is on its way to the journal.
        self._asked_by: dict[int, str] = {}
        # In this turn: that a job comes with all of its tasks is nothing of its own.
        self._submitted: set[int] = set()
        self._failures: dict[int, int] = {}
        self._gathered: dict[tuple[int, int], int] = {}
        self._ended: list[int] = []
        self._suspected: set[str] = set()
        self._gather_at = 0.0
        self._tellers: dict[type, Callable[[Any, str], None]] = {
            events.JobSubmitted: self._job_submitted,
            events.JobHeld: self._job_held,
            events.JobSealed: self._job_sealed,
            events.JobEnded: self._job_ended,
            events.CancelWanted: self._cancel_wanted,
            events.ControllerJoined: self._controller_joined,
            events.ControllerLeft: self._controller_left,
            events.ControllerMarked: self._controller_marked,
            events.NamespaceSet: self._namespace_set,
            events.NamespaceDeleted: self._namespace_deleted,
        }
        self._paused = {one.name for one in self._state.jobs.namespaces.values() if one.paused}
        self._restore(scheduler.job_summaries(JobSelection(), 0, RESTORED_JOBS_MAX)[0])
        self._tell("master_started", text=f"epoch {self._state.epoch}")

    def asked(self, request: AnyFromClient, actions: Iterable[Action], name: str) -> None:
        """These actions follow from the request of somebody whose key has this name."""
        for action in actions:
            if isinstance(action, Record):
                self._asked_by[id(action.event)] = name
            elif isinstance(request, RequeueRequest) and isinstance(action, Send):
                # Where a task waits is no event that a journal needs.
                self._requeued(request.job_id, action.message, name)

    def recorded(self, happened: Sequence[Recorded]) -> None:
        """These are in the journal."""
        for event in happened:
            teller = self._tellers.get(type(event))
            if teller:
                teller(event, self._asked_by.get(id(event), ""))
        self._asked_by.clear()
        self._submitted.clear()

    def deliver(self, block: RecordedBlock, parts: Iterable[tuple[int, int, int, int]]) -> None:
        """Results that are recorded just now; ``parts`` are those of ``actions.Deliver``."""
        if block.statuses.count(states.COMPLETED) == len(block.statuses):
            return
        for job_id, index, row, count in _with_generator(block, parts):
            statuses = block.statuses[row : row + count]
            if block.accepted is not None:
                accepted = block.accepted[row : row + count]
                statuses = bytes(status for status, counts in zip(statuses, accepted, strict=True) if counts)
            for status in set(statuses) & _TOLD_AS.keys():
                place = (job_id, status)
                self._gathered[place] = self._gathered.get(place, 0) + statuses.count(status)
            if _FAILURES & set(statuses):
                self._tell_failures(job_id, index, block, row, count)

    def turn(self, now: float) -> None:
        """Tell what was gathered: what is of a job before its end."""
        if self._ended:
            ended, self._ended = self._ended, []
            self._tell_gathered(set(ended))
            for job_id in ended:
                self._tell_end(job_id)
        if now >= self._gather_at:
            self._gather_at = now + _GATHER_S
            self._tell_gathered()
            self._look_for_suspected()

    def stopping(self, reason: str) -> None:
        """The master ends."""
        self._tell("master_stopping", text=reason)

    def answer(self, request: EventsRequest) -> EventsReport:
        """A page of what there is."""
        first = self._last - len(self._events) + 1
        after = request.after if request.epoch == self._state.epoch else 0
        start = max(0, after - first + 1)
        page = list(islice(self._events, start, start + min(request.page, _PAGE_MAX)))
        return EventsReport(request.request, self._state.epoch, first, self._last, page)

    # What a recorded event is told as.

    def _job_submitted(self, event: events.JobSubmitted, by: str) -> None:
        spec = event.spec
        job = (event.job.job_id, spec.namespace, spec.name)
        held = ", held" if spec.held else ""
        self._tell("job_submitted", by, *job, text=f"{spec.task_class}{held}", moment=event.submitted)
        self._submitted.add(event.job.job_id)

    def _job_held(self, event: events.JobHeld, by: str) -> None:
        self._tell_of_job("job_held" if event.held else "job_released", by, event.job_id)

    def _job_sealed(self, event: events.JobSealed, by: str) -> None:
        if event.job_id not in self._submitted:
            self._tell_of_job("job_sealed", by, event.job_id)

    def _job_ended(self, event: events.JobEnded, by: str) -> None:
        # How its tasks ended is delivered behind this.
        self._ended.append(event.job_id)

    def _cancel_wanted(self, event: events.CancelWanted, by: str) -> None:
        if event.status != states.CANCELLED:
            # Time wants it: what comes of it is told.
            return
        if event.job_id is not None:
            self._tell_of_job("cancel_wanted", by, event.job_id, event.reason)
            return
        meant = f"{event.first}-{event.last}" if event.last < limits.ID_MAX else f"from {event.first} on"
        of_class = f" of {event.task_class}" if event.task_class else ""
        self._tell("cancel_wanted", by, text=f"tasks {meant}{of_class}{': ' * bool(event.reason)}{event.reason}")

    def _controller_joined(self, event: events.ControllerJoined, by: str) -> None:
        self._tell("controller_joined", by, controller=event.name)

    def _controller_left(self, event: events.ControllerLeft, by: str) -> None:
        self._tell("controller_left", by, controller=event.name)
        self._suspected.discard(event.name)

    def _controller_marked(self, event: events.ControllerMarked, by: str) -> None:
        self._tell("controller_drained" if event.drained else "controller_undrained", by, controller=event.name)

    def _namespace_set(self, event: events.NamespaceSet, by: str) -> None:
        one = event.namespace
        if one.paused != (one.name in self._paused):
            (self._paused.add if one.paused else self._paused.discard)(one.name)
            self._tell("namespace_paused" if one.paused else "namespace_resumed", by, namespace=one.name)
            return
        bounds = (("jobs_max", one.jobs_max), ("tasks_max", one.tasks_max))
        text = " ".join(f"{name}={bound}" for name, bound in (("weight", f"{one.weight:g}"), *bounds) if bound)
        self._tell("namespace_set", by, namespace=one.name, text=text)

    def _namespace_deleted(self, event: events.NamespaceDeleted, by: str) -> None:
        self._paused.discard(event.name)
        self._tell("namespace_deleted", by, namespace=event.name)

    # Pieces of the above.

    def _requeued(self, job_id: int, answer: object, by: str) -> None:
        if isinstance(answer, Answer) and answer.granted:
            self._tell_of_job("tasks_requeued", by, job_id, tasks={"queued": answer.count})

    def _tell(
        self,
        kind: str,
        by: str = "",
        job_id: int | None = None,
        namespace: str = "",
        name: str = "",
        controller: str = "",
        tasks: dict[str, int] | None = None,
        text: str = "",
        moment: float = 0.0,
        restored: bool = False,
    ) -> None:
        self._last += 1
        moment = moment or self._clock() + self._state.jobs.wall_offset_s
        text = text if len(text) <= _TEXT_CHARS_MAX else f"{text[: _TEXT_CHARS_MAX - 3]}..."
        self._events.append(
            Happening(self._last, moment, kind, by, job_id, namespace, name, controller, tasks or {}, text, restored)
        )

    def _tell_of_job(
        self,
        kind: str,
        by: str,
        job_id: int,
        text: str = "",
        tasks: dict[str, int] | None = None,
        controller: str = "",
    ) -> None:
        record = self._state.jobs.records.get(job_id)
        names = (record.spec.namespace, record.spec.name) if record else ("", "")
        self._tell(kind, by, job_id, *names, controller, tasks, text)

    def _tell_failures(self, job_id: int, index: int, block: RecordedBlock, row: int, count: int) -> None:
        for at in range(row, row + count):
            told = self._failures.get(job_id, 0)
            if told == FIRST_FAILURES:
                return
            if block.statuses[at] in _FAILURES and (block.accepted is None or block.accepted[at]):
                self._failures[job_id] = told + 1
                error = _error_text(packed_error(block.body, at))
                more = "; no further ones of this job are told" if told + 1 == FIRST_FAILURES else ""
                text = f"task {index + at - row}: {error}"[: _TEXT_CHARS_MAX - len(more)] + more
                tasks = {states.STATE_NAMES[block.statuses[at]]: 1}
                self._tell_of_job("task_failed", "", job_id, text, tasks, block.controller)

    def _tell_gathered(self, jobs: set[int] | None = None) -> None:
        """Of these jobs, or of all."""
        due = [place for place in self._gathered if jobs is None or place[0] in jobs]
        for job_id, status in due:
            tasks = {states.STATE_NAMES[status]: self._gathered.pop((job_id, status))}
            self._tell_of_job(_TOLD_AS[status], "", job_id, tasks=tasks)

    def _tell_end(self, job_id: int) -> None:
        self._failures.pop(job_id, None)
        found, _ = self._journal.ended_jobs(JobSelection(ids=[(job_id, job_id)]), 0, 1)
        for job in found:
            self._tell_end_of(job)

    def _tell_end_of(self, job: JobSummary, restored: bool = False) -> None:
        names = (job.job_id, job.namespace, job.name)
        self._tell("job_ended", "", *names, tasks=job.tasks, text=job.state, moment=job.finished, restored=restored)

    def _look_for_suspected(self) -> None:
        suspected = {session.name for session in self._state.sessions.by_id.values() if session.suspected}
        for name in sorted(suspected - self._suspected):
            self._tell("controller_suspected", controller=name)
        for name in sorted(self._suspected - suspected):
            self._tell("controller_trusted", controller=name)
        self._suspected = suspected

    def _restore(self, opened: list[JobSummary]) -> None:
        """What is known of the epochs before this one."""
        ended, _ = self._journal.ended_jobs(JobSelection(), 0, RESTORED_JOBS_MAX)
        known = sorted((*opened, *ended), key=lambda job: job.job_id)[-RESTORED_JOBS_MAX:]
        moments = [(job.submitted, 0, job) for job in known if job.job_id != GENERATOR_JOB]
        moments += [(job.finished, 1, job) for job in known if job.finished]
        for moment, is_end, job in sorted(moments, key=lambda one: (one[0], one[1], one[2].job_id)):
            if is_end:
                self._tell_end_of(job, restored=True)
            else:
                names = (job.job_id, job.namespace, job.name)
                text = job.task_class
                self._tell("job_submitted", job.owner, *names, text=text, moment=moment, restored=True)


def _with_generator(
    block: RecordedBlock, parts: Iterable[tuple[int, int, int, int]]
) -> Iterable[tuple[int, int, int, int]]:
    """The parts of submitted jobs, and what is between them: the generator's, by the ids of its tasks."""
    at = 0
    for job_id, index, row, count in parts:
        if row > at:
            yield GENERATOR_JOB, block.first + at, at, row - at
        yield job_id, index, row, count
        at = row + count
    if at < len(block.statuses):
        yield GENERATOR_JOB, block.first + at, at, len(block.statuses) - at


def _error_text(packed: bytes) -> str:
    """The type and the first line of the message."""
    try:
        error = _decode_error(packed)
    except UNREADABLE:
        return "its error cannot be read"
    return f"{error.type}: {error.message.strip().partition(chr(10))[0]}"
