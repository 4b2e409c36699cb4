"""The invariants of the journal and of the histories, each judged from evidence alone. PURE.

A check yields a text for each violation; nothing yielded is a clean bill. ``CHECKS`` has them by the name under which
``docs/guarantees.md`` promises them.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from tests.chaos.evidence import COMPLETED, CRASHED, NS, Evidence
from tests.chaos.excuses import Excuses
from tests.chaos.history import Execution, digest

Check = Callable[[Evidence], Iterator[str]]

# The order in which a busy proxy reads two connections is not that in which the master wrote to them.
WIRE_SLACK_NS = NS // 2


def no_loss(evidence: Evidence) -> Iterator[str]:
    """I1: every task of the plan has exactly one final state, and the one that its deed deserves."""
    plan = evidence.about.plan
    if not evidence.about.drained:
        yield "the master never came to the end of its work"
    states = {record.number: record.state for record in evidence.records}
    killed = Counter(execution.number for execution in evidence.executions if execution.ended_ns is None)
    for number in plan.numbers:
        state, expected = states.get(number), plan.deed(number).state
        if state is None:
            yield f"task {number} has no record"
        elif state != expected:
            # Whoever's workers were killed by us often enough is rightly taken for their murderer.
            unlucky = state == "quarantined" and killed[number] >= evidence.about.crash_limit
            if not unlucky:
                yield f"task {number} is {state}, it should be {expected}"


def recorded_once(evidence: Evidence) -> Iterator[str]:
    """I2: one record for each task, and its payload is what an attempt at that task really computed."""
    yield from evidence.journal_faults
    for task_id, count in Counter(record.task_id for record in evidence.records).items():
        if count > 1:
            yield f"task id {task_id} is recorded {count} times"
    for number, count in Counter(record.number for record in evidence.records).items():
        if count > 1:
            yield f"task {number} is recorded under {count} ids"
    by_number = evidence.by_number()
    for record in evidence.records:
        if record.state not in ("completed", "failed"):
            continue
        computed = {(execution.task_id, execution.hash) for execution in by_number.get(record.number, ())}
        if (record.task_id, digest(record.text)) not in computed:
            yield f"task {record.number} has a record (attempt {record.attempt}) that no attempt at it computed"


def single_holder(evidence: Evidence) -> Iterator[str]:
    """I3: no task starts again, and none overlaps with itself, but for a fault; an exclusive one never overlaps."""
    excuses, plan = Excuses(evidence), evidence.about.plan
    suicides: dict[int, int] = {}
    for execution in evidence.executions:
        if execution.ended_ns is None and plan.deed(execution.number).kind in ("crash_once", "poison"):
            # The worker of whose batch it was a part, and whatever that had finished and not yet reported.
            suicides[execution.pid] = execution.started_ns
    for number, executions in evidence.by_number().items():
        for earlier, later in zip(executions, executions[1:], strict=False):
            overlap = earlier.ended_ns is not None and later.started_ns < earlier.ended_ns
            if overlap and plan.deed(number).exclusive:
                yield f"exclusive task {number} overlaps with itself: {_told(earlier)}, {_told(later)}"
            died = suicides.get(earlier.pid, 0) >= earlier.started_ns
            excused = excuses.second_start(earlier.node, earlier.pid, earlier.started_ns, later.started_ns)
            if not died and not excused:
                what = "overlaps with itself" if overlap else "starts again"
                yield f"task {number} {what} without a fault: {_told(earlier)}, {_told(later)}"


def legal_order(evidence: Evidence) -> Iterator[str]:
    """I4: an end has its start, a lease is executed once, and each lease of an epoch has a higher attempt."""
    for misfit in evidence.misfits:
        yield f"an end without a start: {misfit}"
    restarts = [life.started_ns for life in evidence.lives if life.name == "master"]
    for number, executions in evidence.by_number().items():
        last: dict[int, Execution] = {}
        for execution in executions:
            before = last.get(execution.attempt)
            # A lease waits at its controller for a while, so the epoch may have changed before the first start.
            if before and not any(before.started_ns - 5 * NS < at < execution.started_ns for at in restarts[1:]):
                yield f"task {number} runs twice in one attempt: {_told(before)}, {_told(execution)}"
            last[execution.attempt] = execution
    yield from _reported_but_not_executed(evidence)
    attempts: dict[tuple[int, int], int] = {}
    for lease in evidence.leases:
        for task_id in range(lease.first, lease.first + lease.count):
            before_attempt = attempts.get((lease.epoch, task_id), 0)
            if lease.attempt == before_attempt:
                yield f"task id {task_id} is leased twice as attempt {lease.attempt} of epoch {lease.epoch}"
            attempts[lease.epoch, task_id] = max(lease.attempt, before_attempt)


def _reported_but_not_executed(evidence: Evidence) -> Iterator[str]:
    """A worker's death is charged to the task that was executing, never to one that had not started."""
    executions = [*evidence.executions, *evidence.job_executions]
    started = {(execution.task_id, execution.attempt) for execution in executions}
    ended = {(e.task_id, e.attempt) for e in executions if e.ended_ns is not None}
    interrupted = {execution.pid for execution in executions if execution.ended_ns is None}
    # A worker says that it executes a task a moment before the task can note its start: a kill may come in between.
    between = sum(fault.kind == "worker_kill" and fault.pid not in interrupted for fault in evidence.faults)
    charged = set()
    for message in evidence.acknowledged:
        for row, status in enumerate(message.statuses):
            lease = (message.first + row, message.attempt)
            if status == CRASHED and lease not in started:
                charged.add(lease)
            elif status != CRASHED and lease not in ended:
                yield f"task id {lease[0]} is reported to have ended in attempt {lease[1]}, which no history knows"
    if len(charged) > between:
        for task_id, attempt in sorted(charged):
            yield f"task id {task_id} is charged for a worker's death in attempt {attempt}, which had not started"


