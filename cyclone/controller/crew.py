"""The controller's workers: what each slot is given, and what becomes of it. PURE.

Owns the slots, the queue of leased tasks and the pace at which tasks run. Results go into the outbox that it was given;
what it wants done gathers in ``wanted``, what must be handed back to the master in ``given_up``, and how that had run
where it was ended by force in ``stopped``: the agent takes all three after each call.
"""

import math
from dataclasses import dataclass

from cyclone.controller.actions import Action, KillWorker, Say, StartWorker
from cyclone.controller.handout import PREFETCH_S, HandOut
from cyclone.controller.job_book import JobBook
from cyclone.controller.options import AgentOptions
from cyclone.controller.outbox import Outbox
from cyclone.controller.pipe import Done
from cyclone.controller.slots import Batch, Phase, Slot, resting, taken
from cyclone.controller.stops import Stops
from cyclone.controller.watch import LOOK_S, Published, Watch
from cyclone.controller.work import Pace, WorkQueue, coalesce, overlap
from cyclone.protocol import states
from cyclone.protocol.messages import ErrorRecord, ResultBatch, Stopped, TaskRange
from cyclone.protocol.runs import Runs
from cyclone.results import error_columns

PREFETCH_MAX = 16384
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
        self.slots = [Slot(worker, worker) for worker in range(options.worker_count + options.spare_workers)]
        self.queue = WorkQueue()
        self.pace = Pace()
        self.jobs = JobBook()
        self.handout = HandOut(self.slots, self.queue, self.pace, self.jobs, options)
        self.watch = Watch(self.slots, self.queue, self.pace, self.jobs, options)
        self.stops = Stops(self.slots, self.queue)
        self.wanted: list[Action] = []
        self.given_up: list[TaskRange] = []
        self.stopped: list[Stopped] = []
        self._options = options
        self._outbox = outbox
        self._spare_from: float | None = None
        self._looked_at = 0.0
        self._resting: list[Slot] = []

    @property
    def busy(self) -> int:
        """Slots that are not free: with work, needed by it besides, or at rest after it."""
        return taken(self.slots)

    @property
    def resting(self) -> int:
        """Those of them that rest."""
        return resting(self.slots) if self._resting else 0

    @property
    def working(self) -> bool:
        """Whether a worker has rows."""
        return any(slot.batches for slot in self.slots)

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
        ready = self.handout.usable(self._ready())
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

    def running(self, progress: Published) -> list[TaskRange]:
        """What of it workers execute at this moment."""
        ranges = []
        for slot in self.slots:
            seen = progress.get(slot.worker) if slot.batches else None
            part = slot.range_at(seen.seq) if seen and seen.executing else None
            if part:
                ranges.append(part)
        return coalesce(ranges)

    def jobs_here(self) -> set[int]:
        """The jobs of what is held."""
        return {job for _, runs in self._held_with_runs() for job, _ in runs}

    def deadlines(self, draining: bool) -> list[float | None]:
        """When something here is due."""
        times = [self.watch.at, self.stops.at, self.handout.at, *(slot.rest_until_s for slot in self._resting)]
        for slot in self._leaving():
            if slot.phase is Phase.ENDING:
                times.append(slot.kill_at)
            elif not draining:
                times.append(self._start_at(slot))
        return times

    def _ready(self) -> list[Slot]:
        ready = Phase.READY
        return [slot for slot in self.slots if slot.phase is ready]

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
            piece, busy_s = batch.piece, done.busy_s
            self._outbox.add(ResultBatch(first, piece.epoch, piece.attempt, done.statuses, done.body, busy_s), now)
            slot.reported(rows)
            rest_s = self._rest(slot, piece.job_at(start), done.statuses[0], now) if slot.alone else 0.0
            # For how much work a worker can have, a rest is as good as a task that takes longer.
            self.pace.learn(piece.runs, rows, busy_s + rest_s)
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
            was_last = executing and batch.base + len(batch.piece) - 1 == seq
            charged = was_last and not self.stops.concerns(last)
            if charged:
                self._charge(slot, batch, cause, obituary, now)
            elif was_last:
                run = obituary.pid, obituary.started, max(0.0, obituary.seconds)
                self.stopped.append(Stopped(last.first, last.epoch, last.attempt, *run))
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
        """Start what is missing, kill what will not end by itself, and end the rest of who has rested."""
        for slot in self._resting:
            if slot.rest_until_s <= now:
                slot.rest_until_s = 0.0
        if self._resting:
            self._resting = [slot for slot in self._resting if slot.rest_until_s]
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
        ready = [slot for slot in self._ready() if not slot.taking_back and not slot.rest_until_s]
        self.handout.at = None
        if self.queue and ready:
            self.wanted += self.handout.hand_out(ready, progress, now)
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
        """What is held is for another master's journal: end the workers, drop the rest.

        Those that idle, too: what they have prepared for a job they would take for that of the new one's job of its
        number.
        """
        self.queue.clear()
        self.jobs.clear()
        for slot in self.slots:
            slot.clear()
            if slot.phase is Phase.READY:
                slot.phase, slot.kill_at = Phase.ENDING, now + 1.0
                self.wanted.append(KillWorker(slot.worker))

    def _charge(self, slot: Slot, batch: Batch, cause: str, obituary: Obituary, now: float) -> None:
        """The row that the worker died in gets its outcome: a limit that it exceeded when that was us, else a crash."""
        row = len(batch.piece) - 1
        job = batch.piece.job_at(row)
        status, error = states.CRASHED, ErrorRecord("WorkerDied", cause)
        if slot.ending_seq == batch.base + row:
            status, error = self._over_limit(slot.ending_setup, batch, row)
        body = error_columns(error, obituary.pid, obituary.started, obituary.seconds)
        piece, busy_s = batch.piece, max(0.0, obituary.seconds)
        self._outbox.add(ResultBatch(piece.first + row, piece.epoch, piece.attempt, bytes([status]), body, busy_s), now)
        if slot.alone:
            self._rest(slot, job, status, now)

    def _over_limit(self, in_setup: bool, batch: Batch, row: int) -> tuple[int, ErrorRecord]:
        status, kind = states.TIMED_OUT, "TaskTimedOut"
        text = f"exceeded its time limit of {self.watch.time_limit_s(batch.piece, row):g} s"
        if in_setup:
            status, kind = states.SETUP_FAILED, "SetupTimedOut"
            text = f"its preparation took longer than [processing] setup_limit, {self._options.setup_limit_s:g} s"
        retry_on = self.jobs[batch.piece.job_at(row)].retry_on
        return status, ErrorRecord(kind, text, retry=not retry_on or kind in retry_on)

    def _rest(self, slot: Slot, job: int, status: int, now: float) -> float:
        """Its task is over: the slots that it took do nothing for so many seconds, 0 where its job wants none."""
        wait_s = self.jobs.wait_s(job, status)
        if wait_s:
            slot.rest_until_s = now + wait_s
            self._resting.append(slot)
        return wait_s

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
