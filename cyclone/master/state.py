"""The master's state, and ``apply``: the one way to change it. PURE.

Owns the tasks (fresh in their lanes, all others in the index), the jobs, the sessions and the counts that are derived
from them. The scheduler decides and emits events; live operation and recovery change the state through the same
``apply``. What stands beside ``apply`` here only cuts spans and moves leases between sessions, which no journal knows
of.
"""

import heapq
from itertools import compress

from cyclone.master.events import (
    AttemptsEnded,
    CancelWanted,
    ControllerJoined,
    ControllerLeft,
    ControllerMarked,
    EpochBegun,
    Event,
    GeneratorAdvanced,
    HorizonMoved,
    JobAdded,
    JobEnded,
    ResultsRecorded,
    TasksAdded,
    TasksClosed,
    TasksDelayed,
    TasksLeased,
    TasksLoaded,
    TasksReturned,
    TasksStored,
)
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.master.jobs.registry import Jobs
from cyclone.master.jobs.wishes import Wishes
from cyclone.master.leases.adoption import adoptable, known_leases
from cyclone.master.leases.sessions import Session, Sessions
from cyclone.master.spans import Span, SpanIndex
from cyclone.master.waiting.lanes import Lane, Lanes
from cyclone.protocol import limits, states
from cyclone.protocol.job_spec import GENERATOR_JOB
from cyclone.protocol.messages import ResultBatch, TaskRange

# Beyond this many fresh tasks, or bytes of them, in memory, what is added stays in the journal until its turn comes.
PAGE_TASKS = 65536
PAGE_BYTES = 128 * 1024 * 1024


