"""What a controller counts, and what it shows of its agent: ``cyclone.controller.service.Meter``.

Counts by the batch, in the main loop; what the agent knows anyway is read once a second. Decides nothing and changes
nothing.
"""

from collections import Counter
from typing import TYPE_CHECKING

from cyclone.controller.agent import Agent
from cyclone.controller.pipe import Done
from cyclone.controller.slots import Phase
from cyclone.controller.watch import Progress
from cyclone.metrics import names
from cyclone.metrics.board import Board, Sheet
from cyclone.metrics.durations import durations
from cyclone.metrics.histogram import Histogram
from cyclone.metrics.labels import ClassLabels
from cyclone.metrics.loop import LoopMeter
from cyclone.protocol.runs import slice_runs

if TYPE_CHECKING:
    from cyclone.controller.service import ControllerService

# Tasks that take less than this on average are not looked at one by one, which would cost them up to 1 %: they all
# count as what they are on average.
_LOOK_FROM_S = 50e-6
# Those that are usual.
_DEATHS = ("retired", "ended", "killed", "exited", "SIGKILL", "SIGSEGV")


class ControllerMeter:
    """See the module. ``node`` is the controller's name."""

    def __init__(self, board: Board, node: str) -> None:
        self._loop = LoopMeter(board)
        self._node = node
        self._labels = ClassLabels()
        self._runs: dict[str, Histogram] = {}
        # From the beginning: Prometheus cannot see a counter rise that was not there before.
        self._deaths = Counter(dict.fromkeys(_DEATHS, 0))

    def reported(self, agent: Agent, worker: int, report: Done) -> None:
        """How long rows took; what the agent is about to refuse counts for nothing."""
        rows, slot = len(report.statuses), agent.crew.slots[worker]
        if not rows or not slot.batches:
            return
        batch = slot.batches[0]
        start = report.base - batch.base
        if start != batch.reported or start + rows > len(batch.piece):
            return
        mean_s = report.busy_s / rows
        seconds = durations(report.body, rows) if mean_s >= _LOOK_FROM_S and rows > 1 else None
        row = 0
        for job, count in slice_runs(batch.piece.runs, start, start + rows):
            histogram = self._histogram(agent.crew.jobs[job].task_class)
            if seconds is None:
                histogram.observe(mean_s, count)
            else:
                histogram.observe_each(seconds[row : row + count])
            row += count

    def worker_ended(self, agent: Agent, worker: int, reason: str, seen: Progress, running_s: float) -> None:
        """Counted by reason; and how long the task ran that was in it."""
        self._deaths[reason] += 1
        for batch in agent.crew.slots[worker].batches:
            row = seen.seq - batch.base
            if seen.executing and batch.reported <= row < len(batch.piece):
                self._histogram(agent.crew.jobs[batch.piece.job_at(row)].task_class).observe(running_s)

    def turn(self, service: "ControllerService") -> None:
        """A turn of the loop has ended."""
        if self._loop.turned(service.woke_at):
            self._show(service)

    def _histogram(self, task_class: str) -> Histogram:
        label = self._labels.of(task_class)
        if label not in self._runs:
            self._runs[label] = Histogram(names.RUN.bounds)
        return self._runs[label]

    def _show(self, service: "ControllerService") -> None:
        sheet, agent = Sheet(), service.agent
        sheet.put(names.CONTROLLER_INFO, 1.0, self._node)
        sheet.put(names.MASTER_CONNECTED, float(agent.link.session is not None))
        counts = dict.fromkeys(("starting", "idle", "busy", "ending", "dead"), 0)
        for slot in agent.crew.slots:
            busy_or_idle = "busy" if slot.batches else "idle"
            counts[busy_or_idle if slot.phase is Phase.READY else slot.phase.value] += 1
        for state, count in counts.items():
            sheet.put(names.WORKERS, count, state)
        for reason, count in self._deaths.items():
            sheet.put(names.WORKER_DEATHS, count, reason)
        for label, histogram in self._runs.items():
            sheet.put(names.RUN, histogram.buckets(), label)
        sheet.put(names.OUTBOX, sum(part.count for part in agent.outbox.held()))
        sheet.put(names.OUTPUT_BYTES, service.output.kept_bytes)
        sheet.put(names.OUTPUT_DROPPED, service.output.dropped_bytes + service.discarded_bytes)
        self._loop.show(sheet, service.traffic, service.bad_messages)
