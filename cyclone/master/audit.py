"""Every invariant of the scheduler's state, re-derived from scratch: for tests and the simulation. PURE.

Looks at everything and changes nothing. Costs a pass over all that is in memory.
"""

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclone.master.leases.sessions import Session
    from cyclone.master.scheduler import Scheduler
    from cyclone.master.state import State
    from cyclone.master.waiting.lanes import Lane


def check(scheduler: "Scheduler") -> None:
    """AssertionError names the invariant that does not hold."""
    state = scheduler.state
    _check_spans(state)
    _check_sessions(state)
    _check_lanes(state)
    _check_jobs(state)
    waiting = sum(span.open_count for span in state.index if span.holder is None)
    leased = sum(span.open_count for span in state.index if span.holder is not None)
    window = state.lanes.window
    assert window.returned_count == waiting, f"{window.returned_count} counted as waiting, {waiting} wait"
    assert state.open_tasks == window.fresh_count + window.stored_count + waiting + leased, "open tasks miscounted"
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
        lane = state.lanes.lane(span.job_id)
        assert span.end - 1 <= lane.horizon, f"{name} is above the horizon {lane.horizon} of its job"
        assert not lane.job_id or {lane.job_id} == {job for job, _ in span.runs}, f"{name} is in a foreign lane"
        if span.holder is not None:
            assert span in state.sessions.holder(span.holder).spans, f"{name} is unknown to its holder"
    assert end - 1 <= state.horizon


def _check_sessions(state: "State") -> None:
    sessions = state.sessions
    for session in sessions.by_id.values():
        assert session.open == sum(span.open_count for span in session.spans), f"{session.name} miscounts its tasks"
        assert all(span.holder == session.session_id for span in session.spans), f"{session.name} has a foreign span"
        assert session.sent <= session.granted or not session.reachable, f"{session.name} got more than it granted"
        _check_load(state, session)
        is_unserved = session.session_id in sessions.parked and session.free_slots > 0
        assert (session.session_id in sessions.unserved) == is_unserved, f"{session.name} is served, or not"
        is_in_line = session.credit > 0 and session.session_id not in sessions.parked
        assert session.credit > 0 or session.session_id not in sessions.parked, f"{session.name} is parked for nothing"
        assert (session.session_id in sessions.hungry) == is_in_line, f"{session.name} in the wrong line"
        assert (session.session_id in sessions.idle) == (is_in_line and session.taken < session.slots)
        assert (session.session_id in sessions.laden) == (session.taken > session.slots and session.reachable)
        assert sessions.by_name[session.name] is session
    assert sessions.ended == sum(session.ended for session in sessions.by_id.values()), "ended attempts miscounted"
    assert sessions.failed == sum(session.failed for session in sessions.by_id.values()), "failures miscounted"
    assert sessions.credit_total == sum(session.credit for session in sessions.by_id.values()), "credit miscounted"


def _check_load(state: "State", session: "Session") -> None:
    """What a controller's tasks take of it, those included that have their result from elsewhere."""
    lanes = state.lanes
    parts = [(lanes.lane(span.job_id).terms, span.open_count) for span in session.spans]
    parts += [(ghost.terms, ghost.tasks) for ghost in session.ghosts]
    assert session.taken == sum(terms.cpus * count for terms, count in parts), f"{session.name} miscounts its slots"
    assert session.mem_taken == sum(terms.mem_bytes * count for terms, count in parts), f"{session.name}: memory"
    taken: Counter[str] = Counter()
    for terms, count in parts:
        taken.update({name: amount * count for name, amount in terms.resources.items()})
    assert taken == Counter(session.resources_taken), f"{session.name} miscounts its resources"
    if any(terms.is_bounded for terms, _ in parts):
        offer = session.offer
        assert not offer.mem_bytes or session.mem_taken <= offer.mem_bytes, f"{session.name} has too little memory"
        too_much = {name for name, amount in taken.items() if amount > offer.resources.get(name, 0)}
        assert not too_much, f"{session.name} has too little of {too_much}"