class State:
    """What the master knows.

    ``pages`` says that a journal can give tasks back that are not kept in memory. ``crashes`` counts the workers that
    each open task has killed, ``failures`` how often it has failed, ``attempts_ended`` has the last lease (epoch,
    attempt) that ended so. ``delays`` is a heap of ``(moment, first id, end)`` of tasks that wait for their time.
    ``ended`` counts results by state, ``number`` the batches of them. ``horizon`` is the highest id of any job that was
    ever offered, ``inherited_id`` the highest that an earlier epoch may have leased. ``live`` are the controllers that
    may hold something, each with its incarnation; ``awaited`` those of an earlier epoch that have not said yet what
    they hold. ``cancellations`` are wishes that are not fulfilled yet; ``came_back`` are the lanes of which tasks came
    into reach that they may be about.
    """

    def __init__(self, epoch: int, pages: bool = False) -> None:
        self.epoch = epoch
        self.pages = pages
        self.lanes = Lanes()
        self.jobs = Jobs(self.lanes)
        self.index = SpanIndex()
        self.sessions = Sessions(epoch)
        self.progress = GeneratorProgress()
        self.crashes: dict[int, int] = {}
        self.attempts_ended: dict[int, tuple[int, int]] = {}
        self.failures: dict[int, int] = {}
        self.delays: list[tuple[float, int, int]] = []
        self.cancellations = Wishes()
        self.came_back: set[int] = set()
        self.ended = dict.fromkeys(states.FINAL_STATES, 0)
        self.number = 0
        self.last_id = 0
        self.last_leased_id = 0
        self.horizon = 0
        self.inherited_id = 0
        self.open_tasks = 0
        self.live: dict[str, str] = {}
        self.awaited: set[str] = set()

    def apply(self, event: Event) -> None:
        """Change the state by an event: live, and again when a journal is replayed."""
        match event:
            case TasksLeased(session_id, seq, spans, leased_at):
                self._apply_leased(self.sessions.by_id[session_id], seq, spans, leased_at)
            case ResultsRecorded(number, batch, accepted, _):
                # A replay begins with the highest number and leaves out what is closed.
                self.number = max(self.number, number)
                self._apply_results(batch, accepted)
            case TasksAdded():
                self._apply_added(event)
            case TasksReturned(span, over_at):
                self._apply_returned(span, over_at)
            case TasksDelayed():
                self._apply_delayed(event)
            case HorizonMoved(last_id, jobs):
                self._apply_horizon(last_id, jobs)
            case GeneratorAdvanced(progress):
                self.progress = progress
            case TasksLoaded(block):
                self._apply_loaded(block)
            case AttemptsEnded():
                self._apply_attempts(event)
            case JobAdded(job):
                self.jobs.add(job)
            case ControllerJoined(name, incarnation):
                self.live[name] = incarnation
            case ControllerLeft(name):
                self.live.pop(name, None)
                self.awaited.discard(name)
            case CancelWanted():
                self.cancellations.append(event)
                self._note(event.job_id or GENERATOR_JOB)
                self.jobs.apply(event)
            case ControllerMarked(name, drained):
                self._mark(name, drained)
            case TasksStored(first, count, job_id, offset):
                self._count_added(first, count, job_id, offset)
                lane = self.lanes.lane(job_id)
                lane.add_stored(first, count)
                self.lanes.rank(lane)
            case TasksClosed(last_id, number, ended):
                self.last_id, self.number = last_id, number
                self.ended.update(ended)
                self.jobs.apply(event)
            case EpochBegun(now, over_at):
                self._begin_epoch(now, over_at)
            case JobEnded(job_id):
                self.jobs.apply(event)
                for session in self.sessions.by_id.values():
                    session.jobs.discard(job_id)
            case _:
                # Of submitted jobs and namespaces.
                self.jobs.apply(event)

    def _begin_epoch(self, now: float, over_at: float) -> None:
        if self.horizon:
            self.lanes.limits.close(over_at)
        self.last_leased_id = self.inherited_id = self.horizon
        self.awaited = set(self.live)
        for name, incarnation in self.live.items():
            self.sessions.remember(name, incarnation)
        for span in self.index:
            span.leased_at = now
        if self.awaited or self.sessions.former:
            self.sessions.of_former_epochs().last_seen = now

    def _mark(self, name: str, drained: bool) -> None:
        if drained:
            self.sessions.drained.add(name)
        else:
            self.sessions.drained.discard(name)
        if session := self.sessions.by_name.get(name):
            session.drained = drained
            self.sessions.rank(session)

    def _apply_horizon(self, last_id: int, jobs: tuple[tuple[int, int], ...] | None) -> None:
        self.horizon = last_id
        for job_id, last in [(lane.job_id, last_id) for lane in self.lanes] if jobs is None else jobs:
            if lane := self.lanes.find(job_id):
                lane.horizon = last

    def _apply_added(self, block: TasksAdded) -> None:
        lane = self.lanes.lane(block.job_id)
        self._count_added(block.first, len(block.args), block.job_id, block.offset)
        if block.first <= lane.horizon:
            lane.take_options(block.first, block.options)
            span = Span(block.first, 1, block.runs, block.args, job_id=block.job_id)
            self.index.add(span)
            self.hold(self.sessions.of_former_epochs(), span)
            return
        if self.pages and (lane.stored_count or lane.rests or self._is_full()):
            lane.add_stored(block.first, len(block.args))
        else:
            if block.options:
                lane.take_options(block.first, block.options)
            lane.add_fresh(block.first, block.runs, block.args, block.args_bytes)
        self.lanes.rank(lane)

    def _apply_loaded(self, block: TasksAdded) -> None:
        self._note(block.job_id)
        lane = self.lanes.lane(block.job_id)
        lane.take_options(block.first, block.options)
        lane.load(block.first, block.runs, block.args, block.args_bytes)
        self.lanes.rank(lane)
        self.lanes.version += 1

    def _note(self, job_id: int) -> None:
        """Tasks of this lane came into reach."""
        if self.cancellations.pending:
            self.came_back.add(job_id)

    def _count_added(self, first: int, count: int, job_id: int, offset: int) -> None:
        self.last_id = max(self.last_id, first + count - 1)
        self.open_tasks += count
        if job_id != GENERATOR_JOB:
            self.jobs.on_added(job_id, first, count, offset)

    def _is_full(self) -> bool:
        window = self.lanes.window
        return window.fresh_count >= PAGE_TASKS or window.fresh_bytes >= PAGE_BYTES

    def _apply_returned(self, span: Span, over_at: float) -> None:
        self._note(span.job_id)
        lane = self.lanes.lane(span.job_id)
        self._linger(lane, span, over_at)
        self.release(span)
        if span.open_count:
            lane.add_returned(span)
        else:
            self.index.remove(span)
        self.lanes.rank(lane)

    def _apply_delayed(self, event: TasksDelayed) -> None:
        span = event.span
        self._note(span.job_id)
        lane = self.lanes.lane(span.job_id)
        if span.holder is None:
            lane.drop_returned(span.open_count)
        else:
            self._linger(lane, span, event.over_at)
            self.release(span)
        if span.open_count:
            self.hold(self.sessions.delayed, span)
            span.until, span.over_at = event.until, event.over_at
            heapq.heappush(self.delays, (event.until, span.first, span.end))
        else:
            self.index.remove(span)
        self.lanes.rank(lane)

    def _linger(self, lane: Lane, span: Span, over_at: float) -> None:
        if over_at and lane.terms.is_limited and span.holder != self.sessions.delayed.session_id:
            self.lanes.linger(lane, span.open_count, over_at)

    def _apply_attempts(self, ended: AttemptsEnded) -> None:
        for task_id in range(ended.first, ended.first + ended.count) if ended.status != states.LOST else ():
            self.attempts_ended[task_id] = (ended.epoch, ended.attempt)
            counts = self.crashes if ended.status == states.CRASHED else self.failures
            counts[task_id] = counts.get(task_id, 0) + 1

    def _apply_leased(self, session: Session, seq: int, spans: list[Span], leased_at: float) -> None:
        session.tasks_seq = seq
        for span in spans:
            span.attempt += 1
            span.epoch = self.epoch
            span.seq, span.leased_at = seq, leased_at
            session.sent += span.open_count
            self.last_leased_id = max(self.last_leased_id, span.end - 1)
            self.hold(session, span)

    def _apply_results(self, batch: ResultBatch, accepted: bytes | None) -> None:
        count = len(batch.statuses)
        for span, start, stop in self.index.overlapping(batch.first, batch.first + count):
            if accepted is None:
                closed = span.close(start, stop)
            else:
                rows = range(start - batch.first, stop - batch.first)
                closed = sum(span.close(batch.first + row, batch.first + row + 1) for row in rows if accepted[row])
            self.open_tasks -= closed
            lane = self.lanes.lane(span.job_id)
            if span.holder is None:
                lane.drop_returned(closed)
                self.lanes.rank(lane)
            else:
                session = self.sessions.holder(span.holder)
                session.open -= closed
                self.lanes.occupy(session, lane, -closed)
                is_other = lane.is_bounded and span.token != (batch.epoch, batch.attempt)
                if is_other and span.holder in self.sessions.by_id:
                    # It was another attempt that ended: this one goes on.
                    self.lanes.haunt(session, lane, TaskRange(start, stop - start, *span.token), closed, span.seq)
                self.sessions.rank(session)
            if not span.open_count:
                if span.holder is not None:
                    del session.spans[span]
                self.index.remove(span)
            if closed and not self.lanes.is_alone:
                self._account(lane, batch, accepted, start, stop, closed)
        counted = batch.statuses if accepted is None else bytes(compress(batch.statuses, accepted))
        completed = counted.count(states.COMPLETED)
        self.ended["completed"] += completed
        # Nearly every batch is all completed; to ask a set which states there are costs ten times the count.
        for status in set(counted) - {states.COMPLETED} if completed < len(counted) else ():
            self.ended[states.STATE_NAMES[status]] += counted.count(status)
        if self.attempts_ended:
            for row in range(count):
                if accepted is None or accepted[row]:
                    self.attempts_ended.pop(batch.first + row, None)
                    self.crashes.pop(batch.first + row, None)
                    self.failures.pop(batch.first + row, None)

    def _account(
        self, lane: Lane, batch: ResultBatch, accepted: bytes | None, start: int, stop: int, closed: int
    ) -> None:
        """What ended tasks from start up to stop mean for their job."""
        self.lanes.spent(lane, closed, batch.busy_s * closed / len(batch.statuses))
        if lane.not_before or lane.time_limits:
            lane.forget_options(i for i in range(start, stop) if accepted is None or accepted[i - batch.first])
        if lane.job_id == GENERATOR_JOB:
            return
        if accepted is None:
            self.jobs.on_ended(lane.job_id, batch.statuses[start - batch.first : stop - batch.first])
            return
        at = accepted.find(1, start - batch.first, stop - batch.first)
        while at >= 0:
            end = accepted.find(0, at, stop - batch.first)
            end = stop - batch.first if end < 0 else end
            self.jobs.on_ended(lane.job_id, batch.statuses[at:end])
            at = accepted.find(1, end, stop - batch.first)

    def is_exclusive(self, span: Span) -> bool:
        """Whether a span has tasks of which no two attempts may overlap."""
        return any(self.jobs[job].exclusive for job, _ in span.runs)

    def adopt(self, session: Session, old: Session | None, held: list[TaskRange]) -> list[TaskRange]:
        """Bind to a session what its controller says it holds, if it still may; returns what it must drop."""
        drop: list[TaskRange] = []
        leases = known_leases(held, old, self.index, self.epoch)
        for part in held:
            at, end = part.first, part.first + part.count
            # A made-up lease is not worth a search through all that it claims.
            known = part.epoch < self.epoch or (part.epoch, part.attempt) in leases
            stretches = adoptable(part, old, self.index, self.epoch, self.attempts_ended) if known else ()
            for start, stop in stretches:
                (span, _, _), *_ = self.index.overlapping(start, stop)
                span = self.carve(span, start, stop)
                span.epoch, span.attempt = part.epoch, part.attempt
                for first, end_of_run in span.open_runs():
                    if at < first:
                        drop.append(TaskRange(at, first - at, part.epoch, part.attempt))
                    at = end_of_run
                self.rebind(span, session)
            if at < end:
                drop.append(TaskRange(at, end - at, part.epoch, part.attempt))
        return drop[: limits.RANGES_PER_MESSAGE_MAX]

    def rebind(self, span: Span, session: Session) -> None:
        """Lease a span on to a session with the attempt it has."""
        if span.holder is None:
            lane = self.lanes.lane(span.job_id)
            lane.drop_returned(span.open_count)
            self.lanes.rank(lane)
        else:
            self.release(span)
        if span.open_count:
            # No message of this session leased it, so that each State of the session must account for it.
            span.seq = 0
            self.hold(session, span)
        else:
            self.index.remove(span)

    def hold(self, session: Session, span: Span) -> None:
        span.holder = session.session_id
        session.spans[span] = None
        session.open += span.open_count
        self.lanes.occupy(session, self.lanes.lane(span.job_id), span.open_count)
        self.sessions.rank(session)

    def release(self, span: Span) -> None:
        assert span.holder is not None
        session = self.sessions.holder(span.holder)
        del session.spans[span]
        session.open -= span.open_count
        self.lanes.occupy(session, self.lanes.lane(span.job_id), -span.open_count)
        span.holder = None
        self.sessions.rank(session)

    def carve(self, span: Span, start: int, stop: int) -> Span:
        """The span of exactly these ids; what is cut off stays with the same holder, or waits on."""
        carved = span
        parts = []
        if carved.first < start:
            parts.append(carved)
            carved = self.index.split(carved, start)
            parts.append(carved)
        if carved.end > stop:
            parts.append(self.index.split(carved, stop))
        for part in parts:
            if part is not span and part.holder is not None:
                self.sessions.holder(part.holder).spans[part] = None
            elif part is not span:
                self.lanes.lane(part.job_id).push(part)
            if not part.open_count and part is not carved:
                self._forget(part)
        return carved

    def _forget(self, span: Span) -> None:
        """A span without open tasks leaves memory."""
        if span.holder is not None:
            del self.sessions.holder(span.holder).spans[span]
        self.index.remove(span)