def epochs_rise(evidence: Evidence) -> Iterator[str]:
    """I5: an epoch belongs to one process, later ones are higher, and the journal stays the same."""
    masters = [life for life in evidence.lives if life.name == "master"]
    highest, owner = 0, -1
    for welcomed in evidence.welcomed:
        started = [index for index, life in enumerate(masters) if life.started_ns <= welcomed.at_ns]
        # What a dead master had said may be read from its socket when the next one has been started.
        possible = set(started[-1:]) | {
            index for index in started if (masters[index].ended_ns or welcomed.at_ns) + WIRE_SLACK_NS >= welcomed.at_ns
        }
        if welcomed.epoch < highest:
            yield f"epoch {welcomed.epoch} after epoch {highest}"
        elif welcomed.epoch == highest and owner not in possible:
            yield f"epoch {welcomed.epoch} in two lives of the master"
        elif welcomed.epoch > highest:
            if owner >= 0 and possible == {owner}:
                yield f"epochs {highest} and {welcomed.epoch} in one life of the master"
            highest, owner = welcomed.epoch, max(possible, default=0)
    journals = {welcomed.journal for welcomed in evidence.welcomed}
    if len(journals) > 1:
        yield f"{len(journals)} journals where there was one"


def acknowledged_is_durable(evidence: Evidence) -> Iterator[str]:
    """I11: what was acknowledged as completed is in the journal, and is never given to anybody again."""
    known: dict[int, int] = {}
    for message in evidence.acknowledged:
        for row, status in enumerate(message.statuses):
            if status == COMPLETED:
                known.setdefault(message.first + row, message.at_ns)
    recorded = {record.task_id for record in (*evidence.records, *evidence.job_records)}
    for task_id in sorted(known.keys() - recorded):
        yield f"task id {task_id} was acknowledged and is not in the journal"
    for lease in evidence.leases:
        for task_id in range(lease.first, lease.first + lease.count):
            if known.get(task_id, lease.at_ns) + WIRE_SLACK_NS < lease.at_ns:
                late_s = (lease.at_ns - known[task_id]) / NS
                yield f"task id {task_id} was acknowledged and leased again {late_s:.1f} s later, epoch {lease.epoch}"


def generator_goes_on(evidence: Evidence) -> Iterator[str]:
    """I12: no gap and no repetition in what the generator made, in its order; every result was delivered to it."""
    plan = evidence.about.plan
    numbers = [record.number for record in sorted(evidence.records, key=lambda record: record.task_id)]
    yielded = [number for number in numbers if number < plan.tasks]
    for before, after in zip([-1, *yielded], yielded, strict=False):
        if after != before + 1:
            yield f"behind task {before} the generator's next one is task {after}"
    if yielded[-1:] != [plan.tasks - 1]:
        yield f"the last task of the generator is {yielded[-1] if yielded else None}, not {plan.tasks - 1}"
    for number in sorted(set(numbers) - set(plan.numbers)):
        yield f"task {number} was never in the plan"
    if plan.follow:
        delivered = {delivery.number for delivery in evidence.deliveries}
        for number in sorted({record.number for record in evidence.records} - delivered):
            yield f"the result of task {number} was never delivered"


def _told(execution: Execution) -> str:
    began_s = execution.started_ns / NS
    ended = "no end" if execution.ended_ns is None else f"{(execution.ended_ns - execution.started_ns) / NS:.3f} s"
    return f"attempt {execution.attempt} on {execution.controller} pid {execution.pid} at {began_s:.3f} ({ended})"
