"""What ended attempts mean: results are recorded once and delivered, crashes charged, what was handed back waits again.

PURE. Owns the way from a report to an event. Every report is answered, also a late one: an unanswered one would be sent
again for ever. A task that somebody wishes to end has that as its result, whatever is reported; more bad ends than a
job's ``max_fails`` are such a wish for all that is left of it.
"""

from msgspec.structs import replace

from cyclone.lifecycle import BAD_ENDS
from cyclone.master.actions import Deliver
from cyclone.master.events import AttemptsEnded, CancelWanted, JobEnded, JobSealed, ResultsRecorded
from cyclone.master.jobs.failures import Failures
from cyclone.master.jobs.registry import JobRecord
from cyclone.master.jobs.wishes import Covered
from cyclone.master.leases import recalls
from cyclone.master.leases.retries import Retries
from cyclone.master.leases.sessions import Session
from cyclone.master.leases.suspicion import Suspicion
from cyclone.master.leases.verdict import NO_JOB, Verdict, judge
from cyclone.master.spans import Span
from cyclone.master.turn import Turn
from cyclone.master.waiting.queue import fitting
from cyclone.protocol import limits, states
from cyclone.protocol.messages import ErrorRecord, Recorded, ResultBatch, Results, Returned, Stopped
from cyclone.protocol.runs import Runs, job_at, slice_runs
from cyclone.results import (
    RecordedBlock,
    columns_part,
    error_columns,
    overruled_columns,
    quarantine_columns,
    row_columns,
)

# How long a controller that had nothing to give back is not asked again.
_RECALL_PAUSE_S = 0.1
_NO_REASON = "cancelled before it had a result"
_BAD = bytes(status for status, name in states.STATE_NAMES.items() if name in BAD_ENDS)


