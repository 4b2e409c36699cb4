"""The controller's brain: what it tells the master, and what each worker slot does next. PURE.

Joins the link to the master with the crew of workers, and owns the results until they are recorded. Knows no socket,
process, clock or randomness, and does not assume that a slot is a local process. Messages, worker reports and a
monotonic ``now`` in seconds go in, actions come out. The caller owes: actions carried out in order, ``advance`` once
per turn after the turn's inputs and not later than ``deadline``.

A task that is held is, in this order, queued here, out at a worker, in the outbox; it is forgotten when the master says
that its result is recorded, or when it was handed back.
"""

from collections.abc import Callable, Sequence
from functools import partial

from cyclone.controller.actions import Action, Exit, Say, Send
from cyclone.controller.crew import UNKNOWN, Crew, Obituary
from cyclone.controller.link import FATAL, Identity, Link
from cyclone.controller.options import AgentOptions
from cyclone.controller.outbox import GATHER_LAST_S, GATHER_S, Outbox
from cyclone.controller.pipe import Done
from cyclone.controller.watch import Published
from cyclone.controller.work import NO_LIMITS, Piece, coalesce, overlap
from cyclone.protocol import messages
from cyclone.protocol.messages import (
    AnyFromMaster,
    Cancel,
    Goodbye,
    Pong,
    Recall,
    Recorded,
    Refused,
    ResultBatch,
    Results,
    Returned,
    Stop,
    Stopped,
    TaskRange,
    Tasks,
    Welcome,
)