def _check_lanes(state: "State") -> None:
    lanes, window = state.lanes, state.lanes.window
    for name in ("fresh_count", "stored_count", "returned_count"):
        assert getattr(window, name) == sum(getattr(lane, name) for lane in lanes), f"{name} is not that of all lanes"
    out: Counter[int] = Counter()
    for span in state.index:
        if span.holder is not None and span.holder != state.sessions.delayed.session_id:
            out[span.job_id] += span.open_count
    lingering: Counter[int] = Counter()
    used: Counter[str] = Counter()
    for job_id, count, names in lanes.limits.lingering():
        lingering[job_id] += count
        used.update(dict.fromkeys(names, count))
    for session in state.sessions.by_id.values():
        for ghost in session.ghosts:
            lingering[ghost.job_id] += ghost.tasks
            used.update(dict.fromkeys(ghost.terms.limits, ghost.tasks))
    for lane in lanes:
        assert lane.out == out[lane.job_id], f"job {lane.job_id} counts {lane.out} leases, there are {out[lane.job_id]}"
        assert lane.lingering == lingering[lane.job_id], f"job {lane.job_id} miscounts leases that may go on"
        used.update(dict.fromkeys(lane.terms.limits, lane.out))
        _check_lane(state, lane)
    used = Counter({name: count for name, count in used.items() if count})
    assert lanes.limits.used == used, f"limits count {lanes.limits.used}, there are {dict(used)}"
    assert lanes.ready_count == sum(lane.counted for lane in lanes), "what can be leased is miscounted"
    for share in lanes.shares.by_name.values():
        pending_s = sum(lane.pending_s / lane.weight for lane in share.lanes.values())
        assert abs(share.pending_s - pending_s) < 1e-3, f"namespace {share.name}: {share.pending_s} s pending"
        assert share.out == sum(lane.out for lane in share.lanes.values()), f"namespace {share.name} miscounts leases"
        ready = {lane.shelf for lane in share.lanes.values() if lane.key is not None}
        assert set(share.active) == ready, f"namespace {share.name} has other shelves up than have tasks"
        assert (share.name in lanes.shares.active) == bool(ready), f"namespace {share.name} is in the wrong line"


def _check_jobs(state: "State") -> None:
    jobs, lanes = state.jobs, state.lanes
    open_jobs: Counter[str] = Counter()
    open_tasks: Counter[str] = Counter()
    for job_id, record in jobs.records.items():
        name, lane = f"job {job_id}", lanes.lane(job_id)
        assert record.open == lane.waiting + lane.out + lane.delayed, f"{name} miscounts its open tasks"
        assert record.added == sum(count for _, _, count in record.extents), f"{name} has lost some of its blocks"
        assert record.ended_count == sum(record.ended.values()), f"{name} miscounts its results"
        assert lane.held == (record.held or record.stopped is not None), f"{name} is held, or not, by its lane alone"
        assert (job_id in jobs.over) == record.is_over, f"{name} is to end, or not, and should be otherwise"
        assert jobs.of_key(record.key) is record, f"{name} is not found by its key"
        open_jobs[record.spec.namespace] += 1
        open_tasks[record.spec.namespace] += record.open
    assert list(jobs.records) == sorted(jobs.records), "jobs are not in the order of their numbers"
    for namespace in jobs.namespaces:
        usage = jobs.usage(namespace)
        assert (usage.jobs, usage.tasks) == (open_jobs[namespace], open_tasks[namespace]), f"namespace {namespace}"


def _check_lane(state: "State", lane: "Lane") -> None:
    name = f"job {lane.job_id}"
    can_go = lane.may_go
    assert (lane.key is not None) == (can_go and lane.waiting > 0), f"{name} is in the wrong line"
    assert lane.counted == (lane.in_memory if can_go else 0), f"{name} miscounts what can be leased"
    assert lane.key is None or lane.key[1] <= lane.head, f"{name} has something in front of its place on the shelf"
    assert lane.pending_s > -1e-6 and (lane.pending_s < 1e-6 or lane.out), f"{name}: {lane.pending_s} s pending"
    # Nobody knows what an earlier epoch has leased: all that it may have counts, as long as that may go on.
    former = state.sessions.former.spans if state.sessions.former else ()
    if not any(span.job_id == lane.job_id for span in former):
        parallel = lane.terms.parallel
        assert parallel is None or lane.out <= parallel, f"{name} runs {lane.out} at once, and may run {parallel}"
