"""What each slot is given: how much of the queue, and what has to wait until enough slots are free. PURE.

Shares the crew's slots, queue, pace and jobs, and changes only the queue and what its slots hold. The crew owes
``hand_out`` in each turn in which something is queued, with the slots that may be given rows.

Rows leave the queue in its order. A task that takes several slots waits at its head until they are free, and nothing
passes it: so it is never starved, and it starves nobody for longer than what runs takes.
"""

from cyclone.controller.actions import Execute, RetireWorker
from cyclone.controller.job_book import JobBook
from cyclone.controller.options import AgentOptions
from cyclone.controller.slots import Phase, Slot, settle, taken
from cyclone.controller.watch import Published
from cyclone.controller.work import Pace, WorkQueue

# Work per batch to a worker, and work held per worker. A batch costs its worker and this process about 0.5 ms together,
# measured between busy workers that leave it a cold cache, so 50 ms of work keep that at 1 %. Nobody waits for the rest
# of a batch: it is taken back for an idle worker, and what is finished is reported from behind a long task.
BATCH_S = 0.05
PREFETCH_S = 0.2
# Less work than this is not shared: by the time another worker had its part, the first one would be through with it.
SHARED_S = 0.0005
ROWS_PER_BATCH_MAX = 4096
# A worker gets its next batch when so much of the last one is left: our own latency is hidden by then, and the later a
# batch is handed out, the less can get stuck behind a long task, or has to wait while the worker makes up for it.
AHEAD_S = 0.01

Wanted = list[Execute | RetireWorker]


class HandOut:
    """``at`` is when a worker is about to have so little left that it should be given more."""

    def __init__(self, slots: list[Slot], queue: WorkQueue, pace: Pace, jobs: JobBook, options: AgentOptions) -> None:
        self._slots = slots
        self._queue = queue
        self._pace = pace
        self._jobs = jobs
        self._options = options
        self.at: float | None = None

    def usable(self, slots: list[Slot]) -> int:
        """How many of these workers can have rows at the same time, each with rows that take one slot."""
        withheld = taken(self._slots) - len([slot for slot in self._slots if slot.batches])
        active = len([slot for slot in slots if not slot.rest_until_s])
        return max(0, min(active, self._options.worker_count - withheld))

    def hand_out(self, ready: list[Slot], progress: Published, now: float) -> Wanted:
        """So that all who share the rest are through with it at the same moment."""
        wanted: Wanted = []
        mean_s = self._pace.overall_s
        sharers = max(1, self.usable(ready))
        fair = -(-(len(self._queue) + sum([slot.unreported for slot in ready])) // sharers)
        least = max(1, int(SHARED_S / mean_s)) if mean_s else 1
        self._to_idle(ready, max(fair, least), now, wanted)
        # A second batch at a worker hides our own latency; for tasks of a while it would only be taken back.
        if mean_s is None or mean_s >= PREFETCH_S:
            return wanted
        single = [slot for slot in ready if len(slot.batches) == 1 and slot.unreported < fair and not slot.alone]
        for slot in single:
            if slot.feed_at <= now:
                slot.feed_at = now + self._work_left_s(slot, progress) - AHEAD_S
            due = slot.feed_at <= now and self._queue and not self._head_goes_alone()
            if due and not self._retire(slot, now, wanted):
                self._execute(slot, max(fair - slot.unreported, least), wanted)
        waits = [slot.feed_at for slot in single if slot.feed_at > now]
        if self._queue and waits:
            # A turn costs 0.1 ms: there will be another one by then, if not this one.
            self.at = min(waits) + AHEAD_S / 2
        return wanted

    def _to_idle(self, ready: list[Slot], share: int, now: float, wanted: Wanted) -> None:
        # The rest of the idle ones are spare.
        free = self._options.worker_count - taken(self._slots)
        for slot in ready:
            if not self._queue or free <= 0:
                return
            if slot.batches:
                continue
            # What wants more slots than there are has to do with all of them: here it would wait for ever.
            cpus = min(self._jobs[self._queue.head().runs[0][0]].cpus, self._options.worker_count)
            if cpus > free:
                return
            free -= cpus
            if not self._retire(slot, now, wanted):
                settle(slot, self._slots, self._options.worker_count)
                self._execute(slot, share, wanted)
                slot.cpus = cpus

    def _head_goes_alone(self) -> bool:
        return self._jobs.goes_alone(self._queue.head().runs[0][0])

    def _work_left_s(self, slot: Slot, progress: Published) -> float:
        """For about how long a worker has rows behind the one that it is in: that may end at any moment."""
        mean_s = self._pace.overall_s or 0.0
        left_s = slot.unreported * mean_s
        if left_s <= AHEAD_S:
            return left_s
        # A look into its words costs a microsecond; where tasks are short it would be one at every turn.
        seen = progress.get(slot.worker)
        started = max(seen.seq if seen else 0, slot.batches[0].base)
        return (slot.next_seq - 1 - started) * mean_s

    def _execute(self, slot: Slot, share: int, wanted: Wanted) -> None:
        head = self._queue.head()
        rows = self._pace.rows_within(head, BATCH_S, min(share, ROWS_PER_BATCH_MAX))
        slot.alone = self._jobs.goes_alone(head.runs[0][0])
        piece = self._queue.take(self._jobs.rows_together(head, rows))
        new_jobs = slot.tell([self._jobs[job] for job in dict.fromkeys([job for job, _ in piece.runs])])
        wanted.append(Execute(slot.worker, slot.give(piece), piece, new_jobs, slot.place))

    def _retire(self, slot: Slot, now: float, wanted: Wanted) -> bool:
        worn = 0 < self._options.worker_max_tasks < slot.next_seq
        if worn and not slot.batches:
            slot.phase, slot.kill_at = Phase.ENDING, now + self._options.kill_grace_s
            wanted.append(RetireWorker(slot.worker))
        return worn
