"""The controller's workers: what each slot is given, and what becomes of it. PURE.

Owns the slots, the queue of leased tasks and the pace at which tasks run. Results go into the outbox that it was given;
what it wants done gathers in ``wanted``, and what must be handed back to the master in ``given_up``: the agent takes
both after each call.
"""

from dataclasses import dataclass

from cyclone.controller.actions import Action, Execute, KillWorker, RetireWorker, Say, StartWorker
from cyclone.controller.options import AgentOptions
from cyclone.controller.outbox import Outbox
from cyclone.controller.pipe import Done
from cyclone.controller.slots import Batch, Phase, Slot
from cyclone.controller.stops import Stops
from cyclone.controller.watch import Published, Watch
from cyclone.controller.work import Pace, WorkQueue, overlap
from cyclone.protocol import states
from cyclone.protocol.messages import ErrorRecord, Job, ResultBatch, TaskRange
from cyclone.protocol.runs import Runs
from cyclone.results import error_columns

# Work per batch to a worker, and work held per worker. A batch costs this process about 0.3 ms, measured between busy
# workers that leave it a cold cache, so 20 ms of work keep that at 1.5 %. Nobody waits for the rest of a batch: it is
# taken back for an idle worker, and what is finished is reported from behind a long task.
BATCH_S = 0.02
PREFETCH_S = 0.1
ROWS_PER_BATCH_MAX = 2048
PREFETCH_MAX = 8192
# Tasks at least this long are never held beyond the free workers.
LONG_TASK_S = 1.0
START_WAIT_S = 0.1
START_WAIT_MAX_S = 5.0
# When all workers are there for the first time, the processors have better things to do than to start a spare one.
SPARE_AFTER_S = 2.0


@dataclass(frozen=True, slots=True)
class Obituary:
    """Of a worker process: its pid, when (Unix time) its last row had started, and for how long that ran."""

    pid: int = 0
    started: float = 0.0
    seconds: float = 0.0


UNKNOWN = Obituary()


