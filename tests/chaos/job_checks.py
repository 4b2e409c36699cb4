"""The invariants of submitted jobs, judged from the clients' notes, the journal and the histories alone. PURE."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.evidence import Evidence, JobRecord
from tests.chaos.history import digest
from tests.chaos.job_plan import HOLDERS_MAX, JobDraw, draw, of_task

_BAD = ("failed", "timed_out", "setup_failed", "quarantined", "refused")


def _jobs(evidence: Evidence) -> dict[tuple[int, int], list[JobRecord]]:
    """The journal's tasks of each job by its client and its number."""
    found: dict[tuple[int, int], list[JobRecord]] = defaultdict(list)
    for record in evidence.job_records:
        client, number, _ = of_task(record.number)
        found[client, number].append(record)
    return found


def submitted_once(evidence: Evidence) -> Iterator[str]:
    """J1: what was answered is in the journal, whole, and what was repeated is there once."""
    jobs = _jobs(evidence)
    for (client, number), records in jobs.items():
        ids = {record.job_id for record in records}
        if len(ids) > 1:
            yield f"job {number} of client {client} was made {len(ids)} times: {sorted(ids)}"
        twice = [index for index, count in Counter(record.index for record in records).items() if count > 1]
        if twice:
            yield f"job {number} of client {client} has tasks {twice} more than once"
        for record in records:
            if of_task(record.number)[2] != record.index:
                yield f"task {record.index} of job {number} of client {client} is task {record.number}"
    for note in evidence.client_notes:
        records = jobs.get((note.client, note.job), [])
        if note.event == "submitted" and len(records) != note.fields["count"]:
            yield f"job {note.job} of client {note.client} has {len(records)} tasks of {note.fields['count']}"
        if note.event == "ended":
            counts = Counter(record.state for record in records)
            if counts != note.fields["tasks"]:
                yield f"job {note.job} of client {note.client} ended with {note.fields['tasks']}, recorded is {counts}"
        if note.event == "followed":
            recorded = sorted([record.index, record.state] for record in records)
            if recorded != note.fields["results"]:
                yield f"the follower of job {note.job} of client {note.client} was told something else than is recorded"


def ended_as_they_must(evidence: Evidence) -> Iterator[str]:
    """J2: each task has the result that it deserves, which an attempt at it computed; nobody else's wish ended it."""
    computed = {(e.number, e.task_id, e.hash) for e in evidence.job_executions}
    killed = Counter(e.number for e in evidence.job_executions if e.ended_ns is None)
    for (client, number), records in _jobs(evidence).items():
        job = draw(evidence.about.plan.seed, client, number)
        bad = sum(record.state in _BAD for record in records)
        may_end = job.deed == "cancel" or (job.max_fails is not None and bad > job.max_fails)
        if job.max_fails is not None and bad > job.max_fails + 1:
            yield f"job {number} of client {client} has {bad} bad ends, and max_fails is {job.max_fails}"
        for record in records:
            expected = "failed" if job.kinds[record.index] == "fail" else "completed"
            unlucky = record.state == "quarantined" and killed[record.number] >= evidence.about.crash_limit
            if record.state == "cancelled" and may_end:
                continue
            if record.state != expected and not unlucky:
                yield f"task {record.index} of job {number} of client {client} is {record.state}, not {expected}"
            elif record.state == expected and (record.number, record.task_id, digest(record.text)) not in computed:
                yield f"task {record.index} of job {number} of client {client} has a result that nobody computed"


def cancelled_stays_so(evidence: Evidence) -> Iterator[str]:
    """J3: what a client was granted to be cancelled completes no more."""
    jobs = _jobs(evidence)
    for note in evidence.client_notes:
        if note.event == "cancelled":
            completed = sum(record.state == "completed" for record in jobs.get((note.client, note.job), ()))
            if completed > note.fields["completed"]:
                before = note.fields["completed"]
                yield f"job {note.job} of client {note.client}: {completed} complete, {before} when it was cancelled"


def limits_hold(evidence: Evidence) -> Iterator[str]:
    """J4: never do more tasks run at once than a job's ``parallel`` and the cluster's limit allow."""
    drawn: dict[tuple[int, int], JobDraw] = {}
    changes: dict[str, list[tuple[int, int]]] = defaultdict(list)
    bounds = {"limit": HOLDERS_MAX}
    for execution in evidence.job_executions:
        client, number, _ = of_task(execution.number)
        job = drawn.setdefault((client, number), draw(evidence.about.plan.seed, client, number))
        # When a killed one ended nobody knows: it counts for its start alone, which can only be too little.
        ended_ns = execution.started_ns if execution.ended_ns is None else execution.ended_ns
        names = ["limit"] if job.is_limited else []
        if job.parallel:
            name = f"job {number} of client {client}"
            names.append(name)
            bounds[name] = job.parallel
        for name in names:
            changes[name] += [(execution.started_ns, 1), (ended_ns, -1)]
    for name, moments in changes.items():
        busy = most = 0
        for _, change in sorted(moments):
            busy += change
            most = max(most, busy)
        if most > bounds[name]:
            yield f"{name}: {most} tasks ran at once, {bounds[name]} may"
