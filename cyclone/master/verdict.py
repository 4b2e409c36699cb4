"""What a batch of results means for the tasks it names: the fence. PURE.

The first success of any attempt wins; a failure, a time-out or a crash counts only when it is of the task's latest
attempt; whatever else arrives is late and changes nothing. ``judge`` only looks; the scheduler turns the verdict into
events.
"""

from dataclasses import dataclass, field

from cyclone.master.spans import SpanIndex
from cyclone.protocol import states
from cyclone.protocol.messages import ResultBatch
from cyclone.protocol.runs import Runs, merge_runs, slice_runs

# Stands for the job of a row that is not accepted, so that a run-length column stays as long as the batch.
NO_JOB = 0


@dataclass(slots=True)
class Verdict:
    """``accepted`` has a byte per row, or is None when all rows count; ``crashed`` are task ids to charge."""

    accepted: bytearray | None
    accepted_count: int
    runs: Runs
    args: list[bytes]
    crashed: list[int] = field(default_factory=list)


def judge(batch: ResultBatch, spans: SpanIndex) -> Verdict:
    """Which rows are the result of their task, with the job and the arguments of each."""
    count = len(batch.statuses)
    shared = spans.overlapping(batch.first, batch.first + count)
    if len(shared) == 1:
        span, start, stop = shared[0]
        low, high = start - span.first, stop - span.first
        whole = stop - start == count and span.open.count(1, low, high) == count
        if whole and batch.statuses.count(states.COMPLETED) == count and batch.attempt <= span.attempt:
            args = span.args if count == span.count else span.args[low:high]
            return Verdict(None, count, slice_runs(span.runs, low, high), args)
    return _judge_by_row(batch, spans)


def _judge_by_row(batch: ResultBatch, spans: SpanIndex) -> Verdict:
    """The same off the fast path: several spans, failures, or rows that are done already."""
    count = len(batch.statuses)
    verdict = Verdict(bytearray(count), 0, [], [])
    row = 0
    for span, start, stop in spans.overlapping(batch.first, batch.first + count):
        _pass_over(verdict, start - batch.first - row)
        for task_id in range(start, stop):
            row = task_id - batch.first
            status = batch.statuses[row]
            if not span.open[task_id - span.first]:
                continue
            if batch.attempt > span.attempt or (status != states.COMPLETED and batch.attempt != span.attempt):
                continue
            if status == states.CRASHED:
                # A crash ends a lease. Where there is none, silence or an earlier report of the same crash has ended
                # it.
                if span.holder is not None:
                    verdict.crashed.append(task_id)
                continue
            verdict.accepted[row] = 1  # type: ignore[index]
            verdict.accepted_count += 1
        low, high = start - span.first, stop - span.first
        verdict.runs = merge_runs(verdict.runs, slice_runs(span.runs, low, high))
        verdict.args.extend(span.args[low:high])
        row = stop - batch.first
    _pass_over(verdict, count - row)
    if verdict.accepted_count == count:
        verdict.accepted = None
    return verdict


def _pass_over(verdict: Verdict, rows: int) -> None:
    if rows > 0:
        verdict.runs = merge_runs(verdict.runs, [(NO_JOB, rows)])
        verdict.args.extend([b""] * rows)
