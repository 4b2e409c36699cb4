"""The invariants of the processes and of time: order, memory, latency, progress, and that nothing is left. PURE.

Like ``checks``: a text for each violation. ``redispatch`` also gives the figures that the verdict prints.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.checks import WIRE_SLACK_NS
from tests.chaos.evidence import NS, Evidence, Fault
from tests.chaos.excuses import HARMLESS, Excuses
from tests.chaos.history import Execution
from tests.chaos.plan import LONG_MS

DESCRIPTORS_MAX = 200
# A busy machine with two cores adds its own to what is promised.
MACHINE_SLACK_S = 2.0
_TASK_S_MAX = 2.0
_AFTERMATH_S = 2.0
IDLE_S_MAX = 12.0
END_S_MAX = 15.0


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a task whose worker or controller was killed waited for its next start."""

    fault: Fault
    task: int
    seconds: float
    disturbed: bool


def nothing_left(evidence: Evidence) -> Iterator[str]:
    """I6: five seconds after the end no process and no folder is left."""
    yield from evidence.leftovers


def memory_bounded(evidence: Evidence) -> Iterator[str]:
    """I7: the master's memory and descriptors have a bound that does not depend on the number of tasks."""
    bound = evidence.about.rss_max_bytes
    for sample in evidence.samples:
        if sample.rss_bytes > bound:
            yield f"master {sample.pid} has {sample.rss_bytes >> 20} MiB, more than {bound >> 20}"
        if sample.descriptors > DESCRIPTORS_MAX:
            yield f"master {sample.pid} has {sample.descriptors} open descriptors, more than {DESCRIPTORS_MAX}"


def redispatch(evidence: Evidence) -> list[Wait]:
    """For each task that was running when its worker or its controller was killed: when it started again."""
    unfinished: dict[str, list[Execution]] = {}
    for execution in evidence.executions:
        if execution.ended_ns is None:
            unfinished.setdefault(execution.node, []).append(execution)
    by_number, waits = evidence.by_number(), []
    interrupted = {execution.task_id for executions in unfinished.values() for execution in executions}
    leases: dict[int, list[tuple[int, str]]] = {}
    for lease in evidence.leases:
        for task_id in interrupted.intersection(range(lease.first, lease.first + lease.count)):
            leases.setdefault(task_id, []).append((lease.at_ns, lease.link))
    for fault in evidence.faults:
        if fault.kind not in ("worker_kill", "controller_kill"):
            continue
        for execution in unfinished.get(fault.target, ()):
            hit = fault.kind == "controller_kill" or execution.pid == fault.pid
            # What this kill has interrupted had begun not long before.
            running = 0 <= fault.at_ns - execution.started_ns < _TASK_S_MAX * NS
            again = next((e for e in by_number[execution.number] if e.started_ns > fault.at_ns), None)
            if hit and running and again:
                seconds = (again.started_ns - fault.at_ns) / NS
                involved = {link for at_ns, link in leases.get(execution.task_id, ()) if at_ns <= again.started_ns}
                disturbed = _disturbed(evidence, fault, again, involved | {"master"})
                waits.append(Wait(fault, execution.number, seconds, disturbed))
    return waits


def _disturbed(evidence: Evidence, fault: Fault, again: Execution, involved: set[str]) -> bool:
    """Whether another fault was in the way from the kill to the next start."""
    aftermath_ns = int(_AFTERMATH_S * NS)
    return any(
        other.at_ns <= again.started_ns and other.over_ns + aftermath_ns >= fault.at_ns
        for other in evidence.faults
        if other is not fault and other.target in involved and other.kind not in HARMLESS | {"worker_kill"}
    )


def redispatched_in_time(evidence: Evidence) -> Iterator[str]:
    """I8: what a kill has interrupted starts again soon, unless another fault is in its way."""
    for wait in redispatch(evidence):
        # In front of all others, but no task in progress is ended for it.
        bound_s = LONG_MS / 1000 + MACHINE_SLACK_S
        if wait.fault.kind == "controller_kill":
            bound_s += evidence.about.controller_timeout_s + 1.0
        if not wait.disturbed and wait.seconds > bound_s:
            yield (
                f"task {wait.task} started again {wait.seconds:.1f} s after {wait.fault.kind} of {wait.fault.target},"
                f" more than {bound_s:.1f}"
            )


def first_come_first_served(evidence: Evidence) -> Iterator[str]:
    """I9: tasks leave for the first time in the order in which they came, and so they start."""
    excuses = Excuses(evidence)
    # Each job has a line of its own; these are of the generator's.
    of_jobs = {record.task_id for record in evidence.job_records}
    seen: set[int] = set()
    last: dict[tuple[str, int], tuple[int, int]] = {}
    for lease in evidence.leases:
        fresh = lease.first not in seen
        seen.update(range(lease.first, lease.first + lease.count))
        if not fresh or lease.first in of_jobs:
            continue
        before, before_ns = last.get((lease.link, lease.connection), (0, lease.at_ns))
        if lease.first < before and not excuses.anything(before_ns, lease.at_ns):
            yield f"task id {lease.first} left for {lease.link} after task id {before}"
        last[lease.link, lease.connection] = (max(before, lease.first), lease.at_ns)


def everybody_lives(evidence: Evidence) -> Iterator[str]:
    """I10: no process ends but by our hand, or with 0 when all is done."""
    for life in evidence.lives:
        if not life.asked and life.code not in (0, None):
            yield f"{life.name} (pid {life.pid}) ended with {life.code} by itself"


def work_goes_on(evidence: Evidence) -> Iterator[str]:
    """I14: once the faults are over there is always something going on until all is done, and then the master ends."""
    about = evidence.about
    times = sorted(
        [about.faults_over_ns]
        + [
            at_ns
            for execution in (*evidence.executions, *evidence.job_executions)
            for at_ns in (execution.started_ns, execution.ended_ns)
            if at_ns is not None and at_ns > about.faults_over_ns
        ]
    )
    for before, after in zip(times, times[1:], strict=False):
        if after - before > IDLE_S_MAX * NS:
            yield f"nothing was executed for {(after - before) / NS:.1f} s after the faults were over"
    if about.drained_ns - times[-1] > END_S_MAX * NS + WIRE_SLACK_NS:
        yield f"the master went on for {(about.drained_ns - times[-1]) / NS:.1f} s after the last task"


def percentile(values: list[float], share: float) -> float:
    """The nearest rank; 0 of nothing."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0
