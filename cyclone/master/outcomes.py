"""What ended attempts mean: results are recorded once and delivered, crashes charged, what was handed back waits again.

PURE. Owns the way from a report to an event. Every report is answered, also a late one: an unanswered one would be sent
again for ever.
"""

from cyclone.master.actions import Deliver
from cyclone.master.events import AttemptsEnded, ResultsRecorded
from cyclone.master.retries import Retries
from cyclone.master.sessions import Session
from cyclone.master.spans import Span
from cyclone.master.suspicion import Suspicion
from cyclone.master.turn import Turn
from cyclone.master.verdict import NO_JOB, Verdict, judge
from cyclone.protocol import states
from cyclone.protocol.messages import Recorded, ResultBatch, Results, Returned
from cyclone.protocol.runs import slice_runs
from cyclone.results import RecordedBlock, quarantine_columns, row_columns

# How long a controller that had nothing to give back is not asked again.
_RECALL_PAUSE_S = 0.1


class Outcomes:
    """See the module. ``crash_limit`` is the number of workers that a task may kill.

    ``passed_over`` counts the reported rows that were late or came again, and changed nothing.
    """

    def __init__(self, turn: Turn, retries: Retries, suspicion: Suspicion, crash_limit: int) -> None:
        self._turn = turn
        self._suspicion = suspicion
        self._retries = retries
        self._state = turn.state
        self._crash_limit = crash_limit
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
        """Leases that will not be finished."""
        session.recall_after = self._turn.now + (0.0 if returned.ranges else _RECALL_PAUSE_S)
        tokens = {span.token for span in session.spans}
        for part in returned.ranges:
            if (part.epoch, part.attempt) not in tokens:
                continue
            for span, start, stop in self._state.index.overlapping(part.first, part.first + part.count):
                if span.holder == session.session_id and span.token == (part.epoch, part.attempt):
                    self._turn.give_back(self._state.carve(span, start, stop))

    def end(self, span: Span, start: int, stop: int, status: int, body: bytes) -> None:
        """Record the master's own word as the result of these open tasks of a span; ``body`` has as many rows."""
        low, high = start - span.first, stop - span.first
        batch = ResultBatch(start, max(span.epoch, 1), max(span.attempt, 1), bytes([status]) * (stop - start), body)
        verdict = Verdict(None, stop - start, slice_runs(span.runs, low, high), span.args[low:high])
        self._record(batch, verdict, "")

    def _on_batch(self, session: Session, batch: ResultBatch) -> None:
        verdict = judge(batch, self._state.index, self._state.epoch, self._state.attempts_ended, self._retries.wanted)
        if verdict.accepted_count:
            self._record(batch, verdict, session.name)
        bad = len(verdict.retried) + len(verdict.crashed)
        self.passed_over += len(batch.statuses) - verdict.accepted_count - bad
        self._suspicion.learn(session, verdict.accepted_count + bad, verdict.failed_count(batch.statuses) + bad)
        for task_id, job_id in verdict.retried:
            self._retries.again(session, batch, task_id, job_id)
        for task_id in verdict.crashed:
            self._on_crash(session, batch, task_id)

    def _record(self, batch: ResultBatch, verdict: Verdict, controller: str) -> None:
        accepted = None if verdict.accepted is None else bytes(verdict.accepted)
        jobs, number = self._state.jobs, self._state.number + 1
        runs = [("" if job == NO_JOB else jobs[job].task_class, count) for job, count in verdict.runs]
        self._turn.emit(ResultsRecorded(number, batch, accepted, controller))
        block = RecordedBlock(
            batch.first, batch.attempt, runs, verdict.args, batch.statuses, accepted, batch.body, controller
        )
        self._turn.out.append(Deliver(number, block, verdict.leased_at))

    def _on_crash(self, session: Session, batch: ResultBatch, task_id: int) -> None:
        state, turn = self._state, self._turn
        body = row_columns(batch.body, task_id - batch.first)
        turn.emit(AttemptsEnded(task_id, 1, batch.epoch, batch.attempt, states.CRASHED, session.name, body))
        crashes = state.crashes[task_id]
        (span, start, stop), *_ = state.index.overlapping(task_id, task_id + 1)
        if crashes < self._crash_limit:
            turn.give_back(state.carve(span, start, stop))
            return
        body = quarantine_columns(batch.body, task_id - batch.first, crashes)
        final = ResultBatch(task_id, batch.epoch, batch.attempt, bytes([states.QUARANTINED]), body)
        turn.say(
            "warning", f"task={task_id} quarantined: it killed {crashes} workers, the last on controller={session.name}"
        )
        row = task_id - span.first
        self._record(final, Verdict(None, 1, slice_runs(span.runs, row, row + 1), [span.args[row]]), session.name)