class Outcomes:
    """See the module. ``crash_limit`` is the number of workers that a task may kill where its job does not say.

    ``passed_over`` counts the reported rows that were late or came again, and changed nothing.
    """

    def __init__(self, turn: Turn, retries: Retries, suspicion: Suspicion, crash_limit: int) -> None:
        self._turn = turn
        self._suspicion = suspicion
        self._retries = retries
        self._state = turn.state
        self._crash_limit = crash_limit
        self.failures = Failures()
        self.passed_over = 0

    def on_results(self, session: Session, results: Results) -> None:
        """Ended attempts."""
        state = self._state
        for batch in results.batches:
            leased_id = state.last_leased_id if batch.epoch == state.epoch else state.inherited_id
            if batch.epoch <= state.epoch and batch.first + len(batch.statuses) - 1 <= leased_id:
                self._on_batch(session, batch)
        self._turn.send(session.peer, Recorded(session.session_id, [results.number]))

    def on_returned(self, session: Session, returned: Returned) -> None:
        """Leases that will not be finished. What ran and is to end, for which it was stopped, ends as it had run."""
        session.recall_after = self._turn.now + (0.0 if returned.ranges else _RECALL_PAUSE_S)
        tokens = {span.token for span in session.spans}
        for run in returned.stopped if self._state.cancellations.pending else ():
            self._on_stopped(session, run)
        for part in returned.ranges:
            if (part.epoch, part.attempt) not in tokens:
                continue
            for span, start, stop in self._state.index.overlapping(part.first, part.first + part.count):
                if span.holder == session.session_id and span.token == (part.epoch, part.attempt):
                    self._turn.give_back(self._state.carve(span, start, stop))
        recalls.answered(session, bool(returned.ranges))

    def end(self, span: Span, start: int, stop: int, wish: CancelWanted) -> None:
        """Record these open tasks of a span as ended by a wish, which is the master's own word."""
        low, high = start - span.first, stop - span.first
        while low < high:
            # What waits may have come in larger blocks than are told of in one piece.
            end = fitting(span.args, low, high, limits.BATCH_BYTES_TARGET)
            lease = ResultBatch(span.first + low, max(span.epoch, 1), max(span.attempt, 1), b"", b"")
            verdict = Verdict(None, end - low, slice_runs(span.runs, low, end), span.args[low:end])
            self._record_wish(lease, verdict, wish)
            low = end

    def cancel(self, record: JobRecord, reason: str, status: int = states.CANCELLED) -> None:
        """Let all that is open of a job end; it takes no more tasks."""
        # First, because the wish for all tasks of a job that may get more says nothing of these.
        if not record.sealed:
            self._turn.emit(JobSealed(record.job_id))
        if record.open:
            first, last = record.extents.first_id, record.extents.last_id
            self._turn.emit(CancelWanted(first, last, "", record.job_id, status, reason))

    def end_jobs(self) -> None:
        """Jobs that have all their results leave memory."""
        jobs = self._state.jobs
        for job_id in list(jobs.over):
            self._turn.emit(JobEnded(job_id, self._turn.now + jobs.wall_offset_s))
            self.failures.forget(job_id)

    def _on_batch(self, session: Session, batch: ResultBatch) -> None:
        verdict = judge(batch, self._state.index, self._state.epoch, self._state.attempts_ended, self._retries.wanted)
        bad = len(verdict.retried) + len(verdict.crashed)
        self.passed_over += len(batch.statuses) - verdict.accepted_count - bad
        self._suspicion.learn(session, verdict.accepted_count + bad, verdict.failed_count(batch.statuses) + bad)
        if self._state.cancellations.pending or (self._state.jobs.records and batch.statuses.strip(b"\0")):
            self._settle(session, batch, verdict)
        elif verdict.accepted_count:
            self._record(batch, verdict, session.name)
        for task_id, job_id in verdict.retried:
            if wish := self._wish_for(task_id, job_id):
                self._end_reported(session, batch, verdict, task_id, wish)
            else:
                self._retries.again(session, batch, task_id, job_id)
        for task_id in verdict.crashed:
            if wish := self._wish_for(task_id, job_at(verdict.runs, task_id - batch.first)):
                self._end_reported(session, batch, verdict, task_id, wish)
            else:
                self._on_crash(session, batch, task_id)

    def _on_stopped(self, session: Session, run: Stopped) -> None:
        for span, start, _ in self._state.index.overlapping(run.task_id, run.task_id + 1):
            row = start - span.first
            is_his = span.holder == session.session_id and span.token == (run.epoch, run.attempt)
            if not is_his or not span.open[row]:
                continue
            runs = slice_runs(span.runs, row, row + 1)
            if wish := self._wish_for(start, runs[0][0]):
                body = error_columns(ErrorRecord("Stopped", ""), run.worker_pid, run.started, run.seconds)
                batch = ResultBatch(start, *span.token, bytes([wish.status]), body, run.seconds)
                self._record_wish(batch, Verdict(None, 1, runs, [span.args[row]]), wish, session.name)

    # Where not every row is recorded as it was reported.

    def _settle(self, session: Session, batch: ResultBatch, verdict: Verdict) -> None:
        """Record what counts up to the bad end that is one too many for its job; what is behind it is cancelled."""
        while verdict.accepted_count:
            self._withhold(session, batch, verdict)
            too_many = self._too_many(batch, verdict)
            if too_many is None:
                break
            row, record = too_many
            accepted = verdict.accepted or bytearray(b"\1") * len(batch.statuses)
            head = accepted[: row + 1] + bytearray(len(accepted) - row - 1)
            self._record(batch, verdict.of_rows(head), session.name)
            verdict = verdict.of_rows(bytearray(row + 1) + accepted[row + 1 :])
            self._cancel_failing(record)
        if verdict.accepted_count:
            self._record(batch, verdict, session.name)

    def _withhold(self, session: Session, batch: ResultBatch, verdict: Verdict) -> None:
        """Rows of tasks that somebody wishes to end do not count as they are: they end by the wish."""
        for low, high, wish in self._wished(batch.first, verdict.runs):
            accepted = verdict.accepted = verdict.accepted or bytearray(b"\1") * len(batch.statuses)
            start, stop = low - batch.first, high - batch.first
            count = accepted.count(1, start, stop)
            if not count:
                continue
            runs, args = slice_runs(verdict.runs, start, stop), verdict.args[start:stop]
            ended = None if count == stop - start else accepted[start:stop]
            accepted[start:stop] = bytes(stop - start)
            verdict.accepted_count -= count
            self._record_wish(_rows_of(batch, start, stop), Verdict(ended, count, runs, args), wish, session.name)

    def _wished(self, first: int, runs: Runs) -> list[Covered]:
        found: list[Covered] = []
        for job_id, count in runs:
            if job_id != NO_JOB:
                jobs, wishes = self._state.jobs, self._state.cancellations
                found += wishes.covering(jobs.lane_of(job_id), jobs[job_id].task_class, first, first + count)
            first += count
        return found

    def _wish_for(self, task_id: int, job_id: int) -> CancelWanted | None:
        wished = self._wished(task_id, [(job_id, 1)]) if self._state.cancellations.pending else None
        return wished[0][2] if wished else None

    def _end_reported(
        self, session: Session, batch: ResultBatch, verdict: Verdict, task_id: int, wish: CancelWanted
    ) -> None:
        row = task_id - batch.first
        one = Verdict(None, 1, slice_runs(verdict.runs, row, row + 1), [verdict.args[row]])
        self._record_wish(_rows_of(batch, row, row + 1), one, wish, session.name)

    def _too_many(self, batch: ResultBatch, verdict: Verdict) -> tuple[int, JobRecord] | None:
        """The first row that is a bad end too many for its job."""
        row = 0
        for job_id, count in verdict.runs:
            record = self._state.jobs.records.get(job_id)
            limit = record.spec.max_fails if record else None
            if record and limit is not None:
                left = limit - record.bad
                for at in range(row, row + count):
                    if batch.statuses[at] in _BAD and (verdict.accepted is None or verdict.accepted[at]):
                        left -= 1
                        if left < 0:
                            return at, record
            row += count
        return None

    def _cancel_failing(self, record: JobRecord) -> None:
        reason = f"{record.bad} tasks of the job did not complete, and max_fails is {record.spec.max_fails}"
        self._turn.say("warning", f"job={record.job_id} cancelled: {reason}")
        self.cancel(record, reason)

    def _record_wish(self, lease: ResultBatch, verdict: Verdict, wish: CancelWanted, controller: str = "") -> None:
        """The result of tasks that end by a wish: all rows of what this controller has reported of this lease.

        The body is empty where it has reported nothing.
        """
        rows = len(verdict.args)
        error = ErrorRecord("Expired" if wish.status == states.EXPIRED else "Cancelled", wish.reason or _NO_REASON)
        statuses, body = bytes([wish.status]) * rows, overruled_columns(lease.body, rows, error)
        self._record(replace(lease, statuses=statuses, body=body), verdict, controller)

    def _record(self, batch: ResultBatch, verdict: Verdict, controller: str) -> None:
        accepted = None if verdict.accepted is None else bytes(verdict.accepted)
        jobs, number = self._state.jobs, self._state.number + 1
        runs = [("" if job == NO_JOB else jobs[job].task_class, count) for job, count in verdict.runs]
        parts = self._parts(batch.first, verdict.runs) if jobs.records else ()
        if parts:
            self.failures.learn(batch, accepted, parts)
        self._turn.emit(ResultsRecorded(number, batch, accepted, controller))
        block = RecordedBlock(
            batch.first, batch.attempt, runs, verdict.args, batch.statuses, accepted, batch.body, controller
        )
        self._turn.out.append(Deliver(number, block, verdict.leased_at, parts))

    def _parts(self, first: int, runs: Runs) -> tuple[tuple[int, int, int, int], ...]:
        """The stretches of rows that are of submitted jobs, each from which index on."""
        parts: list[tuple[int, int, int, int]] = []
        at = first
        for job_id, count in runs:
            if record := self._state.jobs.records.get(job_id):
                found = record.extents.by_id(at, at + count)
                parts += [(job_id, index, start - first, length) for index, start, length in found]
            at += count
        return tuple(parts)

    def _on_crash(self, session: Session, batch: ResultBatch, task_id: int) -> None:
        state, turn = self._state, self._turn
        body = row_columns(batch.body, task_id - batch.first)
        turn.emit(AttemptsEnded(task_id, 1, batch.epoch, batch.attempt, states.CRASHED, session.name, body))
        crashes = state.crashes[task_id]
        (span, start, stop), *_ = state.index.overlapping(task_id, task_id + 1)
        row = task_id - span.first
        record = state.jobs.records.get(job_at(span.runs, row))
        limit = self._crash_limit if record is None else record.spec.crash_limit or self._crash_limit
        if crashes < limit:
            turn.give_back(state.carve(span, start, stop))
            return
        body = quarantine_columns(batch.body, task_id - batch.first, crashes)
        final = ResultBatch(task_id, batch.epoch, batch.attempt, bytes([states.QUARANTINED]), body)
        turn.say(
            "warning", f"task={task_id} quarantined: it killed {crashes} workers, the last on controller={session.name}"
        )
        self._record(final, Verdict(None, 1, slice_runs(span.runs, row, row + 1), [span.args[row]]), session.name)
        if record and record.spec.max_fails is not None and record.bad > record.spec.max_fails:
            self._cancel_failing(record)


def _rows_of(batch: ResultBatch, start: int, stop: int) -> ResultBatch:
    """What was reported of some rows, as if it had come alone."""
    body, busy_s = columns_part(batch.body, start, stop), batch.busy_s * (stop - start) / len(batch.statuses)
    return replace(batch, first=batch.first + start, statuses=batch.statuses[start:stop], body=body, busy_s=busy_s)
