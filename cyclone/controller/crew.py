"""The controller's workers: what each slot is given, and what becomes of it. PURE.

Owns the slots, the queue of leased tasks and the pace at which tasks run. Results go into the outbox that it was given;
what it wants done gathers in ``wanted``, and what must be handed back to the master in ``given_up``: the agent takes
both after each call.
"""

import math
from dataclasses import dataclass

from cyclone.controller.actions import Action, Execute, KillWorker, RetireWorker, Say, StartWorker
from cyclone.controller.options import AgentOptions
from cyclone.controller.outbox import Outbox
from cyclone.controller.pipe import Done
from cyclone.controller.slots import Batch, Phase, Slot
from cyclone.controller.stops import Stops
from cyclone.controller.watch import LOOK_S, Published, Watch
from cyclone.controller.work import Pace, WorkQueue, overlap
from cyclone.protocol import states
from cyclone.protocol.messages import ErrorRecord, Job, ResultBatch, TaskRange
from cyclone.protocol.runs import Runs
from cyclone.results import error_columns

# Work per batch to a worker, and work held per worker. A batch costs its worker and this process about 0.5 ms together,
# measured between busy workers that leave it a cold cache, so 50 ms of work keep that at 1 %. Nobody waits for the rest
# of a batch: it is taken back for an idle worker, and what is finished is reported from behind a long task.
BATCH_S = 0.05
PREFETCH_S = 0.2
# Less work than this is not shared: by the time another worker had its part, the first one would be through with it.
SHARED_S = 0.0005
ROWS_PER_BATCH_MAX = 4096
PREFETCH_MAX = 16384
# A worker gets its next batch when so much of the last one is left: our own latency is hidden by then, and the later a
# batch is handed out, the less can get stuck behind a long task, or has to wait while the worker makes up for it.
AHEAD_S = 0.01
# What workers gave back is handed out in the next turn, for which nothing else may come soon.
NEXT_TURN_S = 0.0005
# Tasks at least this long are never held beyond the free workers.
LONG_TASK_S = 1.0
# A look at a running task costs 2.5 us, so for each 16 workers looks are so far apart, if nobody idles.
LOOK_APART_S = 0.0004
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
        self._hand_out_at: float | None = None
        self._looked_at = 0.0

    @property
    def busy(self) -> int:
        """Slots with work."""
        return len([slot for slot in self.slots if slot.batches])

    @property
    def starving(self) -> bool:
        """Whether a worker has nothing to do, and nothing is here for it."""
        return not self.queue and self.busy < self.live

    @property
    def live(self) -> int:
        """Slots with a worker process that runs or can run tasks, as many of them as are used at once."""
        ready, ending = Phase.READY, Phase.ENDING
        live = len([slot for slot in self.slots if slot.phase is ready or slot.phase is ending])
        return min(live, self._options.worker_count)

    def room(self) -> int:
        """How many more tasks keep the ready workers busy over a round trip to the master; may be negative."""
        ready = self._usable()
        mean_s = self.pace.overall_s
        if mean_s is None or mean_s >= LONG_TASK_S:
            window = ready
        else:
            # Nobody knows when a worker that is held up will be free again: the task that it is in, and no other.
            held_up = min(self.watch.held_up, ready)
            window = held_up + (ready - held_up) * min(max(2, int(PREFETCH_S / mean_s)), PREFETCH_MAX)
        return window - len(self.queue) - sum([slot.unreported for slot in self.slots])

    def held(self) -> list[TaskRange]:
        """What is queued here or out at a worker."""
        ranges = [piece.range(0, len(piece)) for piece in self.queue]
        for slot in self.slots:
            ranges += slot.held()
        return ranges

    def deadlines(self, draining: bool) -> list[float | None]:
        """When something here is due."""
        times = [self.watch.at, self.stops.at, self._hand_out_at]
        for slot in self._leaving():
            if slot.phase is Phase.ENDING:
                times.append(slot.kill_at)
            elif not draining:
                times.append(self._start_at(slot))
        return times

    def _ready(self) -> list[Slot]:
        ready = Phase.READY
        return [slot for slot in self.slots if slot.phase is ready]

    def _usable(self) -> int:
        """How many workers can have rows at the same time."""
        return min(len(self._ready()), self._options.worker_count)

    def _leaving(self) -> list[Slot]:
        """Slots without a worker, or with one that is being ended."""
        ready, starting = Phase.READY, Phase.STARTING
        return [slot for slot in self.slots if slot.phase is not ready and slot.phase is not starting]

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
            slot.reported(rows)
            self.pace.learn(batch.piece.runs, rows, done.busy_s)
        if done.ended:
            slot.ended()
            slot.taking_back = slot.taking_back and bool(slot.batches)
            if batch.unreported:
                self.given_up.append(batch.piece.range(batch.reported, len(batch.piece)))

    def exited(self, worker: int, seq: int, executing: bool, cause: str, obituary: Obituary, now: float) -> None:
        """A worker process is gone, with all that it did not report. ``seq`` is the last row that it published."""
        slot = self.slots[worker]
        self._requeue_behind(slot, seq, now)
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
        slot.clear()
        slot.taking_back = False
        if slot.phase is Phase.STARTING:
            slot.failed_starts += 1
            self._say(f"worker={worker} ended before it was ready: {cause}")
        slot.phase = Phase.DEAD
        wait_s = START_WAIT_S * 2 ** min(slot.failed_starts - 1, 16) if slot.failed_starts else 0.0
        slot.start_at = now + min(wait_s, START_WAIT_MAX_S)

    def taken_back(self, worker: int, seq: int | None, now: float) -> None:
        """Rows behind ``seq`` will not be started by this worker; None: it could not be stopped."""
        slot = self.slots[worker]
        if seq is None:
            slot.taking_back = False
            return
        self._requeue_behind(slot, seq, now)
        slot.taking_back = bool(slot.batches)

    def task_ending(self, worker: int, seq: int, now: float) -> None:
        """The worker got SIGTERM while it executed this row, and will start no other."""
        slot = self.slots[worker]
        slot.phase, slot.ending_seq = Phase.ENDING, seq
        slot.kill_at = now + self._options.kill_grace_s
        part = slot.range_at(seq)
        if part and not self.stops.allows_grace(part):
            self.wanted.append(KillWorker(worker))
        self.taken_back(worker, seq, now)

    # What workers get.

    def keep_up(self, now: float, draining: bool) -> None:
        """Start what is missing, and kill what will not end by itself."""
        if self._spare_from is None and self.live == self._options.worker_count:
            self._spare_from = now + SPARE_AFTER_S
        for slot in self._leaving():
            due = None if draining or slot.phase is not Phase.DEAD else self._start_at(slot)
            if due is not None and due <= now:
                slot.restart()
                self.wanted.append(StartWorker(slot.worker))
            elif slot.phase is Phase.ENDING and (slot.kill_at <= now or (slot.ending_seq and not slot.batches)):
                slot.kill_at = now + 1.0
                self.wanted.append(KillWorker(slot.worker))

    def _start_at(self, slot: Slot) -> float | None:
        """When a worker is to be started here; None for a spare one while the others are not there yet."""
        started = [other for other in self.slots if other.phase is not Phase.DEAD]
        if len(started) < self._options.worker_count:
            return slot.start_at
        if self._spare_from is None or any(other.phase is Phase.STARTING for other in started):
            return None
        return max(slot.start_at, self._spare_from)

    def feed(self, now: float, progress: Published, draining: bool) -> None:
        """Hand out queued rows, and look after those that run."""
        self.given_up += self.stops.out_of_the_queue()
        ready = [slot for slot in self._ready() if not slot.taking_back]
        sharers = min(len(ready), self._options.worker_count)
        self._hand_out_at = None
        if self.queue and ready:
            self._hand_out(ready, sharers, progress, now)
        self.wanted += self.stops.look(now, progress)
        if not self._looks_later(ready, now):
            self._looked_at = now
            self.wanted += self.watch.look(now, progress, draining)

    def _looks_later(self, ready: list[Slot], now: float) -> bool:
        """Whether the last look was a moment ago, so that the running tasks of many workers need none in this turn."""
        at, watch = self._looked_at + LOOK_APART_S * (len(self.slots) // 16), self.watch
        if now >= at or (watch.at is not None and watch.at <= now):
            return False
        if not self.queue and not all([slot.batches for slot in ready]):
            return False
        watch.at = min(watch.at or math.inf, self._looked_at + LOOK_S)
        return True

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
                slot.clear()
                slot.phase, slot.kill_at = Phase.ENDING, now + 1.0
                self.wanted.append(KillWorker(slot.worker))

    def _hand_out(self, ready: list[Slot], sharers: int, progress: Published, now: float) -> None:
        """So that all who share the rest are through with it at the same moment."""
        mean_s = self.pace.overall_s
        fair = -(-(len(self.queue) + sum([slot.unreported for slot in ready])) // sharers)
        least = max(1, int(SHARED_S / mean_s)) if mean_s else 1
        idle = [slot for slot in ready if not slot.batches]
        # The rest of the idle ones are spare.
        for slot in idle[: self._options.worker_count - self.busy]:
            if self.queue and not self._retire(slot, now):
                self._execute(slot, max(fair, least))
        # A second batch at a worker hides our own latency; for tasks of a while it would only be taken back.
        if mean_s is None or mean_s >= PREFETCH_S:
            return
        single = [slot for slot in ready if len(slot.batches) == 1 and slot.unreported < fair]
        for slot in single:
            if slot.feed_at <= now:
                slot.feed_at = now + self._work_left_s(slot, progress) - AHEAD_S
            if slot.feed_at <= now and self.queue and not self._retire(slot, now):
                self._execute(slot, max(fair - slot.unreported, least))
        waits = [slot.feed_at for slot in single if slot.feed_at > now]
        if self.queue and waits:
            # A turn costs 0.1 ms: there will be another one by then, if not this one.
            self._hand_out_at = min(waits) + AHEAD_S / 2

    def _work_left_s(self, slot: Slot, progress: Published) -> float:
        """For about how long a worker has rows behind the one that it is in: that may end at any moment."""
        mean_s = self.pace.overall_s or 0.0
        left_s = slot.unreported * mean_s
        if left_s <= AHEAD_S:
            return left_s
        # A look into its words costs a microsecond; where tasks are short it would be one at every turn.
        seen = progress.get(slot.worker)
        started = max(seen.seq if seen else 0, slot.batches[0].base)
        return (slot.next_seq - 1 - started) * mean_s

    def _execute(self, slot: Slot, share: int) -> None:
        rows = self.pace.rows_within(self.queue.head(), BATCH_S, min(share, ROWS_PER_BATCH_MAX))
        piece = self.queue.take(rows)
        new_jobs = dict.fromkeys(job for job, _ in piece.runs if job not in slot.jobs)
        slot.jobs.update(new_jobs)
        self.wanted.append(Execute(slot.worker, slot.give(piece), piece, [self.jobs[job] for job in new_jobs]))

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

    def _requeue_behind(self, slot: Slot, seq: int, now: float) -> None:
        sharers = max(1, len(self._ready()) - 1)
        for piece in reversed(slot.cut_behind(seq)):
            # In a part for each of the others, who have enough to do already.
            rows = -(-len(piece) // sharers)
            for start in reversed(range(0, len(piece), rows)):
                self.queue.prepend(piece.part(start, min(start + rows, len(piece))))
            self.watch.at = now + NEXT_TURN_S

    def _say(self, text: str) -> None:
        self.wanted.append(Say("warning", text))
