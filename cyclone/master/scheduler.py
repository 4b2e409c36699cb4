"""The master's brain: which controller gets which task when, and what a result means. PURE.

Owns the tasks, the leases, the sessions and the jobs. Knows no clock, no socket, no process and no randomness: messages
and a monotonic ``now`` in seconds go in, actions come out. The caller owes: actions carried out in their order (record
before send), ``advance`` once per turn after the turn's messages and not later than ``deadline``.

A task is *fresh*, *waiting* (given back), *leased* or done. Done tasks leave memory at once.

    fresh --lease--> leased --result--> done
                     leased --give back, silence, crash--> waiting --lease--> leased
                     waiting --late success of an earlier attempt--> done

The rules (docs/protocol.md says why): the attempt rises with each lease and fences results: the first success of any
attempt wins, every other outcome counts only for the latest attempt. Every result is acknowledged, also a stale one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cyclone.master import audit
from cyclone.master.actions import Action, Deliver, Finish, Record, Say, Send
from cyclone.master.dispatch import Dispatcher
from cyclone.master.events import CrashCharged, Event, JobAdded, ResultsRecorded, TasksAdded, TasksLeased, TasksReturned
from cyclone.master.sessions import Session
from cyclone.master.spans import Holdings
from cyclone.master.state import State
from cyclone.master.verdict import NO_JOB, Verdict, judge
from cyclone.protocol import limits, messages, states
from cyclone.protocol.messages import (
    AnyFromController,
    Goodbye,
    Hello,
    Job,
    Pong,
    Recorded,
    Refused,
    ResultBatch,
    Results,
    Returned,
    Stop,
    TaskBatch,
    Tasks,
    Welcome,
)
from cyclone.protocol.runs import Runs, job_at
from cyclone.results import RecordedBlock, quarantine_columns

# The window of tasks in memory: enough for every controller's credit many times over, and a bound for a fast generator.
WINDOW_TASKS = 32768
WINDOW_START_TASKS = 32
WINDOW_BYTES = 64 * 1024 * 1024
# Results that wait for a slow reader: beyond this, dispatch rests until it has caught up.
BACKLOG_BYTES_MAX = 256 * 1024 * 1024
_ALL_DONE = "all work is done"


@dataclass(frozen=True, slots=True)
class SchedulerOptions:
    """What the configuration decides for the brain. Durations in seconds, 0 for never."""

    controller_timeout_s: float = 15.0
    heartbeat_s: float = 1.0
    task_resend_timeout_s: float = 28800.0
    crash_limit: int = 3
    exit_when_done: bool = False


class Scheduler:
    """See the module. ``epoch`` rises with each start of a master on the journal that ``journal_id`` names."""

    def __init__(self, options: SchedulerOptions, journal_id: str, epoch: int) -> None:
        self.options = options
        self.journal_id = journal_id
        self.epoch = epoch
        self.state = State()
        self.delivered = 0
        self.consumed = 0
        self.backlog_bytes = 0
        self.exhausted = False
        self.stopping = False
        self.finished = False
        self._dispatcher = Dispatcher(self.state.queue, self.state.sessions, self.state.index)
        self._next_sweep = 0.0
        self._next_resend_sweep = 0.0
        self._pull_granted = 0
        self._out: list[Action] = []
        self._now = 0.0

    # What the service may ask.

    @property
    def leased_tasks(self) -> int:
        """Tasks that a controller holds."""
        return self.state.open_tasks - len(self.state.queue)

    @property
    def done_tasks(self) -> int:
        """Tasks with a recorded result."""
        return sum(self.state.ended.values())

    @property
    def deadline(self) -> float:
        """When ``advance`` must be called again at the latest."""
        look = None if self._rests else self._dispatcher.next_look()
        return self._next_sweep if look is None else min(look, self._next_sweep)

    def pull_limit(self) -> int:
        """How many tasks the generator may have produced in all: back-pressure, as a cumulative count.

        What is granted cannot be taken back, so the window starts small, until the size of the tasks is known.
        """
        produced, queue = self.state.last_id, self.state.queue
        window = min(WINDOW_TASKS, WINDOW_START_TASKS + produced)
        if produced:
            window = max(1, min(window, WINDOW_BYTES * produced // max(1, queue.bytes_added)))
        limit = produced + window - len(queue)
        # In steps, because each is a message to the generator.
        if not self._rests and limit - self._pull_granted >= max(1, window // 8):
            self._pull_granted = limit
        return self._pull_granted

    @property
    def _rests(self) -> bool:
        """Whether nothing is handed out: the master stops, or who reads the results is far behind."""
        return self.stopping or self.backlog_bytes > BACKLOG_BYTES_MAX

    # What goes in.

    def handle(self, peer: bytes, message: AnyFromController, now: float) -> list[Action]:
        """A message from the controller behind a routing id."""
        self._begin(now)
        if isinstance(message, Hello):
            self._on_hello(peer, message)
            return self._out
        session = self.state.sessions.by_id.get(message.session)
        if session is None or session.peer != peer:
            text = f"session {message.session} is not known here"
            self._out.append(Send(peer, Refused(messages.NO_SESSION, "", text)))
            return self._out
        session.last_seen = now
        match message:
            case Results():
                self._on_results(session, message)
            case messages.State():
                self._on_state(session, message)
            case Returned():
                self._on_returned(session, message)
            case Goodbye():
                self._on_goodbye(session, message)
        return self._out

    def unreachable(self, peer: bytes) -> None:
        """A message to this peer could not be sent: it gets nothing more until it says hello again."""
        for session in self.state.sessions.by_id.values():
            if session.peer == peer:
                session.reachable = False
                self.state.sessions.rank(session)

    def offer(
        self, jobs: Sequence[tuple[str, float | None]], runs: Runs, args: list[bytes], now: float
    ) -> list[Action]:
        """Tasks from a source: their job column counts in ``jobs``, ``(task class, time limit)`` each, from 0."""
        self._begin(now)
        numbers = [self._job_id(*job) for job in jobs]
        self._emit(TasksAdded(self.state.last_id + 1, [(numbers[job], count) for job, count in runs], args))
        return self._out

    def consume(self, number: int) -> None:
        """The reader of results has taken in all up to this number, and what followed from them was offered."""
        self.consumed = max(self.consumed, min(number, self.delivered))

    def exhaust(self) -> None:
        """The generator will yield no more by itself; only results can still bring tasks."""
        self.exhausted = True

    def stop(self, now: float) -> list[Action]:
        """Dispatch no more; take back what has not started. What runs goes on."""
        self._begin(now)
        self.stopping = True
        for session in self.state.sessions.by_id.values():
            if session.open:
                self._out.append(Send(session.peer, messages.Recall(session.session_id, session.open)))
        return self._out

    def advance(self, now: float) -> list[Action]:
        """Once per turn: what time brings, then dispatch."""
        self._begin(now)
        if now >= self._next_sweep:
            self._sweep_silent()
            self._next_sweep = now + min(0.5, self.options.controller_timeout_s / 10)
        if self.options.task_resend_timeout_s and now >= self._next_resend_sweep:
            self._sweep_overdue()
            self._next_resend_sweep = now + min(60.0, self.options.task_resend_timeout_s / 20)
        if not self._rests:
            self._dispatch()
        consumed = self.consumed == self.delivered
        if self.exhausted and consumed and not self.state.open_tasks and not self.stopping:
            self._finish()
        return self._out

    # What messages do.

    def _on_hello(self, peer: bytes, hello: Hello) -> None:
        refusal = self._refusal(hello)
        if refusal:
            self._out.append(Send(peer, Refused(refusal, hello.incarnation, messages.REFUSALS[refusal])))
            return
        old = self.state.sessions.by_name.get(hello.name)
        if old and old.incarnation != hello.incarnation:
            text = f"a new incarnation of {hello.name} said hello from {hello.host}, pid {hello.pid}"
            self._out.append(Send(old.peer, Refused(messages.SUPERSEDED, old.incarnation, text)))
            self._say("warning", f"controller={old.name} superseded: {text}")
            self._leave(old)
            old = None
        session = self.state.sessions.add(peer, hello, self._now)
        held = [part for part in hello.held if part.epoch == self.epoch]
        drop = [part for part in hello.held if part.epoch != self.epoch] + self.state.adopt(session, old, held)
        if old:
            self._leave(old)
        else:
            self._say(
                "info", f"controller={session.name} joined host={hello.host} slots={hello.slots} held={session.open}"
            )
        self._out.append(
            Send(
                peer,
                Welcome(
                    session.session_id,
                    hello.incarnation,
                    self.epoch,
                    self.journal_id,
                    self.options.heartbeat_s,
                    self.options.controller_timeout_s,
                    drop,
                ),
            )
        )

    def _refusal(self, hello: Hello) -> str:
        if hello.protocol != limits.PROTOCOL_VERSION:
            return messages.VERSION
        if self.state.sessions.is_superseded(hello.incarnation):
            return messages.SUPERSEDED
        return messages.DRAINING if self.stopping else ""

    def _on_state(self, session: Session, report: messages.State) -> None:
        self._out.append(Send(session.peer, Pong(session.session_id, report.seq, session.tasks_seq, session.sent)))
        if self.finished:
            # Said once already, but a message that is said once may get lost.
            self._out.append(Send(session.peer, Stop(session.session_id, _ALL_DONE)))
        if report.seq <= session.state_seq:
            return
        session.state_seq = report.seq
        session.slots = report.slots
        # Its queue here may only have been full; if it is gone, the next message to it says so again.
        session.reachable = True
        self._grant(session, report.granted)
        self.state.sessions.rank(session)
        self._return_missing(session, report)

    def _return_missing(self, session: Session, report: messages.State) -> None:
        """What was leased by a message that the controller has passed, and is not among what it holds, got lost."""
        held = Holdings(part for part in report.held if part.epoch == self.epoch)
        for start, stop in [gap for span in session.spans if span.seq <= report.tasks_seq for gap in held.gaps(span)]:
            for span, low, high in self.state.index.overlapping(start, stop):
                self._emit(TasksReturned(self.state.carve(span, low, high)))

    def _on_results(self, session: Session, results: Results) -> None:
        self._grant(session, results.granted)
        for batch in results.batches:
            if batch.epoch == self.epoch and batch.first + len(batch.statuses) - 1 <= self.state.last_leased_id:
                self._on_result_batch(session, batch)
        self._out.append(Send(session.peer, Recorded(session.session_id, [results.number])))

    def _on_result_batch(self, session: Session, batch: ResultBatch) -> None:
        verdict = judge(batch, self.state.index)
        if verdict.accepted_count:
            self._record(batch, verdict, session.name)
        for task_id in verdict.crashed:
            self._on_crash(session, batch, task_id)

    def _record(self, batch: ResultBatch, verdict: Verdict, controller: str) -> None:
        accepted = None if verdict.accepted is None else bytes(verdict.accepted)
        runs = [("" if job == NO_JOB else self.state.jobs[job].task_class, count) for job, count in verdict.runs]
        self._emit(ResultsRecorded(batch, accepted, controller))
        block = RecordedBlock(
            batch.first, batch.attempt, runs, verdict.args, batch.statuses, accepted, batch.body, controller
        )
        self.delivered += 1
        self._out.append(Deliver(self.delivered, block))

    def _on_crash(self, session: Session, batch: ResultBatch, task_id: int) -> None:
        # The report comes again when its acknowledgement got lost, and an attempt can kill only one worker.
        if batch.attempt > self.state.charged.get(task_id, 0):
            self._emit(CrashCharged(task_id, batch.attempt))
        crashes = self.state.crashes[task_id]
        (span, start, stop), *_ = self.state.index.overlapping(task_id, task_id + 1)
        if crashes < self.options.crash_limit:
            self._emit(TasksReturned(self.state.carve(span, start, stop)))
            return
        body = quarantine_columns(batch.body, task_id - batch.first, crashes)
        final = ResultBatch(task_id, self.epoch, batch.attempt, bytes([states.QUARANTINED]), body)
        self._say(
            "warning", f"task={task_id} quarantined: it killed {crashes} workers, the last on controller={session.name}"
        )
        row = task_id - span.first
        self._record(final, Verdict(None, 1, [(job_at(span.runs, row), 1)], [span.args[row]]), session.name)

    def _on_returned(self, session: Session, returned: Returned) -> None:
        self._grant(session, returned.granted)
        session.recall_after = self._now + (0.0 if returned.ranges else 0.1)
        attempts = {span.attempt for span in session.spans}
        for part in returned.ranges:
            if part.epoch != self.epoch or part.attempt not in attempts:
                continue
            for span, start, stop in self.state.index.overlapping(part.first, part.first + part.count):
                if span.holder == session.session_id and span.attempt == part.attempt:
                    self._emit(TasksReturned(self.state.carve(span, start, stop)))

    def _on_goodbye(self, session: Session, goodbye: Goodbye) -> None:
        self._say("info", f"controller={session.name} left: {goodbye.reason}")
        self._leave(session)

    # What time brings.

    def _sweep_silent(self) -> None:
        limit = self._now - self.options.controller_timeout_s
        for session in [s for s in self.state.sessions.by_id.values() if s.last_seen < limit]:
            held = session.open
            self._say(
                "warning",
                f"controller={session.name} silent for {self._now - session.last_seen:.1f} s: {held} tasks requeued",
            )
            self._leave(session)

    def _sweep_overdue(self) -> None:
        limit = self._now - self.options.task_resend_timeout_s
        for span in self.state.index:
            if span.holder is not None and span.leased_at < limit:
                name = self.state.sessions.by_id[span.holder].name
                self._say(
                    "warning",
                    f"tasks={span.first}-{span.end - 1} on controller={name} passed task_resend_timeout: leased again",
                )
                self._emit(TasksReturned(span))

    def _dispatch(self) -> None:
        for session, spans in self._dispatcher.leases():
            self._emit(TasksLeased(session.session_id, session.tasks_seq + 1, spans, self._now))
            announced = dict.fromkeys(job for span in spans for job, _ in span.runs if job not in session.jobs)
            session.jobs.update(announced)
            batches = [TaskBatch(span.first, span.attempt, span.runs, span.args) for span in spans]
            jobs = [self.state.jobs[job] for job in announced]
            message = Tasks(session.session_id, session.tasks_seq, session.sent, jobs, batches)
            self._out.append(Send(session.peer, message))
        for session, count in self._dispatcher.recalls(self._now):
            self._out.append(Send(session.peer, messages.Recall(session.session_id, count)))

    def _finish(self) -> None:
        if self.options.exit_when_done and not self.finished:
            self.finished = True
            for session in self.state.sessions.by_id.values():
                self._out.append(Send(session.peer, Stop(session.session_id, _ALL_DONE)))
            self._out.append(Finish())

    # Pieces of the above.

    def _begin(self, now: float) -> None:
        self._now = now
        self._out = []

    def _emit(self, event: Event) -> None:
        if not isinstance(event, TasksLeased | TasksReturned):
            self._out.append(Record(event))
        self.state.apply(event)

    def _say(self, level: str, text: str) -> None:
        self._out.append(Say(level, text))

    def _job_id(self, task_class: str, time_limit_s: float | None) -> int:
        found = self.state.jobs.find(task_class, time_limit_s)
        if found is None:
            found = self.state.jobs.next_id()
            self._emit(JobAdded(Job(found, task_class, time_limit_s)))
        return found

    def _grant(self, session: Session, granted: int) -> None:
        if granted > session.granted:
            session.granted = min(granted, session.sent + limits.CREDIT_MAX)
            self.state.sessions.rank(session)

    def _leave(self, session: Session) -> None:
        for span in list(session.spans):
            self._emit(TasksReturned(span))
        self.state.sessions.remove(session)

    def check(self) -> None:
        """Re-derive every invariant from scratch; AssertionError names the one that is broken."""
        audit.check(self)
