"""The master's state, and ``apply``: the one way to change it. PURE.

Owns the tasks (fresh in the queue, all others in the index), the jobs, the sessions and the counts that are derived
from them. The scheduler decides and emits events; live operation and recovery change the state through the same
``apply``. What stands beside ``apply`` here only cuts spans and moves leases between sessions, which no journal knows
of.
"""

from itertools import compress

from cyclone.master.events import CrashCharged, Event, JobAdded, ResultsRecorded, TasksAdded, TasksLeased, TasksReturned
from cyclone.master.jobs import Jobs
from cyclone.master.queue import TaskQueue
from cyclone.master.sessions import Session, Sessions
from cyclone.master.spans import Span, SpanIndex
from cyclone.protocol import states
from cyclone.protocol.messages import ResultBatch, TaskRange

_ANY_BYTES = 1 << 62


class State:
    """What the master knows.

    ``crashes`` counts the workers that each open task has killed, ``charged`` is the last attempt that did; ``ended``
    counts results by state.
    """

    def __init__(self) -> None:
        self.jobs = Jobs()
        self.queue = TaskQueue()
        self.index = SpanIndex()
        self.sessions = Sessions()
        self.crashes: dict[int, int] = {}
        self.charged: dict[int, int] = {}
        self.ended = dict.fromkeys(states.FINAL_STATES, 0)
        self.last_id = 0
        self.last_leased_id = 0
        self.open_tasks = 0

    def apply(self, event: Event) -> None:
        """Change the state by an event: live, and again when a journal is replayed."""
        match event:
            case JobAdded(job):
                self.jobs.add(job)
            case TasksAdded(first, runs, args):
                self.last_id = first + len(args) - 1
                self.open_tasks += len(args)
                self.queue.add_fresh(first, runs, args)
            case TasksLeased(session_id, seq, spans, leased_at):
                self._apply_leased(self.sessions.by_id[session_id], seq, spans, leased_at)
            case TasksReturned(span):
                self.release(span)
                if span.open_count:
                    self.queue.add_returned(span)
                else:
                    self.index.remove(span)
            case ResultsRecorded(batch, accepted, _):
                self._reach(batch.first + len(batch.statuses) - 1)
                self._apply_results(batch, accepted)
            case CrashCharged(task_id, attempt):
                self._reach(task_id)
                self.crashes[task_id] = self.crashes.get(task_id, 0) + 1
                self.charged[task_id] = attempt

    def _reach(self, task_id: int) -> None:
        """What is recorded of a task proves that it and all before it were leased: a replay knows only this."""
        while self.last_leased_id < task_id:
            span = self.queue.take_fresh(task_id - self.last_leased_id, _ANY_BYTES)
            assert span is not None, f"something is recorded of task {task_id}, which was never added"
            span.attempt = 1
            self.last_leased_id = span.end - 1
            self.index.add(span)
            self.queue.add_returned(span)

    def _apply_leased(self, session: Session, seq: int, spans: list[Span], leased_at: float) -> None:
        session.tasks_seq = seq
        for span in spans:
            span.attempt += 1
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
            if span.holder is None:
                self.queue.returned_count -= closed
            else:
                session = self.sessions.by_id[span.holder]
                session.open -= closed
                self.sessions.rank(session)
            if not span.open_count:
                if span.holder is not None:
                    del session.spans[span]
                self.index.remove(span)
        counted = batch.statuses if accepted is None else bytes(compress(batch.statuses, accepted))
        for status in set(counted):
            self.ended[states.STATE_NAMES[status]] += counted.count(status)
        if self.crashes:
            for row in range(count):
                if accepted is None or accepted[row]:
                    self.crashes.pop(batch.first + row, None)
                    self.charged.pop(batch.first + row, None)

    def adopt(self, session: Session, old: Session | None, held: list[TaskRange]) -> list[TaskRange]:
        """Bind to a session what its controller says it holds, if it still may; returns what it must drop."""
        drop = []
        attempts = {span.attempt for span in self.index}
        for part in held:
            taken = 0
            # A made-up attempt is not worth a search through all that it claims.
            claimed = part.first + part.count if part.attempt in attempts else part.first
            for span, start, stop in self.index.overlapping(part.first, claimed):
                mine = span.holder is None or (old is not None and span.holder == old.session_id)
                if part.attempt == span.attempt and mine:
                    taken += self.rebind(self.carve(span, start, stop), session)
            if not taken:
                drop.append(part)
        return drop

    def rebind(self, span: Span, session: Session) -> int:
        """Lease a span on to a session with the attempt it has; how many open tasks that were."""
        if span.holder is None:
            self.queue.returned_count -= span.open_count
        else:
            self.release(span)
        if span.open_count:
            # No message of this session leased it, so that each State of the session must account for it.
            span.seq = 0
            self.hold(session, span)
        else:
            self.index.remove(span)
        return span.open_count

    def hold(self, session: Session, span: Span) -> None:
        span.holder = session.session_id
        session.spans[span] = None
        session.open += span.open_count
        self.sessions.rank(session)

    def release(self, span: Span) -> None:
        assert span.holder is not None
        session = self.sessions.by_id[span.holder]
        del session.spans[span]
        session.open -= span.open_count
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
                self.sessions.by_id[part.holder].spans[part] = None
            elif part is not span:
                self.queue.push(part)
            if not part.open_count and part is not carved:
                self._forget(part)
        return carved

    def _forget(self, span: Span) -> None:
        """A span without open tasks leaves memory."""
        if span.holder is not None:
            del self.sessions.by_id[span.holder].spans[span]
        self.index.remove(span)
