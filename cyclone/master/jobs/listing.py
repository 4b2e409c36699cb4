"""Open jobs and their tasks as clients see them in lists: by selection, by page, by index. PURE.

Only looks. What has a result is listed from the journal, by the body; here is what the brain alone knows. The
generator's job is number 0; the indexes of its tasks are their ids.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from cyclone.lifecycle import job_state
from cyclone.master.jobs.extents import Piece
from cyclone.master.jobs.failures import Failures
from cyclone.master.jobs.registry import JobRecord
from cyclone.master.leases.sessions import Session
from cyclone.master.spans import Holdings, Span
from cyclone.master.state import State
from cyclone.protocol.job_lists import id_windows, is_meant, may_be_meant, with_processed
from cyclone.protocol.job_messages import JobDetail, JobSummary, NamespaceSummary
from cyclone.protocol.job_spec import DEFAULT_NAMESPACE, GENERATOR_JOB, JobSelection
from cyclone.protocol.states import CANCELLED

# So many ids are looked at together, and so many runs of tasks that are executed are counted by job.
_CHUNK_TASKS = 65536
# So many jobs one call looks at; what it costs to sum one up, in looks. Together that is some 5 ms.
_LOOKS_MAX = 16384
_LOOKS_PER_SUMMARY = 15
_RUNS_COUNTED_MAX = 65536


@dataclass(frozen=True, slots=True)
class LiveTasks:
    """Consecutive tasks of a job that have no result yet, all in the same state.

    ``attempt`` is that of their last lease, 0 for none; ``controller`` who has them, empty for nobody; ``since`` when
    they were leased to it, or found there after a restart, in Unix time, 0 for nobody.
    """

    index: int
    task_id: int
    count: int
    state: str
    attempt: int
    controller: str
    since: float = 0.0


def summaries(state: State, selection: JobSelection, before: int, page: int) -> tuple[list[JobSummary], int]:
    """Open jobs that are meant, the newest first, at most so many with numbers below ``before`` (0: all).

    The number is ``before`` of the next page, 0 where there is none: one call looks at so many jobs only.
    """
    running = running_by_job(state)
    found: list[JobSummary] = []
    looks = _LOOKS_MAX
    for record in _in_windows(state, selection, before):
        if len(found) >= page or looks <= 0:
            return found, record.job_id + 1
        looks -= 1
        if may_be_meant(selection, record.spec, record.owner):
            looks -= _LOOKS_PER_SUMMARY
            one = summary(state, record, running)
            if is_meant(selection, one):
                found.append(one)
    # It came before all others.
    generator = _generator(state, running[GENERATOR_JOB]) if not selection.ids or selection.ids[0][0] == 0 else None
    if generator and is_meant(selection, generator):
        found.append(generator)
    return found, 0


def selected(state: State, selection: JobSelection) -> list[JobRecord]:
    """Open jobs that are meant, the newest first; with ``last`` at most one."""
    # What nobody asks for is not counted.
    running = running_by_job(state) if selection.states else Counter[int]()
    found = []
    for record in _in_windows(state, selection, 0):
        if not may_be_meant(selection, record.spec, record.owner):
            continue
        if not selection.states or is_meant(selection, summary(state, record, running)):
            found.append(record)
            if selection.last:
                break
    return found


def detail(state: State, failures: Failures, job_id: int) -> JobDetail | None:
    """An open job with all that is known of it."""
    if job_id == GENERATOR_JOB:
        generator = _generator(state, running_by_job(state)[job_id])
        return JobDetail(0, generator) if generator else None
    record = state.jobs.records.get(job_id)
    if record is None:
        return None
    reason = record.stopped.reason if record.stopped else ""
    return JobDetail(0, summary(state, record, running_by_job(state)), record.spec, failures.of_job(job_id), reason)


def summary(state: State, record: JobRecord, running: Counter[int]) -> JobSummary:
    """One job in a list."""
    spec = record.spec
    tasks = counts(state, record, running[record.job_id])
    return JobSummary(
        record.job_id,
        spec.name,
        spec.namespace,
        record.owner,
        job_state(tasks, record.sealed, record.held, _is_cancelled(record)),
        spec.task_class,
        spec.priority,
        record.submitted,
        0.0,
        record.sealed,
        tasks,
        spec.session,
        spec.tags,
    )


def _is_cancelled(record: JobRecord) -> bool:
    # What has expired is no such job: what runs of it goes on.
    return record.stopped is not None and record.stopped.status == CANCELLED


def counts(state: State, record: JobRecord, running: int) -> dict[str, int]:
    """The tasks of a job by state, those of which there are any; so many of those that are out are executed."""
    return with_processed({**_open_counts(state, record.job_id, running), **record.ended}, record.processed.count)


def _open_counts(state: State, job_id: int, running: int) -> dict[str, int]:
    lane = state.lanes.lane(job_id)
    tasks = {}
    if lane.waiting:
        tasks[_waits_as(state, job_id)] = lane.waiting
    if lane.delayed:
        tasks["delayed"] = tasks.get("delayed", 0) + lane.delayed
    if running := min(running, lane.out):
        tasks["running"] = running
    if lane.out > running:
        tasks["leased"] = lane.out - running
    return tasks


def _generator(state: State, running: int) -> JobSummary | None:
    """The generator's tasks as those of one job; None where there never was one."""
    ended = state.jobs.ended_of_generator(state.ended)
    tasks = {**_open_counts(state, GENERATOR_JOB, running), **ended}
    sealed = state.progress.exhausted
    if not tasks and not state.progress.pulled:
        return None
    shown = job_state(tasks, sealed, held=False)
    return JobSummary(GENERATOR_JOB, "generator", DEFAULT_NAMESPACE, "", shown, "", 0, 0.0, 0.0, sealed, tasks)


