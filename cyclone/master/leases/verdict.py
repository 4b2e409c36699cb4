"""What a batch of results means for the tasks it names: the fence. PURE.

The first success of any attempt wins; a failure, a time-out or a crash counts only when it is of the task's latest
lease; whatever else arrives is late and changes nothing. Leases are not journalled: one of an earlier epoch that
nobody has told us of is taken at its word. ``judge`` only looks; the scheduler turns the verdict into events.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import compress

from cyclone.master.spans import Span, SpanIndex
from cyclone.protocol import states
from cyclone.protocol.messages import ResultBatch
from cyclone.protocol.runs import Runs, job_at, merge_runs, slice_runs

WantsRetry = Callable[[int, ResultBatch, int], bool]
Shared = tuple[Span, int, int]
"""A span, and the ids from where to where it shares with a batch."""

NOTHING_ENDED: Mapping[int, tuple[int, int]] = {}
_NO_LEASE = (0, 0)
_MAY_BE_RETRIED = (states.FAILED, states.TIMED_OUT, states.SETUP_FAILED)
# Stands for the job of a row that is not accepted, so that a run-length column stays as long as the batch.
NO_JOB = 0


def _never(job: int, batch: ResultBatch, row: int) -> bool:
    return False


@dataclass(slots=True)
class Verdict:
    """``accepted`` has a byte per row, or is None when all rows count.

    ``crashed`` are task ids to charge, ``retried`` those that failed and are tried again, with their job.
    ``leased_at`` is when the first of them was leased, 0 where that was in another epoch or attempt.
    """

    accepted: bytearray | None
    accepted_count: int
    runs: Runs
    args: list[bytes]
    crashed: list[int] = field(default_factory=list)
    retried: list[tuple[int, int]] = field(default_factory=list)
    leased_at: float = 0.0

    def failed_count(self, statuses: bytes) -> int:
        """How many of the accepted rows are anything but completed."""
        counted = statuses if self.accepted is None else bytes(compress(statuses, self.accepted))
        return len(counted) - counted.count(states.COMPLETED)

    def of_rows(self, accepted: bytearray) -> "Verdict":
        """The same where other rows count."""
        count = accepted.count(1)
        return replace(self, accepted=None if count == len(accepted) else accepted, accepted_count=count)


def judge(
    batch: ResultBatch,
    spans: SpanIndex,
    epoch: int,
    ended: Mapping[int, tuple[int, int]] = NOTHING_ENDED,
    wants_retry: WantsRetry = _never,
) -> Verdict:
    """Which rows are the result of their task, with the job and the arguments of each.

    ``epoch`` is the present one. ``ended`` has the last lease of a task whose end is recorded: an attempt ends once,
    however often it is told. ``wants_retry`` says of a job, the batch and a row whether a failure is tried again.
    """
    shared = spans.overlapping(batch.first, batch.first + len(batch.statuses))
    verdict = _judge_whole(batch, shared, epoch) or _judge_by_row(batch, shared, epoch, ended, wants_retry)
    if shared and batch.epoch == epoch and (batch.epoch, batch.attempt) == shared[0][0].token:
        verdict.leased_at = shared[0][0].leased_at
    return verdict


def _judge_whole(batch: ResultBatch, shared: list[Shared], epoch: int) -> Verdict | None:
    """The verdict where every row counts, without a look at a single one; None where one might not."""
    count = len(batch.statuses)
    if batch.statuses.count(states.COMPLETED) != count or not shared:
        return None
    cuts: list[tuple[Runs, list[bytes]]] = []
    row = 0
    for span, start, stop in shared:
        low, high = start - span.first, stop - span.first
        is_open = start == batch.first + row and span.open.count(1, low, high) == stop - start
        if not is_open or not _was_leased(batch, span, epoch):
            return None
        row += stop - start
        cuts.append((slice_runs(span.runs, low, high), span.args if high - low == span.count else span.args[low:high]))
    if row != count:
        return None
    if len(cuts) == 1:
        return Verdict(None, count, *cuts[0])
    return Verdict(None, count, reduce(merge_runs, [runs for runs, _ in cuts]), [arg for _, cut in cuts for arg in cut])


def _was_leased(batch: ResultBatch, span: Span, epoch: int) -> bool:
    """Whether a master may have given this lease: this one knows all of its own."""
    return batch.epoch < epoch or (batch.epoch, batch.attempt) <= span.token


def _judge_by_row(
    batch: ResultBatch, shared: list[Shared], epoch: int, ended: Mapping[int, tuple[int, int]], wants_retry: WantsRetry
) -> Verdict:
    """The same off the fast path: failures, or rows that are done already."""
    count = len(batch.statuses)
    verdict = Verdict(bytearray(count), 0, [], [])
    row = 0
    for span, start, stop in shared:
        _pass_over(verdict, start - batch.first - row)
        leased, latest = _was_leased(batch, span, epoch), (batch.epoch, batch.attempt) >= span.token
        for task_id in range(start, stop):
            row = task_id - batch.first
            status = batch.statuses[row]
            if not span.open[task_id - span.first]:
                continue
            if not leased or (status != states.COMPLETED and not latest):
                continue
            if status != states.COMPLETED and ended.get(task_id, _NO_LEASE) >= (batch.epoch, batch.attempt):
                continue
            if status == states.CRASHED:
                # A crash ends a lease. Where there is none, silence or an earlier report of the same crash has ended
                # it.
                if span.holder is not None:
                    verdict.crashed.append(task_id)
                continue
            if status in _MAY_BE_RETRIED:
                job = job_at(span.runs, task_id - span.first)
                if wants_retry(job, batch, row):
                    verdict.retried.append((task_id, job))
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
