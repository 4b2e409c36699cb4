"""Watching the running tasks: time limits, results stuck behind a long task, rows stuck behind a long task. PURE.

Looks at what the workers publish and says which of them to interfere with; the agent carries the consequences.
"""

from dataclasses import dataclass
from typing import Protocol

from cyclone.controller.actions import EndTask, Flush, TakeBack
from cyclone.controller.job_book import JobBook
from cyclone.controller.options import AgentOptions
from cyclone.controller.slots import Phase, Slot, taken
from cyclone.controller.work import Pace, Piece, WorkQueue

# A worker that is longer than this in one task is told to report what it finished before.
FLUSH_AFTER_S = 0.005
# Rows are taken back for an idle worker when they would have to wait longer than this: it costs about 0.25 ms.
TAKE_BACK_AFTER_S = 0.002
# Whatever the mean says, the next task may take a thousand times as long. A worker that is in one for longer than this,
# and for several times the usual, is stuck: what waits behind it goes to the others. It is not less, because a worker
# that has to wait for a processor looks the same: with twice as many busy processes as cores, 10 ms took back 30 times
# a second and cost a third of the throughput, 20 ms once or twice and nothing that shows.
STUCK_AFTER_S = 0.02
# From here on it is held up: no more work is asked for on its behalf.
HELD_UP_AFTER_S = 0.05
# Where all tasks take a while, order is worth less than the millisecond that a worker idles with nothing behind it.
UNUSUAL_MEANS = 4.0
# How often running tasks are looked at while something may depend on it.
LOOK_S = 0.02
LOOK_AT_LIMITS_S = 0.02


@dataclass(frozen=True, slots=True)
class Progress:
    """What a worker publishes: the row it executes or executed last, since when, and whether it is in it now.

    ``preparing``: it is in it, and still prepares what the task needs; ``started_s`` is anew when that is over.
    """

    seq: int
    started_s: float
    executing: bool
    preparing: bool = False


class Published(Protocol):
    """Where the workers' progress is read; only who is asked about costs anything."""

    def get(self, worker: int, /) -> Progress | None:
        """The progress of a worker, None where there is no process."""


class Watch:
    """Shares the agent's slots, queue, pace and jobs, and changes only the slots' marks of what it asked for.

    ``at`` is when to look again, ``held_up`` how many workers the last look found in a long task.
    """

    def __init__(self, slots: list[Slot], queue: WorkQueue, pace: Pace, jobs: JobBook, options: AgentOptions) -> None:
        self._slots = slots
        self._queue = queue
        self._pace = pace
        self._jobs = jobs
        self._options = options
        self._progress: Published = dict[int, Progress]()
        self.at: float | None = None
        self.held_up = 0

    def time_limit_s(self, piece: Piece, row: int) -> float:
        """Seconds that a task may run: by its own limit, else its job's, else the controller's; 0 for none."""
        own = piece.limits_s.get(piece.first + row) if piece.limits_s else None
        return self._job_limit_s(piece.job_at(row)) if own is None else own

    def _job_limit_s(self, job: int) -> float:
        own = self._jobs[job].time_limit_s
        return self._options.task_time_limit_s if own is None else own

    def look(self, now: float, progress: Published, draining: bool) -> list[EndTask | Flush | TakeBack]:
        """What to do about the running tasks now."""
        self._progress = progress
        self.at = None
        self.held_up = 0
        actions: list[EndTask | Flush | TakeBack] = []
        for slot in self._slots:
            if slot.phase is not Phase.READY or not slot.batches:
                continue
            seen = progress.get(slot.worker)
            if slot.unreported > 1:
                self._look_again(now + LOOK_S)
            if seen is None or not seen.executing:
                continue
            actions += self._over_time(slot, seen, now)
            actions += self._stuck(slot, seen, now)
            first_unreported = next((b.base + b.reported for b in slot.batches if b.unreported), seen.seq)
            if seen.seq > max(first_unreported, slot.flushed_seq) and now - seen.started_s > FLUSH_AFTER_S:
                slot.flushed_seq = seen.seq
                actions.append(Flush(slot.worker))
        if not self._queue and not draining:
            actions += self._for_idle_workers(now)
        return actions

    def take_back_for_master(self) -> list[TakeBack]:
        """Ask every worker with unstarted rows for them."""
        return [self._take_back(slot) for slot in self._slots if self._unstarted(slot) and not slot.taking_back]

    def _over_time(self, slot: Slot, seen: Progress, now: float) -> list[EndTask]:
        for batch in slot.batches:
            row = seen.seq - batch.base
            if not 0 <= row < len(batch.piece):
                continue
            limit_s = self._options.setup_limit_s if seen.preparing else self.time_limit_s(batch.piece, row)
            if not limit_s:
                if seen.preparing:
                    continue  # it may be over at any moment, and then there may be one
                return []
            if now - seen.started_s > limit_s:
                slot.ending_setup = seen.preparing
                return [EndTask(slot.worker, seen.seq, seen.started_s)]
            self._look_again(min(seen.started_s + limit_s, now + 1.0) + 0.001)
        if any(
            batch.piece.limits_s or any(self._job_limit_s(job) for job, _ in batch.piece.runs) for batch in slot.batches
        ):
            self._look_again(now + LOOK_AT_LIMITS_S)
        return []

    def _stuck(self, slot: Slot, seen: Progress, now: float) -> list[TakeBack]:
        """Take back what waits behind a long task, also while the other workers have enough to do."""
        usual_s = UNUSUAL_MEANS * (self._pace.overall_s or 0.0)
        held_up_at = seen.started_s + max(HELD_UP_AFTER_S, usual_s)
        if held_up_at <= now:
            self.held_up += 1
        waits = not slot.taking_back and slot.next_seq > seen.seq + 1 and self._options.worker_count > 1
        stuck_at = seen.started_s + max(STUCK_AFTER_S, usual_s)
        if waits and stuck_at <= now:
            return [self._take_back(slot)]
        due_at = stuck_at if waits else held_up_at
        if due_at > now:
            # Nearly every row is over by then, and the one behind it has a moment of its own: who has just begun is
            # looked at with all others.
            self._look_again(due_at if now - seen.started_s > LOOK_S / 2 else max(due_at, now + LOOK_S))
        return []

    def _for_idle_workers(self, now: float) -> list[TakeBack]:
        """Take unstarted rows from one busy worker when another has nothing."""
        idle = any(slot.phase is Phase.READY and not (slot.batches or slot.rest_until_s) for slot in self._slots)
        if not idle or taken(self._slots) >= self._options.worker_count:
            return []
        donors = [
            slot for slot in self._slots if slot.phase is Phase.READY and not slot.taking_back and self._unstarted(slot)
        ]
        if not donors:
            return []
        donor = max(donors, key=self._unstarted)
        seen = self._progress.get(donor.worker)
        running_s = now - seen.started_s if seen and seen.executing else 0.0
        expected_s = self._unstarted(donor) * (self._pace.overall_s or 0.0)
        if max(running_s, expected_s) > TAKE_BACK_AFTER_S:
            return [self._take_back(donor)]
        self._look_again(now + TAKE_BACK_AFTER_S)
        return []

    def _take_back(self, slot: Slot) -> TakeBack:
        slot.taking_back = True
        return TakeBack(slot.worker)

    def _unstarted(self, slot: Slot) -> int:
        seen = self._progress.get(slot.worker)
        return slot.unstarted(seen.seq if seen else 0)

    def _look_again(self, at: float) -> None:
        self.at = at if self.at is None else min(self.at, at)