def namespace_summaries(state: State) -> list[NamespaceSummary]:
    """All namespaces by name."""
    running = running_by_job(state)
    tasks = {name: Counter[str]() for name in state.jobs.namespaces}
    for record in state.jobs.records.values():
        of_namespace = tasks[record.spec.namespace]
        for name, count in _open_counts(state, record.job_id, running[record.job_id]).items():
            of_namespace[name] += count
    out = {name: by_state["leased"] + by_state["running"] for name, by_state in tasks.items()}
    total = sum(out.values()) or 1
    return [
        NamespaceSummary(
            namespace,
            state.jobs.usage(name).jobs,
            {name: count for name, count in tasks[name].items() if count},
            out[name] / total,
        )
        for name, namespace in sorted(state.jobs.namespaces.items())
    ]


def running_by_job(state: State) -> Counter[int]:
    """How many tasks of each job a worker executes, as their controllers said last."""
    found: Counter[int] = Counter()
    looks = 0
    for session in state.sessions.by_id.values():
        looks += len(session.running)
        if looks > _RUNS_COUNTED_MAX:
            return found
        if session.running:
            found += running_at(state, session)
    return found


def running_at(state: State, session: Session) -> Counter[int]:
    """How many tasks of each job one controller executes, as it said last."""
    found: Counter[int] = Counter()
    for part in session.running:
        for span, start, stop in state.index.overlapping(part.first, part.first + part.count):
            if span.holder == session.session_id and span.token == (part.epoch, part.attempt):
                found[span.job_id] += span.open.count(1, start - span.first, stop - span.first)
    return found


def live_tasks(state: State, job_id: int, start: int, stop: int) -> Iterator[LiveTasks]:
    """The open tasks of a job with indexes from ``start`` up to ``stop``, by index, as runs of like ones.

    Lazy, so that it costs what is looked at. Nothing may change meanwhile.
    """
    if job_id not in state.lanes:
        return
    held: dict[int, Holdings] = {}
    for index, first, count in _pieces(state, job_id, start, stop):
        for low in range(first, first + count, _CHUNK_TASKS):
            high = min(first + count, low + _CHUNK_TASKS)
            for at, end, name, span in _open_runs(state, job_id, low, high, held):
                holder = state.sessions.by_id.get(span.holder or 0) if span else None
                yield LiveTasks(
                    index + at - first,
                    at,
                    end - at,
                    name,
                    span.attempt if span else 0,
                    holder.name if holder else "",
                    span.leased_at + state.jobs.wall_offset_s if span and holder else 0.0,
                )


def _in_windows(state: State, selection: JobSelection, before: int) -> Iterator[JobRecord]:
    """The open jobs whose numbers fit, the newest first."""
    records = state.jobs.records
    if not selection.ids:
        # They are in rising order.
        yield from (record for job_id, record in reversed(records.items()) if not before or job_id < before)
        return
    if sum(high - low + 1 for low, high in selection.ids) < len(records):
        for low, high in id_windows(selection, before):
            yield from (records[job_id] for job_id in range(high, low - 1, -1) if job_id in records)
        return
    # However many ranges these are: each of them, and each record, is looked at once.
    windows = id_windows(selection, before)
    low, high = next(windows, (0, 0))
    for job_id, record in reversed(records.items()):
        while low and job_id < low:
            low, high = next(windows, (0, 0))
        if not low:
            return
        if job_id <= high:
            yield record


def _pieces(state: State, job_id: int, start: int, stop: int) -> Iterator[Piece]:
    if job_id == GENERATOR_JOB:
        first, end = max(start, 1), min(stop, state.last_id + 1)
        return iter([(first, first, end - first)] if first < end else [])
    return state.jobs.records[job_id].extents.by_index(start, stop)


def _waits_as(state: State, job_id: int) -> str:
    """The state of tasks that wait in the lane of a job."""
    record, lane = state.jobs.records.get(job_id), state.lanes.lane(job_id)
    if record and record.held:
        return "held"
    return "delayed" if lane.is_early else "queued"


def _open_runs(
    state: State, job_id: int, start: int, stop: int, held: dict[int, Holdings]
) -> Iterator[tuple[int, int, str, Span | None]]:
    """What has no result of these ids, by id: from where to where, in which state, in which span if it is in one."""
    waits_as = _waits_as(state, job_id)
    new = [(at, end, waits_as, None) for at, end in state.lanes.lane(job_id).new_within(start, stop)]
    known: list[tuple[int, int, str, Span | None]] = []
    for span, low, high in state.index.overlapping(start, stop):
        if span.job_id == job_id:
            for at, end in span.open_runs():
                at, end = max(at, low), min(end, high)
                if at < end:
                    known += [(*run, span) for run in _states(state, span, at, end, waits_as, held)]
    # What was never leased lies behind what was, but for what was stored again.
    return iter(sorted([*known, *new], key=lambda run: run[0]) if new and known else known or new)


def _states(
    state: State, span: Span, start: int, stop: int, waits_as: str, held: dict[int, Holdings]
) -> list[tuple[int, int, str]]:
    """A stretch of open tasks of a span, by their states."""
    if span.holder is None:
        return [(start, stop, waits_as)]
    if span.holder == state.sessions.delayed.session_id:
        return [(start, stop, "delayed")]
    session = state.sessions.by_id.get(span.holder)
    if session is None or not session.running:
        return [(start, stop, "leased")]
    running = held.setdefault(session.session_id, Holdings(session.running))
    found = []
    at = start
    for low, high in running.gaps(span):
        low, high = max(low, start), min(high, stop)
        if low < high:
            if at < low:
                found.append((at, low, "running"))
            found.append((low, high, "leased"))
            at = high
    if at < stop:
        found.append((at, stop, "running"))
    return found
