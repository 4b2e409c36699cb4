"""What is the same wherever jobs are kept: which of them a selection means, how one looks that has ended, how long it
stays.

Owns these rules. Must not know where jobs are kept, nor what an open job does at this moment.
"""

import bisect
from collections.abc import Iterator
from operator import itemgetter

import msgspec

from cyclone.protocol import states
from cyclone.protocol.job_messages import JobSummary
from cyclone.protocol.job_spec import JobSelection, JobSpec

PROCESSED = "processed"
COMPLETED = states.STATE_NAMES[states.COMPLETED]
CANCELLED = states.STATE_NAMES[states.CANCELLED]
EXPIRED = states.STATE_NAMES[states.EXPIRED]
_WELL = frozenset({COMPLETED, PROCESSED})
_STOPPED = frozenset({CANCELLED, EXPIRED})
_KEEP_S_MIN = 60.0
# Measured: an open job without anything in its options; and the name of a node, there and among what its tasks need.
_JOB_BYTES = 4608
_NODE_BYTES = 160
_encode = msgspec.msgpack.Encoder().encode


def ended_state(tasks: dict[str, int]) -> str:
    """Of a job that has ended, from its tasks by state: failed where one of them ended badly, else cancelled where one
    was, else expired where one was, else completed, also with no task at all.
    """
    found = {state for state, count in tasks.items() if count} - _WELL
    if not found:
        return COMPLETED
    if CANCELLED in found and found <= _STOPPED:
        return CANCELLED
    return EXPIRED if found <= _STOPPED else "failed"


def ended_summary(
    job_id: int, spec: JobSpec, owner: str, submitted: float, finished: float, tasks: dict[str, int]
) -> JobSummary:
    """A job that has ended, as it is listed from then on."""
    return JobSummary(
        job_id,
        spec.name,
        spec.namespace,
        owner,
        ended_state(tasks),
        spec.task_class,
        spec.priority,
        submitted,
        finished,
        True,
        tasks,
        spec.session,
        spec.tags,
    )


def with_processed(tasks: dict[str, int], taken: int) -> dict[str, int]:
    """The tasks of a job by state, where a consumer has taken so many: those that completed, and no more of them."""
    completed = tasks.get(COMPLETED, 0) + tasks.get(PROCESSED, 0)
    processed = min(taken, completed)
    found = {**tasks, COMPLETED: completed - processed, PROCESSED: processed}
    return {state: count for state, count in found.items() if count}


def spec_bytes(spec: JobSpec) -> int:
    """About what a job takes in a master's memory besides its tasks; no less than a message takes that tells of it."""
    return _JOB_BYTES + len(_encode(spec)) + _NODE_BYTES * (len(spec.nodes) + len(spec.exclude))


def kept_until(finished: float, keep_s: float) -> float:
    """When a job may go that ended then. However short it is to be kept, who follows it can take the last results."""
    return finished + max(keep_s, _KEEP_S_MIN)


def is_meant(selection: JobSelection, job: JobSummary) -> bool:
    """Whether a job fits every filter that is not empty; ``ids`` are for ``id_windows``, ``last`` for who sees all."""
    return (not selection.states or job.state in selection.states) and may_be_meant(selection, job, job.owner)


def may_be_meant(selection: JobSelection, job: JobSummary | JobSpec, owner: str) -> bool:
    """The same without its state, which takes longer to find out."""
    return (
        selection.namespace in ("", job.namespace)
        and selection.owner in ("", owner)
        and selection.name in ("", job.name)
        and selection.session in ("", job.session)
        and (not selection.tags or selection.tags.items() <= job.tags.items())
    )


def id_windows(selection: JobSelection, before: int) -> Iterator[tuple[int, int]]:
    """The ranges of ids below ``before`` (0 for no bound) that a selection can mean, the highest first, both ends
    included. A last one without a lower end is ``(1, high)``.
    """
    top = before - 1 if before else (1 << 63) - 1
    if not selection.ids:
        yield 1, top
        return
    ranges = sorted(selection.ids)
    # Of very many ranges each page passes over those that the pages before it have shown.
    for place in range(bisect.bisect_right(ranges, top, key=itemgetter(0)) - 1, -1, -1):
        low, high = max(ranges[place][0], 1), min(ranges[place][1], top)
        if low <= high:
            yield low, high
            top = low - 1
