"""The master's brain: which controller gets which task when, and what a result means. PURE.

Owns the tasks, the leases, the sessions and the jobs. Knows no clock, no socket, no process and no randomness: messages
and a monotonic ``now`` in seconds go in, actions come out. The caller owes: ``recover`` once, before all else; actions
carried out in their order (record before send); ``advance`` once per turn after the turn's messages and not later than
``deadline``.

A task is *stored* (in the journal only), *fresh*, *waiting* (given back), *leased* or done. Done tasks leave memory at
once. What an earlier epoch may have leased is held by a session that stands for it, until everybody has said hello.

    stored --load--> fresh --lease--> leased --result--> done
                     leased --give back, silence, crash--> waiting --lease--> leased
                     waiting --late success of an earlier attempt--> done

The rules (docs/protocol.md says why): the attempt rises with each lease and fences results: the first success of any
attempt wins, every other outcome counts only for the latest attempt. Every result is acknowledged, also a stale one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cyclone.master import audit
from cyclone.master.actions import Action, Finish, Load
from cyclone.master.events import (
    EpochBegun,
    GeneratorAdvanced,
    JobAdded,
    Replayed,
    TasksAdded,
    TasksLeased,
    TasksLoaded,
)
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.master.jobs import listing
from cyclone.master.jobs.cancelling import Cancelling
from cyclone.master.jobs.keeper import Keeper
from cyclone.master.jobs.listing import LiveTasks
from cyclone.master.jobs.registry import BUILT_IN_QOS, Qos
from cyclone.master.jobs.requests import Requests
from cyclone.master.jobs.rights import ANYBODY, Who
from cyclone.master.leases import recalls
from cyclone.master.leases.admission import Admission, Terms
from cyclone.master.leases.dispatch import Dispatcher
from cyclone.master.leases.heartbeats import Heartbeats
from cyclone.master.leases.outcomes import Outcomes
from cyclone.master.leases.retries import Retries
from cyclone.master.leases.suspicion import Suspicion
from cyclone.master.spans import Span
from cyclone.master.state import State
from cyclone.master.turn import Turn
from cyclone.master.waiting.paging import Paging
from cyclone.master.waiting.picks import Picker
from cyclone.protocol import messages
from cyclone.protocol.job_messages import AnyFromClient, JobDetail, JobSummary
from cyclone.protocol.job_spec import JobSelection, Namespace
from cyclone.protocol.messages import (
    AnyFromController,
    Goodbye,
    Hello,
    Job,
    JobOptions,
    Refused,
    Results,
    Returned,
    Stop,
    TaskBatch,
    Tasks,
)
from cyclone.protocol.runs import Runs

# The window of tasks in memory: enough for every controller's credit many times over, and a bound for a fast generator.
WINDOW_TASKS = 32768
WINDOW_START_TASKS = 32
WINDOW_BYTES = 64 * 1024 * 1024
# What waits for its time is in memory too; only beyond so many windows does it hold up what is new.
WINDOWS_DELAYED = 4
# Results that wait for a slow reader: beyond this, dispatch rests until it has caught up.
BACKLOG_BYTES_MAX = 256 * 1024 * 1024
_ALL_DONE = "all work is done"


@dataclass(frozen=True, slots=True)
class SchedulerOptions:
    """What the configuration decides for the brain. Durations in seconds, 0 for never.

    ``qos`` are the classes of service, ``namespaces`` those that are made at the start where nobody has made them;
    ``abandon_s`` is how long a job that is not sealed may hear nothing from its client.
    """

    controller_timeout_s: float = 15.0
    heartbeat_s: float = 1.0
    task_resend_timeout_s: float = 28800.0
    crash_limit: int = 3
    exit_when_done: bool = False
    drain_suspected: bool = False
    qos: Qos = field(default_factory=lambda: BUILT_IN_QOS)
    namespaces: tuple[Namespace, ...] = ()
    abandon_s: float = 0.0


class Scheduler:
    """See the module. ``epoch`` rises with each start of a master on the journal that ``journal_id`` names.

    ``pages`` says that the journal can give back tasks that are not kept in memory, ``journal`` describes it. The
    caller sets ``backlog_bytes``, results that wait for their reader, and ``catching_up`` while results of earlier are
    delivered once more.
    """

    def __init__(
        self, options: SchedulerOptions, journal_id: str, epoch: int, pages: bool = False, journal: str = ""
    ) -> None:
        self.options = options
        self.state = State(epoch, pages)
        self.state.jobs.qos = options.qos
        self.consumed = 0
        self.backlog_bytes = 0
        self.catching_up = False
        self.stopping = False
        self.finished = False
        self._terms = terms = Terms(journal_id, options.heartbeat_s, options.controller_timeout_s)
        self._turn = Turn(self.state, terms.exclusive_wait_s)
        self._admission = Admission(self._turn, terms)
        self._heartbeats = Heartbeats(self._turn, terms)
        self._retries = Retries(self._turn)
        suspicion = Suspicion(self._turn, options.drain_suspected)
        self._outcomes = Outcomes(self._turn, self._retries, suspicion, options.crash_limit)
        picker = Picker(self.state.lanes, self.state.sessions)
        self._paging = Paging(self.state.lanes, picker)
        cancelling = Cancelling(self._turn, self._outcomes, self._paging.seek)
        self._keeper = Keeper(self._turn, cancelling, self._outcomes, options.namespaces, options.abandon_s)
        self._requests = Requests(self._turn, cancelling, self._keeper.errands, picker, journal)
        self._dispatcher = Dispatcher(self._turn, picker)
        self._next_sweep = 0.0
        self._next_resend_sweep = 0.0
        self._pull_granted = 0
        self._nothing_was_left = False

    # What the service may ask.

    @property
    def wall_offset_s(self) -> float:
        """Unix time minus monotonic; the caller sets it before a turn, and before ``recover``."""
        return self.state.jobs.wall_offset_s

    @wall_offset_s.setter
    def wall_offset_s(self, seconds: float) -> None:
        self.state.jobs.wall_offset_s = seconds

    @property
    def leased_tasks(self) -> int:
        """Tasks that a controller holds, or may hold."""
        return self.state.open_tasks - self.state.lanes.window.waiting - self.state.sessions.delayed.open

    @property
    def done_tasks(self) -> int:
        """Tasks with a recorded result."""
        return sum(self.state.ended.values())

    @property
    def passed_over(self) -> int:
        """Results that were late or came again, and changed nothing."""
        return self._outcomes.passed_over

    @property
    def delivered(self) -> int:
        """The number of the last results that were recorded."""
        return self.state.number

    @property
    def all_done(self) -> bool:
        """Whether every task has its result, its reader has it, and no more tasks can come: no job is open."""
        consumed = self.consumed == self.state.number and not self.catching_up
        return self.state.progress.exhausted and consumed and not self.state.open_tasks and not self.state.jobs.records

    @property
    def deadline(self) -> float:
        """When ``advance`` must be called again at the latest."""
        look = None if self._rests else self._dispatcher.next_look()
        brain = min(self._next_sweep, self._retries.deadline, self.state.lanes.deadline, self._keeper.deadline)
        return brain if look is None else min(brain, look)

    def pull_limit(self) -> int:
        """How many tasks ``generate()`` may have yielded in all: back-pressure, as a cumulative count.

        What is granted cannot be taken back, so the window starts small, until the size of the tasks is known.
        """
        lane = self.state.lanes.generator
        window = min(WINDOW_TASKS, WINDOW_START_TASKS + lane.tasks_added)
        if lane.bytes_added:
            window = max(1, min(window, WINDOW_BYTES * lane.tasks_added // lane.bytes_added))
        delayed = max(0, lane.delayed - WINDOWS_DELAYED * window) if lane.delayed else 0
        limit = self.state.progress.pulled + window - lane.waiting - delayed
        # In steps, because each is a message to the generator.
        if not self._rests and limit - self._pull_granted >= max(1, window // 4):
            self._pull_granted = limit
        return self._pull_granted

    @property
    def _rests(self) -> bool:
        """Whether nothing is handed out: the master stops, or who reads the results is far behind."""
        return self.stopping or self.backlog_bytes > BACKLOG_BYTES_MAX

    # What goes in.

    def recover(self, events: Iterable[Replayed], now: float) -> None:
        """What the journal has kept, through the same ``apply`` as in live operation."""
        for event in events:
            self.state.apply(event)
        self.begin(now)
        self.consumed = min(self.state.progress.consumed, self.state.number)
        self._nothing_was_left = self.state.progress.exhausted and not self.state.open_tasks

    def begin(self, now: float) -> None:
        """The wait for controllers of before begins; owed again where they can reach us only from this moment on."""
        self.state.apply(EpochBegun(now, now + self._terms.exclusive_wait_s))

    def handle(self, peer: bytes, message: AnyFromController, now: float) -> list[Action]:
        """A message from the controller behind a routing id."""
        turn = self._turn
        turn.begin(now)
        if isinstance(message, Hello):
            self._admission.on_hello(peer, message)
            return turn.out
        session = self.state.sessions.by_id.get(message.session)
        if session is None or session.peer != peer:
            text = f"session {message.session} is not known here"
            turn.send(peer, Refused(messages.NO_SESSION, "", text))
            return turn.out
        session.last_seen = now
        match message:
            case Results():
                self._heartbeats.grant(session, message.granted)
                self._outcomes.on_results(session, message)
            case messages.State():
                self._heartbeats.on_state(session, message)
                if self.finished:
                    # Said once already, but a message that is said once may get lost.
                    turn.send(session.peer, Stop(session.session_id, _ALL_DONE))
            case Returned():
                self._heartbeats.grant(session, message.granted)
                self._outcomes.on_returned(session, message)
            case Goodbye():
                self._admission.on_goodbye(session, message)
        return turn.out

    def shut_out(self, peer: bytes, reason: str, now: float) -> list[Action]:
        """This peer has lost the right to its session."""
        self._turn.begin(now)
        self._admission.shut_out(peer, reason)
        return self._turn.out

    def answer(
        self,
        peer: bytes,
        request: AnyFromClient,
        now: float,
        who: Who = ANYBODY,
        known_job: int | None = None,
    ) -> list[Action]:
        """A request of a client behind a routing id.

        ``known_job`` is a job that is not known here and has ended: of a SubmitRequest the one that its key has made,
        of a ProcessedRequest the one that it names, where ``who`` may steer that.
        """
        self._turn.begin(now)
        self._requests.on_request(peer, request, who, known_job, self.stopping or self.finished, self._rests)
        return self._turn.out

    def job_summaries(self, selection: JobSelection, before: int, page: int) -> tuple[list[JobSummary], int]:
        """Open jobs that are meant, as from ``Journal.ended_jobs``."""
        return listing.summaries(self.state, selection, before, page)

    def live_tasks(self, job_id: int, start: int, stop: int) -> Iterator[LiveTasks]:
        """The open tasks of a job with indexes from ``start`` up to ``stop``, by index, as runs of like ones."""
        return listing.live_tasks(self.state, job_id, start, stop)

    def detail(self, job_id: int) -> JobDetail | None:
        """An open job with all that is known of it."""
        return listing.detail(self.state, self._outcomes.failures, job_id)

    def unreachable(self, peer: bytes) -> None:
        """A message to this peer could not be sent: it gets nothing more until it says hello again."""
        session = self.state.sessions.by_peer.get(peer)
        if session:
            session.reachable = False
            self.state.sessions.rank(session)

    def offer(
        self,
        jobs: Sequence[JobOptions],
        runs: Runs,
        args: list[bytes],
        now: float,
        keys: list[bytes] | None = None,
        args_bytes: int | None = None,
    ) -> list[Action]:
        """Tasks from a source: their job column counts in ``jobs``, from 0; ``args_bytes`` where it knows that."""
        self._turn.begin(now)
        numbers = [self._job_id(JobOptions(*job)) for job in jobs]
        block = [(numbers[job], count) for job, count in runs]
        self._turn.emit(TasksAdded(self.state.last_id + 1, block, args, keys, args_bytes))
        self._nothing_was_left = False
        return self._turn.out

    def generator_advanced(self, progress: GeneratorProgress, now: float) -> list[Action]:
        """How far the generator has come; owed in the turn in which the tasks that brought it there are offered."""
        self._turn.begin(now)
        if progress != self.state.progress:
            self._turn.emit(GeneratorAdvanced(progress))
        self.consume(progress.consumed)
        return self._turn.out

    def consume(self, number: int) -> None:
        """The reader of results has taken in all up to this number, and what followed from them was offered."""
        self.consumed = max(self.consumed, min(number, self.state.number))

    def loaded(self, blocks: Iterable[TasksAdded], now: float) -> list[Action]:
        """The blocks that ``Load`` asked for."""
        self._turn.begin(now)
        for block in blocks:
            self._turn.let(TasksLoaded(block))
        return self._turn.out

    def stop(self, now: float) -> list[Action]:
        """Dispatch no more; take back what has not started. What runs goes on."""
        self._turn.begin(now)
        self.stopping = self._admission.closed = True
        for session in self.state.sessions.by_id.values():
            recalls.recall(self._turn, session)
        return self._turn.out

    def advance(self, now: float, heard_until: float | None = None) -> list[Action]:
        """Once per turn: what time brings, then dispatch.

        ``heard_until`` is given while messages wait unread: what came later than that may be among them.
        """
        turn = self._turn
        turn.begin(now)
        if now >= self._next_sweep:
            self._admission.sweep(now if heard_until is None else heard_until)
            self.state.lanes.watch(now)
            self._next_sweep = now + min(0.5, self.options.controller_timeout_s / 10)
        self._admission.settle()
        self._retries.due()
        self.state.lanes.due(now)
        self._keeper.advance()
        if self.options.task_resend_timeout_s and now >= self._next_resend_sweep:
            self._heartbeats.ask_for_overdue(self.options.task_resend_timeout_s)
            self._next_resend_sweep = now + min(60.0, self.options.task_resend_timeout_s / 20)
        if not self._rests:
            self._dispatch()
        # Who is about to come back from before a restart would not hear that all is done, and wait for ever.
        if self.all_done and not self.stopping and (self._nothing_was_left or not self.state.awaited):
            self._finish()
        return turn.out

    # What time brings.

    def _dispatch(self) -> None:
        turn, state = self._turn, self.state
        for session, spans in self._dispatcher.leases(self.leased_tasks):
            turn.let(TasksLeased(session.session_id, session.tasks_seq + 1, spans, turn.now))
            announced = dict.fromkeys(job for span in spans for job, _ in span.runs if job not in session.jobs)
            session.jobs.update(announced)
            limits = self._time_limits
            batches = [
                TaskBatch(span.first, span.attempt, span.runs, span.args, limits(span) if span.job_id else [])
                for span in spans
            ]
            jobs = [state.jobs[job] for job in announced]
            turn.send(session.peer, Tasks(session.session_id, session.tasks_seq, session.sent, jobs, batches))
        for session, count in self._dispatcher.recalls(turn.now):
            turn.send(session.peer, messages.Recall(session.session_id, count))
        if state.lanes.window.stored_count and (firsts := self._paging.next_blocks()):
            turn.out.append(Load(firsts))

    def _time_limits(self, span: Span) -> list[tuple[int, float]]:
        """What tasks of a span have of their own, by row."""
        own = self.state.lanes.lane(span.job_id).time_limits
        return [(row, own[span.first + row]) for row in range(span.count) if span.first + row in own] if own else []

    def _finish(self) -> None:
        if self.options.exit_when_done and not self.finished:
            self.finished = True
            for session in self.state.sessions.by_id.values():
                self._turn.send(session.peer, Stop(session.session_id, _ALL_DONE))
            self._turn.out.append(Finish())

    # Pieces of the above.

    def _job_id(self, options: JobOptions) -> int:
        found = self.state.jobs.find(options)
        if found is None:
            found = self.state.jobs.next_id()
            self._turn.emit(JobAdded(Job(found, *options)))
        return found

    def check(self) -> None:
        """Re-derive every invariant from scratch; AssertionError names the one that is broken."""
        audit.check(self)
