"""What a master counts, and what it shows of its state: ``cyclone.master.service.Meter``.

Counts by the batch, in the main loop; what the state knows anyway is read once a second. Decides nothing and changes
nothing. The caller owes: one for one service.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import compress
from typing import TYPE_CHECKING

from cyclone.master.events import AttemptsEnded, Recorded, TasksAdded
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.metrics import names
from cyclone.metrics.board import Board, Sheet
from cyclone.metrics.durations import durations
from cyclone.metrics.histogram import Histogram
from cyclone.metrics.labels import ClassLabels
from cyclone.metrics.loop import LoopMeter
from cyclone.metrics.marks import Marks
from cyclone.protocol import states
from cyclone.protocol.job_messages import AnyToClient
from cyclone.protocol.messages import AnyFromMaster, Tasks
from cyclone.results import RecordedBlock

if TYPE_CHECKING:
    from cyclone.master.service import MasterService

# In a block of more tasks than this each took so little that their run is not worth the look: a batch to a worker is
# 50 ms of work.
_ROWS_LOOKED_AT_MAX = 64
_FINAL = [status for status, name in states.STATE_NAMES.items() if name in states.FINAL_STATES]
_RETRY_REASONS = (states.FAILED, states.TIMED_OUT, states.CRASHED, states.LOST)


class MasterMeter:
    """See the module. ``generator`` names its class, ``journal_bytes`` tells how large the journal is."""

    def __init__(self, board: Board, generator: str, journal_bytes: Callable[[], int]) -> None:
        self._loop = LoopMeter(board)
        self._generator = generator
        self._journal_bytes = journal_bytes
        self._labels = ClassLabels()
        self._submitted: Counter[int] = Counter()
        self._finished: Counter[tuple[str, int]] = Counter()
        self._retries: Counter[int] = Counter()
        self._resends = 0
        self._marks = Marks(time.monotonic())
        self._wait = Histogram(names.WAIT.bounds)
        self._overhead = Histogram(names.OVERHEAD.bounds)
        self._fsync = Histogram(names.JOURNAL_FSYNC.bounds)
        self._returned: tuple[int, float] | None = None
        self._progress: GeneratorProgress | None = None
        self._active_at = time.time()
        self._is_failing = False

    # What the service tells.

    def appended(self, events: Iterable[Recorded]) -> None:
        """These are recorded."""
        self._is_failing = False
        for event in events:
            if type(event) is TasksAdded:
                self._marks.offered(event.first, time.monotonic())
                for job, count in event.runs:
                    self._submitted[job] += count
            elif type(event) is AttemptsEnded:
                self._retries[event.status] += event.count

    def synced(self, seconds: float) -> None:
        """The journal has waited for the disk."""
        self._fsync.observe(seconds)

    def failing(self, service: "MasterService") -> None:
        """Nothing could be recorded. The loop stands still until it can be, so this is shown at once."""
        self._is_failing = True
        self._show(service)

    def sent(self, message: AnyFromMaster | AnyToClient) -> None:
        """Leases end a wait, or are another try."""
        if type(message) is not Tasks:
            return
        now = time.monotonic()
        for batch in message.batches:
            if batch.attempt == 1:
                self._wait.observe(now - self._marks.offered_at(batch.first), len(batch.args))
            else:
                self._resends += len(batch.args)

    def recorded(self, block: RecordedBlock) -> None:
        """Results, by class and outcome."""
        statuses, accepted, label = block.statuses, block.accepted, self._labels.of
        if accepted is None and statuses.count(states.COMPLETED) == len(statuses):
            for task_class, count in block.runs:
                self._finished[label(task_class), states.COMPLETED] += count
            return
        row = 0
        for task_class, count in block.runs:
            part = statuses[row : row + count]
            if accepted is not None:
                part = bytes(compress(part, accepted[row : row + count]))
            for status in set(part):
                self._finished[label(task_class), status] += part.count(status)
            row += count

    def delivered(self, block: RecordedBlock, leased_at: float) -> None:
        """The overhead of a lease of this epoch: what of its time was not the task's own."""
        taken_s, run_s = time.monotonic() - leased_at, 0.0
        rows = len(block.statuses)
        if rows <= _ROWS_LOOKED_AT_MAX and (seconds := durations(block.body, rows)):
            run_s = sum(seconds) / rows
        self._overhead.observe(max(0.0, taken_s - run_s), block.count())

    def turn(self, service: "MasterService") -> None:
        """A turn of the loop has ended."""
        if self._loop.turned(service.woke_at):
            self._show(service)

    # What is shown.

    def _show(self, service: "MasterService") -> None:
        sheet = Sheet()
        self._put_tasks(sheet, service)
        self._put_counts(sheet, service)
        self._put_controllers(sheet, service)
        self._put_generator(sheet, service)
        sheet.put(names.JOURNAL_FSYNC, self._fsync.buckets())
        sheet.put(names.JOURNAL_BYTES, self._journal_bytes())
        sheet.put(names.JOURNAL_FAILING, float(self._is_failing))
        for sink in service.sinks.status():
            sheet.put(names.SINK_ATTACHED, float(sink.attached), sink.name)
            sheet.put(names.SINK_LAG, sink.lag, sink.name)
            sheet.put(names.SINK_FULL, float(bool(sink.full)), sink.name)
            sheet.put(names.SINK_LOST, sink.gone, sink.name)
        self._loop.show(sheet, service.traffic, service.bad_messages)

    def _put_tasks(self, sheet: Sheet, service: "MasterService") -> None:
        state = service.scheduler.state
        sheet.put(names.TASKS, state.lanes.waiting, "queued")
        sheet.put(names.TASKS, state.sessions.delayed.open, "delayed")
        sheet.put(names.TASKS, service.scheduler.leased_tasks, "leased")
        sheet.put(names.OLDEST_QUEUED, self._oldest_s(service, time.monotonic()))
        sheet.put(names.WAIT, self._wait.buckets())
        sheet.put(names.OVERHEAD, self._overhead.buckets())

    def _oldest_s(self, service: "MasterService", now: float) -> float:
        """Of what was given back, only what comes next is known, and from the first look at it on."""
        lanes = service.scheduler.state.lanes
        since = now
        if returned := min((span.first for lane in lanes if (span := lane.next_returned())), default=0):
            if self._returned is None or self._returned[0] != returned:
                self._returned = (returned, now)
            since = self._returned[1]
        else:
            self._returned = None
        first = min((new for lane in lanes if (new := lane.next_new())), default=0)
        return now - min(since, self._marks.offered_at(first) if first else now)

    def _put_counts(self, sheet: Sheet, service: "MasterService") -> None:
        jobs = service.scheduler.state.jobs
        submitted: Counter[str] = Counter()
        for job, count in self._submitted.items():
            submitted[self._labels.of(jobs[job].task_class)] += count
        for task_class, count in submitted.items():
            sheet.put(names.SUBMITTED, count, task_class)
        # Each outcome from the beginning: Prometheus cannot see a counter rise that was not there before.
        for task_class in {*submitted, *(task_class for task_class, _ in self._finished)}:
            for status in _FINAL:
                sheet.put(names.FINISHED, self._finished[task_class, status], task_class, states.STATE_NAMES[status])
        for status in _RETRY_REASONS:
            sheet.put(names.RETRIES, self._retries[status], states.STATE_NAMES[status])
        sheet.put(names.RESENDS, self._resends)
        sheet.put(names.DUPLICATES, service.scheduler.passed_over)

    def _put_controllers(self, sheet: Sheet, service: "MasterService") -> None:
        state = service.scheduler.state
        counts = dict.fromkeys(("connected", "drained", "suspected", "unreachable", "awaited"), 0)
        slots = dict.fromkeys(("busy", "free", "drained"), 0)
        for session in state.sessions.by_id.values():
            if session.drained:
                kind = "drained"
            elif session.suspected:
                kind = "suspected"
            else:
                kind = "connected" if session.reachable else "unreachable"
            counts[kind] += 1
            busy = min(session.open, session.slots)
            slots["busy"] += busy
            slots["drained" if session.drained else "free"] += session.slots - busy
        counts["awaited"] = len(state.awaited)
        for kind, count in counts.items():
            sheet.put(names.CONTROLLERS, count, kind)
        for kind, count in slots.items():
            sheet.put(names.SLOTS, count, kind)
        sheet.put(names.AUTH_FAILURES, service.refused_connections)

    def _put_generator(self, sheet: Sheet, service: "MasterService") -> None:
        progress, source = service.scheduler.state.progress, service.source
        if progress != self._progress:
            self._active_at = self._active_at if self._progress is None else time.time()
            self._progress = progress
        name = self._generator
        is_up = progress.exhausted if source is None else source.failure is None
        sheet.put(names.GENERATOR_UP, float(is_up), name)
        sheet.put(names.GENERATOR_EXHAUSTED, float(progress.exhausted), name)
        sheet.put(names.GENERATOR_EMITTED, progress.pulled, name)
        sheet.put(names.GENERATOR_ACTIVITY, self._active_at, name)
        sheet.put(names.GENERATOR_BACKLOG, service.scheduler.backlog_bytes, name)
