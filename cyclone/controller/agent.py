"""The controller's brain: what it tells the master, and what each worker slot does next. PURE.

Owns the session with the master, the tasks held, the worker slots and the results until they are recorded. Knows no socket,
process, clock or randomness, and does not assume that a slot is a local process. Messages, worker reports and a monotonic
``now`` in seconds go in, actions come out. The caller owes: actions carried out in order, ``advance`` once per turn after
the turn's inputs and not later than ``deadline``.

A task that is held is, in this order, queued here, out at a worker, in the outbox; it is forgotten when the master says
that its result is recorded, or when it was handed back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cyclone.controller.actions import Action, Execute, Exit, KillWorker, RetireWorker, Say, Send, StartWorker
from cyclone.controller.link import FATAL, Identity, Link
from cyclone.controller.outbox import Outbox
from cyclone.controller.pipe import Done
from cyclone.controller.slots import Batch, Phase, Slot
from cyclone.controller.watch import Progress, Watch
from cyclone.controller.work import Pace, Piece, WorkQueue, coalesce
from cyclone.protocol import messages, states
from cyclone.protocol.messages import (
    AnyFromMaster,
    ErrorRecord,
    Goodbye,
    Job,
    Pong,
    Recall,
    Recorded,
    Refused,
    ResultBatch,
    Results,
    Returned,
    Stop,
    TaskRange,
    Tasks,
    Welcome,
)
from cyclone.results import error_columns

# Work per batch to a worker, and work held per worker. A batch costs this process about 0.2 ms, so 10 ms of work keep that
# at 2 %; longer would gain little. Nobody waits for the rest of a batch: it is taken back for an idle worker, and what is finished is
# reported from behind a long task.
BATCH_S = 0.01
PREFETCH_S = 0.05
ROWS_PER_BATCH_MAX = 1024
PREFETCH_MAX = 4096
# Tasks at least this long are never held beyond the free workers.
LONG_TASK_S = 1.0
START_WAIT_S = 0.1
START_WAIT_MAX_S = 5.0


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """What the configuration decides. Durations in seconds; 0 is no limit, or for ever."""

    worker_count: int
    task_time_limit_s: float = 0.0
    kill_grace_s: float = 5.0
    worker_max_tasks: int = 0
    retry_wait_s: float = 1.0
    retries_max: int = 0
    stop_timeout_s: float = 30.0


class Agent:
    """See the module. ``jitter`` gives numbers in [0, 1): it spreads the retries of many controllers."""

    def __init__(self, identity: Identity, options: AgentOptions, jitter: Callable[[], float]) -> None:
        self.options = options
        self.queue = WorkQueue()
        self.outbox = Outbox()
        self.pace = Pace()
        self.jobs: dict[int, Job] = {}
        self.slots = [Slot(worker) for worker in range(options.worker_count)]
        self.link = Link(identity, options.retry_wait_s, options.retries_max, jitter)
        self.draining = False
        self.exited = False
        self._watch = Watch(self.slots, self.queue, self.pace, self.jobs, options)
        self._recall_left = 0
        self._stop_at: float | None = None
        self._stop_reason = ""
        self._out: list[Action] = []
        self._now = 0.0

    # What goes in.

    def connected(self, now: float) -> list[Action]:
        """A connection to the master stands: greet at once, but after a loss not all controllers in the same instant."""
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
                case Pong():
                    self.link.take_pong(message)
                case Stop(reason=reason):
                    self._drain(reason)
        return self._out

    def worker_ready(self, worker: int, now: float) -> list[Action]:
        """A worker process waits for rows."""
        self._begin(now)
        slot = self.slots[worker]
        # User code could say so again, and a worker that is being ended must not get more work.
        if slot.phase is Phase.STARTING:
            slot.phase, slot.failed_starts = Phase.READY, 0
        return self._out

    def worker_done(self, worker: int, done: Done, now: float) -> list[Action]:
        """A worker reports rows, in the order in which it got them."""
        self._begin(now)
        slot = self.slots[worker]
        if not slot.batches:
            return self._out
        batch, rows = slot.batches[0], len(done.statuses)
        start = done.base - batch.base
        if start != batch.reported or start + rows > len(batch.piece):
            # User code wrote into the pipe, or worse: nothing from this process can be trusted.
            self._say("warning", f"worker={worker} reported rows that it was not given: killed")
            self._out.append(KillWorker(worker))
            return self._out
        if rows:
            first = batch.piece.first + start
            result = ResultBatch(first, batch.piece.epoch, batch.piece.attempt, done.statuses, done.body)
            self.outbox.add(result, now)
            batch.reported += rows
            self.pace.learn(batch.piece.runs, rows, done.busy_s)
        if done.ended:
            slot.batches.popleft()
            slot.taking_back = slot.taking_back and bool(slot.batches)
            if batch.unreported:
                self._give_back([batch.piece.range(batch.reported, len(batch.piece))])
        return self._out

    def worker_exited(self, worker: int, seq: int, executing: bool, cause: str, now: float) -> list[Action]:
        """A worker process is gone, with everything that it did not report. ``seq`` is the last row that it published."""
        self._begin(now)
        slot = self.slots[worker]
        lost: list[TaskRange] = []
        for piece in reversed(slot.cut_behind(seq)):
            self.queue.prepend(piece)
        for batch in slot.batches:
            if not batch.unreported:
                continue
            last = batch.base + len(batch.piece) - 1
            charged = executing and last == seq
            if charged:
                self._charge(slot, batch, cause)
            rows = len(batch.piece) - charged
            if batch.reported < rows:
                # These were finished, but nobody knows with what result: the master leases them again, uncharged.
                lost.append(batch.piece.range(batch.reported, rows))
        if lost:
            self._give_back(lost)
        slot.batches.clear()
        slot.taking_back = False
        if slot.phase is Phase.STARTING:
            slot.failed_starts += 1
            self._say("warning", f"worker={worker} ended before it was ready: {cause}")
        slot.phase = Phase.DEAD
        wait_s = START_WAIT_S * 2 ** min(slot.failed_starts - 1, 16) if slot.failed_starts else 0.0
        slot.start_at = now + min(wait_s, START_WAIT_MAX_S)
        if self.draining:
            self._return_queue(len(self.queue))
        return self._out

    def taken_back(self, worker: int, seq: int | None, now: float) -> list[Action]:
        """Rows behind ``seq`` will not be started by this worker; None: it could not be stopped, nothing has changed."""
        self._begin(now)
        slot = self.slots[worker]
        if seq is None:
            slot.taking_back = False
        else:
            self._take_rows(slot, seq)
        return self._out

    def task_ending(self, worker: int, seq: int, now: float) -> list[Action]:
        """The worker got SIGTERM while it executed this row, and will start no other."""
        self._begin(now)
        slot = self.slots[worker]
        slot.phase, slot.ending_seq = Phase.ENDING, seq
        slot.kill_at = now + self.options.kill_grace_s
        self._take_rows(slot, seq)
        return self._out

    def stop(self, now: float) -> list[Action]:
        """Take no more work, hand back what has not started, finish what runs, then exit with 0."""
        self._begin(now)
        self._drain("stopped by a signal")
        return self._out

    def advance(self, now: float, progress: Mapping[int, Progress]) -> list[Action]:
        """Once per turn: what time brings, then rows for workers and news for the master."""
        self._begin(now)
        if self.exited:
            return self._out
        for slot in self.slots:
            if slot.phase is Phase.DEAD and slot.start_at <= now and not self.draining:
                slot.restart()
                self._out.append(StartWorker(slot.worker))
            elif slot.phase is Phase.ENDING and (slot.kill_at <= now or (slot.ending_seq and not slot.batches)):
                slot.kill_at = now + 1.0
                self._out.append(KillWorker(slot.worker))
        if self._recall_left:
            # What workers gave back for the master goes there before another worker here can have it.
            self._return_queue(self._recall_left)
            self._recall_left = 0
        self._feed_workers()
        self._out += self._watch.look(now, progress, self.draining)
        self._talk()
        if self.draining:
            self._try_to_leave()
        return self._out

    @property
    def deadline(self) -> float:
        """When ``advance`` must be called again at the latest."""
        times: list[float | None] = [self.link.deadline, self._stop_at, self._watch.at]
        if self.link.session:
            times += [self.outbox.flush_at(), self.outbox.resend_at()]
        for slot in self.slots:
            if slot.phase is Phase.DEAD and not self.draining:
                times.append(slot.start_at)
            elif slot.phase is Phase.ENDING:
                times.append(slot.kill_at)
        return min((at for at in times if at is not None), default=self._now + 1.0)

    def held(self) -> list[TaskRange]:
        """Everything that this controller answers for, in as few ranges as possible."""
        ranges = [piece.range(0, len(piece)) for piece in self.queue]
        for slot in self.slots:
            ranges += slot.held()
        return coalesce(ranges + self.outbox.held())

    @property
    def busy(self) -> int:
        """Slots with work."""
        return sum(1 for slot in self.slots if slot.batches)

    # What the master says.

    def _on_welcome(self, welcome: Welcome) -> None:
        if self.link.session or not self.link.concerns(welcome):
            return
        if self.link.journal_id not in ("", welcome.journal_id):
            self._forget_everything()
        self.link.open(welcome, self._now)
        self.queue.discard(welcome.drop)
        for number, batches in self.outbox.overdue(self._now, after_s=0.0):
            self._send_results(number, batches)
        self._say("info", f"welcomed by the master, session={welcome.session} epoch={welcome.epoch}")

    def _on_refused(self, refused: Refused) -> None:
        if not self.link.concerns(refused):
            return
        if refused.code in FATAL:
            self._exit(1, f"{refused.code}: {refused.text}")
        elif refused.code == messages.DRAINING:
            self.link.greet_later(self._now)
        elif self.link.session:
            self.link.greet_again(self._now)

    def _on_tasks(self, tasks: Tasks) -> None:
        session = self.link.session
        if session is None or not self.link.take_tasks(tasks):
            return
        for job in tasks.jobs:
            self.jobs[job.job_id] = job
        if any(job not in self.jobs for batch in tasks.batches for job, _ in batch.runs):
            # The announcement was lost; in a new session everything is announced again.
            self.link.greet_again(self._now)
            return
        for batch in tasks.batches:
            self.queue.append(Piece(batch.first, session.epoch, batch.attempt, batch.runs, batch.args))
        if self.draining:
            self._return_queue(len(self.queue))

    def _on_recall(self, count: int) -> None:
        count -= self._return_queue(count)
        asked = self._watch.take_back_for_master() if count > 0 else []
        self._out += asked
        self._recall_left = count if asked else 0
        if not asked and count > 0:
            self._give_back([])

    # Rows and workers.

    def _feed_workers(self) -> None:
        ready = [slot for slot in self.slots if slot.phase is Phase.READY and not slot.taking_back]
        overall_s = self.pace.overall_s
        # A second batch at a worker hides the controller's own latency; for tasks of a while it would only be taken back.
        depth = 2 if overall_s is not None and overall_s < PREFETCH_S else 1
        for level in range(depth):
            for slot in ready:
                if not self.queue:
                    return
                if len(slot.batches) == level and not self._retire(slot):
                    self._execute(slot, len(ready))

    def _execute(self, slot: Slot, sharers: int) -> None:
        share = -(-len(self.queue) // sharers)
        rows = self.pace.rows_within(self.queue.head(), BATCH_S, min(share, ROWS_PER_BATCH_MAX))
        piece = self.queue.take(rows)
        new_jobs = [job for job, _ in piece.runs if job not in slot.jobs]
        slot.jobs.update(new_jobs)
        self._out.append(
            Execute(slot.worker, slot.next_seq, piece, [self.jobs[job] for job in dict.fromkeys(new_jobs)])
        )
        slot.batches.append(Batch(slot.next_seq, piece))
        slot.next_seq += len(piece)

    def _retire(self, slot: Slot) -> bool:
        worn = 0 < self.options.worker_max_tasks < slot.next_seq
        if worn and not slot.batches:
            slot.phase, slot.kill_at = Phase.ENDING, self._now + self.options.kill_grace_s
            self._out.append(RetireWorker(slot.worker))
        return worn

    def _charge(self, slot: Slot, batch: Batch, cause: str) -> None:
        """The row that the worker died in gets its outcome: timed out when that was us, else a crash."""
        row = len(batch.piece) - 1
        status, error = states.CRASHED, ErrorRecord("WorkerDied", cause)
        if slot.ending_seq == batch.base + row:
            limit_s = self._watch.time_limit_s(batch.piece.job_at(row))
            status, error = states.TIMED_OUT, ErrorRecord("TaskTimedOut", f"exceeded its time limit of {limit_s:g} s")
        body = error_columns(error)
        result = ResultBatch(batch.piece.first + row, batch.piece.epoch, batch.piece.attempt, bytes([status]), body)
        self.outbox.add(result, self._now)

    def _take_rows(self, slot: Slot, seq: int) -> None:
        for piece in reversed(slot.cut_behind(seq)):
            self.queue.prepend(piece)
        slot.taking_back = bool(slot.batches)
        if self.draining:
            self._return_queue(len(self.queue))

    # What the master is told.

    def _talk(self) -> None:
        link, now = self.link, self._now
        if silent_s := link.silent_s(now):
            self._say("warning", f"master silent for {silent_s:.1f} s: saying hello again")
            link.greet_again(now)
        hello = link.hello(now, len(self.slots), self.held)
        if link.given_up:
            self._exit(69, f"no answer from the master after {self.options.retries_max} retries")
        elif hello:
            self._out.append(Send(hello))
        if not link.session:
            return
        if not self.draining:
            link.grant(self._window() - len(self.queue) - sum(slot.unreported for slot in self.slots))
        flush_at = self.outbox.flush_at()
        # With nothing left to hand out, the master is waiting for us: gathering would only cost time.
        if flush_at is not None and (flush_at <= now or not self.queue):
            for number, batches in self.outbox.flush(now):
                self._send_results(number, batches)
        for number, batches in self.outbox.overdue(now):
            self._send_results(number, batches)
        live = sum(1 for slot in self.slots if slot.phase in (Phase.READY, Phase.ENDING))
        if state := link.state(now, live, self.busy, self.held, results_soon=self.outbox.flush_at() is not None):
            self._out.append(Send(state))

    def _window(self) -> int:
        """How many tasks to hold: what keeps the live workers busy over a round trip."""
        live = sum(1 for slot in self.slots if slot.phase is Phase.READY)
        mean_s = self.pace.overall_s
        if mean_s is None or mean_s >= LONG_TASK_S:
            return live
        return live * min(max(2, int(PREFETCH_S / mean_s)), PREFETCH_MAX)

    def _send_results(self, number: int, batches: list[ResultBatch]) -> None:
        assert self.link.session
        self._out.append(Send(Results(self.link.session.session, number, self.link.told(), batches)))

    def _return_queue(self, count: int) -> int:
        """Hand queued tasks back, those that would wait longest first; how many that were."""
        pieces = self.queue.take_back(count)
        if pieces:
            self._give_back([piece.range(0, len(piece)) for piece in pieces])
        return sum(map(len, pieces))

    def _give_back(self, ranges: list[TaskRange]) -> None:
        if self.link.session:
            self._out.append(Send(Returned(self.link.session.session, self.link.told(), coalesce(ranges))))

    # Ending.

    def _drain(self, reason: str) -> None:
        if self.draining:
            return
        self.draining = True
        self._stop_reason = reason
        self._stop_at = self._now + self.options.stop_timeout_s
        self._return_queue(len(self.queue))
        self._out += self._watch.take_back_for_master()

    def _try_to_leave(self) -> None:
        if self._stop_at is not None and self._stop_at <= self._now:
            running = sum(slot.unreported for slot in self.slots)
            self._goodbye(f"stop_timeout passed with {running} tasks unfinished")
        elif not any(slot.batches for slot in self.slots) and not self.outbox:
            self._goodbye(self._stop_reason)

    def _goodbye(self, reason: str) -> None:
        if self.link.session:
            self._out.append(Send(Goodbye(self.link.session.session, reason)))
        self._exit(0, reason)

    def _exit(self, code: int, reason: str) -> None:
        self.exited = True
        self._out.append(Exit(code, reason))

    def _forget_everything(self) -> None:
        """Another journal's master: what we hold is of tasks that it does not know."""
        self._say("warning", "the master has another journal: everything held for the former one is dropped")
        self.queue.clear()
        self.outbox.clear()
        self.jobs.clear()
        for slot in self.slots:
            slot.jobs.clear()
            if slot.batches:
                slot.batches.clear()
                slot.phase, slot.kill_at = Phase.ENDING, self._now + 1.0
                self._out.append(KillWorker(slot.worker))

    def _begin(self, now: float) -> None:
        self._now = now
        self._out = []

    def _say(self, level: str, text: str) -> None:
        self._out.append(Say(level, text))
