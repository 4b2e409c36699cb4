"""Every invariant of the scheduler's state, re-derived from scratch: for tests and the simulation. PURE.

Looks at everything and changes nothing. Costs a pass over all that is in memory.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclone.master.scheduler import Scheduler
    from cyclone.master.state import State


def check(scheduler: "Scheduler") -> None:
    """AssertionError names the invariant that does not hold."""
    state = scheduler.state
    _check_spans(state)
    _check_sessions(state)
    waiting = sum(span.open_count for span in state.index if span.holder is None)
    leased = sum(span.open_count for span in state.index if span.holder is not None)
    queue = state.queue
    assert queue.returned_count == waiting, f"{queue.returned_count} counted as waiting, {waiting} wait"
    assert state.open_tasks == queue.fresh_count + queue.stored_count + waiting + leased, "open tasks miscounted"
    assert scheduler.done_tasks + state.open_tasks == state.last_id, "a task is neither open nor done"
    assert scheduler.consumed <= state.number
    assert state.last_leased_id <= state.horizon <= state.last_id, "a task above the horizon was leased"
    for task_id in state.crashes:
        found = state.index.overlapping(task_id, task_id + 1)
        assert found and found[0][0].open[task_id - found[0][0].first], f"task {task_id} is done but still charged"


def _check_spans(state: "State") -> None:
    end = 0
    for span in sorted(state.index, key=lambda span: span.first):
        name = f"span {span.first}..{span.end - 1}"
        assert span.first >= end, f"{name} overlaps the one before"
        end = span.end
        assert len(span.open) == len(span.args) == sum(count for _, count in span.runs), f"{name} has ragged columns"
        assert span.open_count == span.open.count(1) > 0, f"{name} miscounts its open tasks"
        assert all(job in state.jobs for job, _ in span.runs), f"{name} names an unknown job"
        if span.holder is not None:
            assert span in state.sessions.holder(span.holder).spans, f"{name} is unknown to its holder"
    assert end - 1 <= state.horizon


def _check_sessions(state: "State") -> None:
    sessions = state.sessions
    for session in sessions.by_id.values():
        assert session.open == sum(span.open_count for span in session.spans), f"{session.name} miscounts its tasks"
        assert all(span.holder == session.session_id for span in session.spans), f"{session.name} has a foreign span"
        assert session.sent <= session.granted or not session.reachable, f"{session.name} got more than it granted"
        assert (session.session_id in sessions.hungry) == (session.credit > 0), f"{session.name} in the wrong line"
        assert (session.session_id in sessions.idle) == (session.credit > 0 and session.open < session.slots)
        assert (session.session_id in sessions.laden) == (session.open > session.slots and session.reachable)
        assert sessions.by_name[session.name] is session
    assert sessions.ended == sum(session.ended for session in sessions.by_id.values()), "ended attempts miscounted"
    assert sessions.failed == sum(session.failed for session in sessions.by_id.values()), "failures miscounted"
    assert sessions.credit_total == sum(session.credit for session in sessions.by_id.values()), "credit miscounted"
