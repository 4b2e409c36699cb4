"""What is wished of jobs that are there: hold, release, seal, cancel, requeue, processed; and of namespaces. PURE.

Owns the answers. Each wish says what is to be, so that repeating it does no harm. Whoever asks for many jobs gets those
that are his; whoever asks for none that is his is told so.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from cyclone.master.events import JobHeld, JobSealed, NamespaceDeleted, NamespaceSet, TasksProcessed
from cyclone.master.jobs import listing
from cyclone.master.jobs.cancelling import Cancelling
from cyclone.master.jobs.errands import Errand
from cyclone.master.jobs.registry import JobRecord
from cyclone.master.jobs.rights import Who
from cyclone.master.turn import Turn
from cyclone.protocol import limits
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import (
    NOT_ALLOWED,
    CancelJobsRequest,
    ControlRequest,
    NamespaceRequest,
    NamespacesReport,
    ProcessedRequest,
    RequeueRequest,
)
from cyclone.protocol.job_spec import DEFAULT_NAMESPACE, JobSelection
from cyclone.protocol.states import CANCELLED

NAMESPACES_MAX = 1024
# What is processed of an open job is in memory: a consumer that goes in order needs a range or two.
PROCESSED_RANGES_MAX = 65536
# In one request; each of them is looked up.
PROCESSED_PER_REQUEST_MAX = 1024
# So many wishes for parts of jobs may come of one request, and so many be open: each is looked at until fulfilled.
WISHES_MAX = 4096
WISHES_OPEN_MAX = 16384
_ALL = 1 << 62
# The states of tasks that controllers have.
_OUT = ("leased", "running")


class JobControl:
    """See the module."""

    def __init__(self, turn: Turn, cancelling: Cancelling) -> None:
        self._turn = turn
        self._state = turn.state
        self._cancelling = cancelling

    def control(self, request: ControlRequest, who: Who) -> Answer | Errand:
        """Hold, release or seal."""
        records, others = self._selected(request.selection, who)
        if not records:
            return _nothing(request.request, others)
        step: Callable[[JobRecord], None]
        match request.action:
            case "hold":
                changed = [record for record in records if not record.held]
                step, done = partial(self._set_held, held=True), "held"
            case "release":
                changed = [record for record in records if record.held]
                step, done = partial(self._set_held, held=False), "released"
            case "seal":
                changed = [record for record in records if not record.sealed]
                step, done = self._seal, "sealed"
        already = f"; {_jobs(len(records) - len(changed))} already" if len(changed) < len(records) else ""
        text = f"{_jobs(len(changed))} {done}{already}{_not_his(others)}"
        held = {record.job_id for record in changed} if request.action == "hold" else set[int]()
        return Errand(
            _answer(request.request, True, len(records), text), changed, step, partial(self._cancelling.recall, held)
        )

    def cancel(self, request: CancelJobsRequest, who: Who) -> Answer | Errand:
        """End jobs, or tasks of them."""
        records, others = self._selected(request.selection, who)
        if not records and not others and self._have_ended(request.selection):
            # What is wished is so, perhaps since the same was wished before and the answer got lost.
            return _answer(request.request, True, 0, "what is meant has ended already")
        if not records:
            return _nothing(request.request, others)
        if not request.indexes and not request.states:
            count = sum(record.open for record in records)
            what = f"{_jobs(len(records))} with {_tasks(count)}"
            text = _cancelled(what, self._is_any_out(records), request.dry_run) + _not_his(others)
            answer = _answer(request.request, True, count, text)
            return answer if request.dry_run else self._ending(answer, records, who, request.reason)
        count = 0
        wishes: list[tuple[JobRecord, int, int]] = []
        looked_at: Counter[str] = Counter()
        for record in records:
            for first, last, length in self._meant(record, request.indexes, request.states, looked_at):
                wishes.append((record, first, last))
                count += length
                if len(wishes) > WISHES_MAX:
                    text = f"that are more than {WISHES_MAX} stretches of tasks: name fewer at a time"
                    return _answer(request.request, False, 0, text)
        if len(self._state.cancellations) + len(wishes) > WISHES_OPEN_MAX:
            text = "controllers have yet to stop too many stretches of tasks: try again later, or end whole jobs"
            return _answer(request.request, False, 0, text)
        if not request.dry_run:
            for record, first, last in wishes:
                self._cancelling.wish(record, first, last, request.reason)
            self._cancelling.carry_out()
        ended = any(low < record.added for record in records for low, _ in request.indexes) and not request.states
        is_out = any(looked_at[state] for state in _OUT if not request.states or state in request.states)
        text = _cancelled(_tasks(count), is_out, request.dry_run)
        if not count:
            text += f": {_none_of(request.states, looked_at)}"
        return _answer(request.request, count > 0 or ended, count, text + _not_his(others))

    def requeue(self, request: RequeueRequest, who: Who) -> Answer:
        """Take tasks back from whoever has them."""
        record = self._state.jobs.records.get(request.job_id)
        if record is None:
            return _answer(request.request, False, 0, f"job {request.job_id} has ended, or never was")
        if not who.may_steer(record.owner):
            return _nothing(request.request, [record])
        pieces = (
            piece for low, high in request.indexes or [(0, _ALL)] for piece in record.extents.by_index(low, high + 1)
        )
        count = self._cancelling.take_back((first, first + length) for _, first, length in pieces)
        if count:
            text = f"{_tasks(count)} taken back: they wait again as soon as nothing of them runs"
        else:
            text = _absent(record, request.indexes) or "no controller has any of these tasks: they wait, or have ended"
        return _answer(request.request, count > 0, count, text)

    def processed(self, request: ProcessedRequest, who: Who, known_job: int | None) -> Answer:
        """A consumer has taken completed tasks; ``known_job`` is one that has ended, and that who asks may steer."""
        number, job_id = request.request, request.job_id
        if len(request.indexes) > PROCESSED_PER_REQUEST_MAX:
            text = f"{len(request.indexes)} ranges of tasks: name at most {PROCESSED_PER_REQUEST_MAX} at a time"
            return _answer(number, False, 0, text)
        record = self._state.jobs.records.get(job_id)
        if record is None:
            if known_job != job_id:
                return _forbidden(number, f"there is no job {job_id} with these tasks, or it is somebody else's")
            if request.indexes:
                self._turn.emit(TasksProcessed(job_id, tuple(request.indexes)))
            return _answer(number, True, _count(request.indexes), "processed")
        if not who.may_steer(record.owner):
            return _nothing(number, [record])
        new = [(low, high) for low, high in request.indexes if not record.processed.covers(low, high)]
        for low, high in new:
            if high >= record.added:
                return _answer(number, False, 0, f"job {job_id} has {record.added} tasks so far, and none {high}")
            for run in listing.live_tasks(self._state, job_id, low, high + 1):
                return _answer(
                    number, False, 0, f"task {run.index} of job {job_id} has no result yet: it is {run.state}"
                )
        if len(record.processed) + len(new) > PROCESSED_RANGES_MAX:
            return _answer(number, False, 0, "what is processed has too many gaps: process in order")
        if new:
            self._turn.emit(TasksProcessed(job_id, tuple(new)))
        return _answer(number, True, _count(request.indexes), "processed")

    def namespace(self, request: NamespaceRequest, who: Who) -> Answer | Errand:
        """Make, change, delete or purge one."""
        number, name = request.request, request.namespace.name
        if not who.is_admin:
            return _forbidden(number, "namespaces are for administrators")
        jobs = self._state.jobs
        known = jobs.namespaces.get(name)
        if request.action == "set":
            if known is None and len(jobs.namespaces) >= NAMESPACES_MAX:
                return _answer(number, False, 0, f"there are {NAMESPACES_MAX} namespaces already")
            if known != request.namespace:
                self._turn.emit(NamespaceSet(request.namespace))
                if request.namespace.paused and not (known and known.paused):
                    self._cancelling.recall({record.job_id for record in self._inside(name)})
            return _answer(number, True, 1, f"namespace {name} {'is set' if known else 'is made'}")
        if known is None:
            return _answer(number, True, 0, f"there is no namespace {name}")
        if request.action == "purge":
            records = list(self._inside(name))
            count = sum(record.open for record in records)
            text = _cancelled(f"{_jobs(len(records))} with {_tasks(count)}", self._is_any_out(records))
            answer = _answer(number, True, count, text)
            return self._ending(answer, records, who, f"namespace {name} was purged")
        if name == DEFAULT_NAMESPACE:
            return _answer(number, False, 0, f"namespace {name} is always there")
        if open_jobs := jobs.usage(name).jobs:
            return _answer(number, False, 0, f"namespace {name} has {_jobs(open_jobs)} open: purge it first, or wait")
        self._turn.emit(NamespaceDeleted(name))
        return _answer(number, True, 1, f"namespace {name} is deleted")

    def namespaces(self, request: int) -> NamespacesReport:
        """All of them."""
        return NamespacesReport(request, listing.namespace_summaries(self._state))

    # Pieces of the above.

    def _selected(self, selection: JobSelection, who: Who) -> tuple[list[JobRecord], list[JobRecord]]:
        """Which open jobs are meant: those that may be steered, and the others."""
        records = list(listing.selected(self._state, selection))
        mine = [record for record in records if who.may_steer(record.owner)]
        return mine, [record for record in records if not who.may_steer(record.owner)]

    def _have_ended(self, selection: JobSelection) -> bool:
        """Whether jobs are meant by their numbers that have been, as far as one can tell without the journal."""
        return bool(selection.ids) and selection.ids[-1][1] < self._state.jobs.next_id() and not selection.states

    def _is_any_out(self, records: list[JobRecord]) -> bool:
        """Whether a controller has any task of these jobs."""
        lanes = (self._state.lanes.find(record.job_id) for record in records)
        return any(lane and lane.out for lane in lanes)

    def _inside(self, namespace: str) -> Iterator[JobRecord]:
        return (record for record in self._state.jobs.records.values() if record.spec.namespace == namespace)

    def _set_held(self, record: JobRecord, held: bool) -> None:
        if record.held != held:
            self._turn.emit(JobHeld(record.job_id, held))

    def _seal(self, record: JobRecord) -> None:
        if not record.sealed:
            self._turn.emit(JobSealed(record.job_id))

    def _ending(self, answer: Answer, records: list[JobRecord], who: Who, reason: str) -> Errand:
        """All of these jobs end."""
        if records:
            by = f" by {who.name}" if who.name else ""
            names = ", ".join(str(record.job_id) for record in records[:8]) + (", ..." if len(records) > 8 else "")
            self._turn.say("info", f"cancelled{by}: job {names}{f': {reason}' if reason else ''}")
        return Errand(answer, records, partial(self._end, reason=reason), self._cancelling.settle)

    def _end(self, record: JobRecord, reason: str) -> None:
        # Where it was wished before, there is nothing to add, and no need to record it once more.
        if not (record.sealed and record.stopped and record.stopped.status == CANCELLED):
            self._cancelling.end_job(record, reason)

    def _meant(
        self, record: JobRecord, indexes: list[tuple[int, int]], states: tuple[str, ...], looked_at: Counter[str]
    ) -> Iterator[tuple[int, int, int]]:
        """Ids from where to where, and how many open tasks of the job are among them.

        ``looked_at`` gets how many open tasks there are with these indexes, by state, also those in other states.
        """
        for low, high in indexes or [(0, _ALL)]:
            first = last = count = 0
            for run in listing.live_tasks(self._state, record.job_id, low, high + 1):
                looked_at[run.state] += run.count
                if states and run.state not in states:
                    continue
                # What is between two runs of a range without states has its result, or is another job's.
                if count and states and run.task_id != last + 1:
                    yield first, last, count
                    count = 0
                first = first if count else run.task_id
                last, count = run.task_id + run.count - 1, count + run.count
            if count:
                yield first, last, count


def _answer(request: int, granted: bool, count: int, text: str) -> Answer:
    return Answer(request, granted, count, text[: limits.TEXT_CHARS_MAX])


def _cancelled(what: str, is_out: bool, dry_run: bool = False) -> str:
    """``is_out``: controllers have some of it."""
    if dry_run:
        return f"{what} would be cancelled"
    return f"{what} cancelled{'; what runs is being stopped' if is_out else ''}"


def _none_of(states: tuple[str, ...], looked_at: Counter[str]) -> str:
    """Why nothing is cancelled of what was looked at."""
    if not looked_at:
        return "none of these is open"
    return f"none of these is {' or '.join(states)}, they are {' and '.join(sorted(looked_at))}"


def _nothing(request: int, others: list[JobRecord]) -> Answer:
    if not others:
        return _answer(request, False, 0, "no open job is meant by that")
    if len(others) > 1:
        return _forbidden(request, f"all {len(others)} jobs that are meant are somebody else's")
    owner = others[0].owner or "nobody"
    return _forbidden(request, f"job {others[0].job_id} is {owner}'s: only its owner or an administrator may")


def _absent(record: JobRecord, indexes: list[tuple[int, int]]) -> str:
    """Which of these indexes the job has no task at, and at which it has; empty where each range has one."""
    absent = [low for low, _ in indexes if low >= record.added]
    if not absent:
        return ""
    count = record.added
    which = f"its indexes are 0-{count - 1}" if count > 1 else "its only index is 0" if count else "it has none"
    return f"job {record.job_id} has no task {absent[0]}: {which}{'' if record.sealed else ' so far'}"


def _forbidden(request: int, text: str) -> Answer:
    return Answer(request, False, 0, text, code=NOT_ALLOWED)


def _not_his(others: list[JobRecord]) -> str:
    return f"; {_jobs(len(others))} of others left alone" if others else ""


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"


def _count(indexes: Iterable[tuple[int, int]]) -> int:
    return sum(high - low + 1 for low, high in indexes)