class Crew:
    """See the module."""

    def __init__(self, options: AgentOptions, outbox: Outbox) -> None:
        self.slots = [Slot(worker) for worker in range(options.worker_count + options.spare_workers)]
        self.queue = WorkQueue()
        self.pace = Pace()
        self.jobs: dict[int, Job] = {}
        self.watch = Watch(self.slots, self.queue, self.pace, self.jobs, options)
        self.stops = Stops(self.slots, self.queue)
        self.wanted: list[Action] = []
        self.given_up: list[TaskRange] = []
        self._options = options
        self._outbox = outbox
        self._spare_from: float | None = None

    @property
    def busy(self) -> int:
        """Slots with work."""
        return sum(1 for slot in self.slots if slot.batches)

    @property
    def live(self) -> int:
        """Slots with a worker process that runs or can run tasks, as many of them as are used at once."""
        live = sum(1 for slot in self.slots if slot.phase in (Phase.READY, Phase.ENDING))
        return min(live, self._options.worker_count)

    def room(self) -> int:
        """How many more tasks keep the ready workers busy over a round trip to the master; may be negative."""
        ready = min(sum(1 for slot in self.slots if slot.phase is Phase.READY), self._options.worker_count)
        mean_s = self.pace.overall_s
        if mean_s is None or mean_s >= LONG_TASK_S:
            window = ready
        else:
            window = ready * min(max(2, int(PREFETCH_S / mean_s)), PREFETCH_MAX)
        return window - len(self.queue) - sum(slot.unreported for slot in self.slots)

    def held(self) -> list[TaskRange]:
        """What is queued here or out at a worker."""
        ranges = [piece.range(0, len(piece)) for piece in self.queue]
        for slot in self.slots:
            ranges += slot.held()
        return ranges

    def deadlines(self, draining: bool) -> list[float | None]:
        """When something here is due."""
        times = [self.watch.at, self.stops.at]
        for slot in self.slots:
            if slot.phase is Phase.DEAD and not draining:
                times.append(self._start_at(slot))
            elif slot.phase is Phase.ENDING:
                times.append(slot.kill_at)
        return times

    # What workers tell.

    def ready(self, worker: int) -> None:
        """A worker process waits for rows."""
        slot = self.slots[worker]
        # User code could say so again, and a worker that is being ended must not get more work.
        if slot.phase is Phase.STARTING:
            slot.phase, slot.failed_starts = Phase.READY, 0

    def done(self, worker: int, done: Done, now: float) -> None:
        """A worker reports rows, in the order in which it got them."""
        slot = self.slots[worker]
        if not slot.batches:
            return
        batch, rows = slot.batches[0], len(done.statuses)
        start = done.base - batch.base
        if start != batch.reported or start + rows > len(batch.piece):
            # User code wrote into the pipe, or worse: nothing from this process can be trusted.
            self._say(f"worker={worker} reported rows that it was not given: killed")
            self.wanted.append(KillWorker(worker))
            return
        if rows:
            first = batch.piece.first + start
            self._outbox.add(ResultBatch(first, batch.piece.epoch, batch.piece.attempt, done.statuses, done.body), now)
            batch.reported += rows
            self.pace.learn(batch.piece.runs, rows, done.busy_s)
        if done.ended:
            slot.batches.popleft()
            slot.taking_back = slot.taking_back and bool(slot.batches)
            if batch.unreported:
                self.given_up.append(batch.piece.range(batch.reported, len(batch.piece)))

    def exited(self, worker: int, seq: int, executing: bool, cause: str, obituary: Obituary, now: float) -> None:
        """A worker process is gone, with all that it did not report. ``seq`` is the last row that it published."""
        slot = self.slots[worker]
        self._requeue_behind(slot, seq)
        for batch in slot.batches:
            if not batch.unreported:
                continue
            last = batch.piece.range(len(batch.piece) - 1, len(batch.piece))
            charged = executing and batch.base + len(batch.piece) - 1 == seq and not self.stops.concerns(last)
            if charged:
                self._charge(slot, batch, cause, obituary, now)
            rows = len(batch.piece) - charged
            if batch.reported < rows:
                # These were finished, but nobody knows with what result: the master leases them again, uncharged.
                self.given_up.append(batch.piece.range(batch.reported, rows))
        slot.batches.clear()
        slot.taking_back = False
        if slot.phase is Phase.STARTING:
            slot.failed_starts += 1
            self._say(f"worker={worker} ended before it was ready: {cause}")
        slot.phase = Phase.DEAD
        wait_s = START_WAIT_S * 2 ** min(slot.failed_starts - 1, 16) if slot.failed_starts else 0.0
        slot.start_at = now + min(wait_s, START_WAIT_MAX_S)

    def taken_back(self, worker: int, seq: int | None) -> None:
        """Rows behind ``seq`` will not be started by this worker; None: it could not be stopped."""
        slot = self.slots[worker]
        if seq is None:
            slot.taking_back = False
            return
        self._requeue_behind(slot, seq)
        slot.taking_back = bool(slot.batches)

    def task_ending(self, worker: int, seq: int, now: float) -> None:
        """The worker got SIGTERM while it executed this row, and will start no other."""
        slot = self.slots[worker]
        slot.phase, slot.ending_seq = Phase.ENDING, seq
        slot.kill_at = now + self._options.kill_grace_s
        part = slot.range_at(seq)
        if part and not self.stops.allows_grace(part):
            self.wanted.append(KillWorker(worker))
        self.taken_back(worker, seq)

    # What workers get.

    def keep_up(self, now: float, draining: bool) -> None:
        """Start what is missing, and kill what will not end by itself."""
        if self._spare_from is None and self.live == self._options.worker_count:
            self._spare_from = now + SPARE_AFTER_S
        for slot in self.slots:
            due = None if draining or slot.phase is not Phase.DEAD else self._start_at(slot)
            if due is not None and due <= now:
                slot.restart()
                self.wanted.append(StartWorker(slot.worker))
            elif slot.phase is Phase.ENDING and (slot.kill_at <= now or (slot.ending_seq and not slot.batches)):
                slot.kill_at = now + 1.0
                self.wanted.append(KillWorker(slot.worker))

    def _start_at(self, slot: Slot) -> float | None:
        """When a worker is to be started here; None for a spare one while the others are not there yet."""
        started = [other.phase for other in self.slots if other.phase is not Phase.DEAD]
        if len(started) < self._options.worker_count:
            return slot.start_at
        if Phase.STARTING in started or self._spare_from is None:
            return None
        return max(slot.start_at, self._spare_from)

    def feed(self, now: float, progress: Published, draining: bool) -> None:
        """Hand out queued rows, and look after those that run."""
        self.given_up += self.stops.out_of_the_queue()
        ready = [slot for slot in self.slots if slot.phase is Phase.READY and not slot.taking_back]
        overall_s = self.pace.overall_s
        # A second batch at a worker hides our own latency; for tasks of a while it would only be taken back.
        depth = 2 if overall_s is not None and overall_s < PREFETCH_S else 1
        sharers = min(len(ready), self._options.worker_count)
        for level in range(depth):
            for slot in ready:
                if level == 0 and self.busy >= self._options.worker_count:
                    # The rest of the idle ones are spare.
                    break
                if self.queue and len(slot.batches) == level and not self._retire(slot, now):
                    self._execute(slot, sharers)
        self.wanted += self.stops.look(now, progress)
        self.wanted += self.watch.look(now, progress, draining)

    def take_back_all(self) -> bool:
        """Ask every worker with unstarted rows for them; whether there is one."""
        asked = self.watch.take_back_for_master()
        self.wanted += asked
        return bool(asked)

    def stop_exclusive(self, among: list[TaskRange] | None = None) -> list[TaskRange]:
        """End what must not run without a lease, all of it or what is among these; what is new of that."""
        exclusive = [
            part
            for part, runs in self._held_with_runs()
            if any(self.jobs[job].exclusive for job, _ in runs)
            and not self.stops.concerns(part)
            and (among is None or overlap(among, part))
        ]
        # The master counts on it that the end of the lease is the end of the task.
        self.stops.add(exclusive, without_grace=True)
        return exclusive

    def _held_with_runs(self) -> list[tuple[TaskRange, Runs]]:
        pieces = [*self.queue, *(batch.piece for slot in self.slots for batch in slot.batches if batch.unreported)]
        return [(piece.range(0, len(piece)), piece.runs) for piece in pieces if len(piece)]

    def kill_busy(self) -> None:
        """End what runs, at once."""
        self.wanted += [KillWorker(slot.worker) for slot in self.slots if slot.batches]

    def forget_everything(self, now: float) -> None:
        """What is held is for another master's journal: end what runs, drop the rest."""
        self.queue.clear()
        self.jobs.clear()
        for slot in self.slots:
            slot.jobs.clear()
            if slot.batches:
                slot.batches.clear()
                slot.phase, slot.kill_at = Phase.ENDING, now + 1.0
                self.wanted.append(KillWorker(slot.worker))

    def _execute(self, slot: Slot, sharers: int) -> None:
        share = -(-len(self.queue) // sharers)
        rows = self.pace.rows_within(self.queue.head(), BATCH_S, min(share, ROWS_PER_BATCH_MAX))
        piece = self.queue.take(rows)
        new_jobs = dict.fromkeys(job for job, _ in piece.runs if job not in slot.jobs)
        slot.jobs.update(new_jobs)
        self.wanted.append(Execute(slot.worker, slot.next_seq, piece, [self.jobs[job] for job in new_jobs]))
        slot.batches.append(Batch(slot.next_seq, piece))
        slot.next_seq += len(piece)

    def _retire(self, slot: Slot, now: float) -> bool:
        worn = 0 < self._options.worker_max_tasks < slot.next_seq
        if worn and not slot.batches:
            slot.phase, slot.kill_at = Phase.ENDING, now + self._options.kill_grace_s
            self.wanted.append(RetireWorker(slot.worker))
        return worn

    def _charge(self, slot: Slot, batch: Batch, cause: str, obituary: Obituary, now: float) -> None:
        """The row that the worker died in gets its outcome: timed out when that was us, else a crash."""
        row = len(batch.piece) - 1
        status, error = states.CRASHED, ErrorRecord("WorkerDied", cause)
        if slot.ending_seq == batch.base + row:
            job = batch.piece.job_at(row)
            text = f"exceeded its time limit of {self.watch.time_limit_s(job):g} s"
            retry_on = self.jobs[job].retry_on
            status = states.TIMED_OUT
            error = ErrorRecord("TaskTimedOut", text, retry=not retry_on or "TaskTimedOut" in retry_on)
        body = error_columns(error, obituary.pid, obituary.started, obituary.seconds)
        result = ResultBatch(batch.piece.first + row, batch.piece.epoch, batch.piece.attempt, bytes([status]), body)
        self._outbox.add(result, now)

    def _requeue_behind(self, slot: Slot, seq: int) -> None:
        for piece in reversed(slot.cut_behind(seq)):
            self.queue.prepend(piece)

    def _say(self, text: str) -> None:
        self.wanted.append(Say("warning", text))