class Agent:
    """See the module. ``jitter`` gives numbers in [0, 1): it spreads the retries of many controllers."""

    def __init__(self, identity: Identity, options: AgentOptions, jitter: Callable[[], float]) -> None:
        self.options = options
        self.outbox = Outbox()
        self.crew = Crew(options, self.outbox)
        self.link = Link(identity, options.retry_wait_s, options.retries_max, jitter)
        self.draining = False
        self.exited = False
        self._recall_left = 0
        self._stop_at: float | None = None
        self._stop_reason = ""
        self._out: list[Action] = []
        self._now = 0.0

    # What goes in.

    def connected(self, now: float) -> list[Action]:
        """A connection to the master stands: greet, but after a loss not all controllers in the same instant."""
        self._begin(now)
        self.link.connected(now)
        return self._out

    def handle(self, message: AnyFromMaster, now: float) -> list[Action]:
        """A message from the master."""
        self._begin(now)
        if isinstance(message, Welcome):
            self._on_welcome(message)
        elif isinstance(message, Refused):
            self._on_refused(message)
        elif self.link.session and message.session == self.link.session.session:
            self.link.heard(now)
            match message:
                case Tasks():
                    self._on_tasks(message)
                case Recorded(numbers=numbers):
                    self.outbox.recorded(numbers)
                case Recall(count=count):
                    self._on_recall(count)
                case Cancel(ranges=ranges):
                    self._on_cancel(ranges)
                case Pong():
                    self.link.take_pong(message)
                case Stop(reason=reason):
                    self._drain(reason)
        return self._out

    def worker_ready(self, worker: int, now: float) -> list[Action]:
        """A worker process waits for rows."""
        self._begin(now)
        self.crew.ready(worker)
        return self._out

    def worker_done(self, worker: int, done: Done, now: float) -> list[Action]:
        """A worker reports rows, in the order in which it got them."""
        self._begin(now)
        self.crew.done(worker, done, now)
        return self._collect()

    def worker_exited(
        self, worker: int, seq: int, executing: bool, cause: str, now: float, obituary: Obituary = UNKNOWN
    ) -> list[Action]:
        """A worker process is gone, with all that it did not report. ``seq`` is the last row that it published."""
        self._begin(now)
        self.crew.exited(worker, seq, executing, cause, obituary, now)
        if self.draining:
            self._return_queue(len(self.crew.queue))
        return self._collect()

    def taken_back(self, worker: int, seq: int | None, now: float) -> list[Action]:
        """Rows behind ``seq`` will not be started by this worker; None: it could not be stopped."""
        self._begin(now)
        self.crew.taken_back(worker, seq, now)
        if self.draining:
            self._return_queue(len(self.crew.queue))
        return self._collect()

    def task_ending(self, worker: int, seq: int, now: float) -> list[Action]:
        """The worker got SIGTERM while it executed this row, and will start no other."""
        self._begin(now)
        self.crew.task_ending(worker, seq, now)
        if self.draining:
            self._return_queue(len(self.crew.queue))
        return self._collect()

    def stop(self, now: float) -> list[Action]:
        """Take no more work, hand back what has not started, finish what runs, then exit with 0."""
        self._begin(now)
        self._drain("stopped by a signal")
        return self._out

    def stop_at_once(self, now: float) -> list[Action]:
        """Say goodbye and exit. Nothing may run any more: the caller has killed the workers."""
        self._begin(now)
        self._goodbye("stopped at once by a second signal")
        return self._out

    def advance(self, now: float, progress: Published) -> list[Action]:
        """Once per turn: what time brings, then rows for workers and news for the master."""
        self._begin(now)
        if self.exited:
            return self._out
        self.crew.keep_up(now, self.draining)
        if self.link.lease_ended(now) and (stopped := self.crew.stop_exclusive()):
            self._say("warning", f"the lease has run out: {len(stopped)} runs of exclusive tasks are ended")
        if self._recall_left:
            # What workers gave back for the master goes there before another worker here can have it.
            self._return_queue(self._recall_left)
            self._recall_left = 0
        self.crew.feed(now, progress, self.draining)
        self._collect()
        self._talk(progress)
        if self.draining:
            self._try_to_leave()
        return self._out

    @property
    def deadline(self) -> float:
        """When ``advance`` must be called again at the latest."""
        times = [self.link.deadline, self._stop_at, *self.crew.deadlines(self.draining)]
        if self.link.session:
            times += [self._flush_at(), self.outbox.resend_at()]
        return min((at for at in times if at is not None), default=self._now + 1.0)

    def held(self) -> list[TaskRange]:
        """Everything that this controller answers for, in as few ranges as possible."""
        return coalesce(self.crew.held() + self.outbox.held())

    # What the master says.

    def _on_welcome(self, welcome: Welcome) -> None:
        if self.link.session or not self.link.concerns(welcome):
            return
        if self.link.journal_id not in ("", welcome.journal_id):
            # What we hold is of tasks that this master does not know.
            self._say("warning", "the master has another journal: everything held for the former one is dropped")
            self.crew.forget_everything(self._now)
            self.outbox.clear()
            self._collect()
        self.link.open(welcome, self._now)
        self.crew.queue.discard(welcome.drop)
        self.crew.stop_exclusive(welcome.drop)
        for number, batches in self.outbox.overdue(self._now, after_s=0.0):
            self._send_results(number, batches)
        self._say("info", f"welcomed by the master, session={welcome.session} epoch={welcome.epoch}")

    def _on_refused(self, refused: Refused) -> None:
        if not self.link.concerns(refused):
            return
        if refused.code in FATAL:
            self._exit(1, f"{refused.code}: {refused.text}")
        elif refused.code in (messages.DRAINING, messages.FULL):
            self.link.greet_later(self._now)
        elif self.link.session:
            self.link.greet_again(self._now)

    def _on_tasks(self, tasks: Tasks) -> None:
        session = self.link.session
        if session is None or not self.link.take_tasks(tasks):
            return
        self.crew.jobs.learn(tasks.jobs)
        if any(job not in self.crew.jobs for batch in tasks.batches for job, _ in batch.runs):
            # The announcement was lost; in a new session everything is announced again.
            self.link.greet_again(self._now)
            return
        for batch in tasks.batches:
            limits_s = {batch.first + row: limit_s for row, limit_s in batch.time_limits} or NO_LIMITS
            self.crew.queue.append(Piece(batch.first, session.epoch, batch.attempt, batch.runs, batch.args, limits_s))
        self.crew.jobs.tidy(self.crew.jobs_here)
        if self.draining:
            self._return_queue(len(self.crew.queue))

    def _on_recall(self, count: int) -> None:
        count -= self._return_queue(count)
        asked = count > 0 and self.crew.take_back_all()
        self._recall_left = count if asked else 0
        if not asked and count > 0:
            self._give_back([])
        self._collect()

    def _on_cancel(self, ranges: list[TaskRange]) -> None:
        self.crew.stops.add(ranges)
        held = self.held()
        # Not held any more, and so not running: its result is on the way, or an earlier answer got lost.
        self._give_back([part for part in ranges if not overlap(held, part)])

    # What the master is told.

    def _talk(self, progress: Published) -> None:
        link, now = self.link, self._now
        if silent_s := link.silent_s(now):
            self._say("warning", f"master silent for {silent_s:.1f} s: saying hello again")
            link.greet_again(now)
        # Credit cannot be taken back, but without a slot it buys nothing.
        live = 0 if self.draining else self.crew.live
        hello = link.hello(now, live, self.held)
        if link.given_up:
            self._exit(69, f"no answer from the master after {self.options.retries_max} retries")
        elif hello:
            self._out.append(Send(hello))
        if not link.session:
            return
        if not self.draining:
            link.grant(self.crew.room())
        flush_at = self._flush_at()
        # With a worker that has nothing to do, the master is waiting for us: gathering would only cost time.
        if flush_at is not None and (flush_at <= now or self.crew.starving):
            for number, batches in self.outbox.flush(now):
                self._send_results(number, batches)
        for number, batches in self.outbox.overdue(now):
            self._send_results(number, batches)
        results_soon = self.outbox.flush_at() is not None
        running = partial(self.crew.running, progress)
        crew = self.crew
        if state := link.state(now, live, crew.busy, self.held, results_soon, running, crew.resting):
            self._out.append(Send(state))

    def _flush_at(self) -> float | None:
        return self.outbox.flush_at(GATHER_S if self.crew.queue else GATHER_LAST_S)

    def _send_results(self, number: int, batches: list[ResultBatch]) -> None:
        assert self.link.session
        self._out.append(Send(Results(self.link.session.session, number, self.link.told(), batches)))

    def _return_queue(self, count: int) -> int:
        """Hand queued tasks back, those that would wait longest first; how many that were."""
        pieces = self.crew.queue.take_back(count)
        if pieces:
            self._give_back([piece.range(0, len(piece)) for piece in pieces])
        return sum(map(len, pieces))

    def _give_back(self, ranges: list[TaskRange], stopped: Sequence[Stopped] = ()) -> None:
        if session := self.link.session:
            self._out.append(Send(Returned(session.session, self.link.told(), coalesce(ranges), list(stopped))))

    # Ending.

    def _drain(self, reason: str) -> None:
        if self.draining:
            return
        self.draining = True
        self._stop_reason = reason
        self._stop_at = self._now + self.options.stop_timeout_s
        self._return_queue(len(self.crew.queue))
        self.crew.take_back_all()
        self._collect()

    def _try_to_leave(self) -> None:
        if self._stop_at is not None and self._stop_at <= self._now:
            running = sum(slot.unreported for slot in self.crew.slots)
            # Before the word that nothing runs here any more.
            self.crew.kill_busy()
            self._collect()
            self._goodbye(f"stop_timeout passed with {running} tasks unfinished")
        elif not self.crew.working and not self.outbox:
            self._goodbye(self._stop_reason)

    def _goodbye(self, reason: str) -> None:
        if self.link.session:
            self._out.append(Send(Goodbye(self.link.session.session, reason)))
        self._exit(0, reason)

    def _exit(self, code: int, reason: str) -> None:
        self.exited = True
        self._out.append(Exit(code, reason))

    def _collect(self) -> list[Action]:
        """Take over what the crew wants done and hands back."""
        crew = self.crew
        self._out += crew.wanted
        crew.wanted.clear()
        if crew.given_up:
            self._give_back(crew.given_up, crew.stopped)
            crew.given_up.clear()
            crew.stopped.clear()
        return self._out

    def _begin(self, now: float) -> None:
        self._now = now
        self._out = []

    def _say(self, level: str, text: str) -> None:
        self._out.append(Say(level, text))
