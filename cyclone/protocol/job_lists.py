"""What is the same wherever jobs are kept: which of them a selection means, how one looks that has ended, how long it
stays.

Owns these rules. Must not know where jobs are kept, nor what an open job does at this moment.
"""

from collections.abc import Iterator

from cyclone.protocol import states
from cyclone.protocol.job_messages import JobSummary
from cyclone.protocol.job_spec import JobSelection, JobSpec

PROCESSED = "processed"
COMPLETED = states.STATE_NAMES[states.COMPLETED]
_WELL = frozenset({COMPLETED, PROCESSED})
_STOPPED = frozenset({states.STATE_NAMES[states.CANCELLED], states.STATE_NAMES[states.EXPIRED]})
_KEEP_S_MIN = 60.0


def ended_state(tasks: dict[str, int]) -> str:
    """Of a job that has ended, from its tasks by state: failed where one of them ended badly, cancelled where one was
    cancelled or expired, else completed, also with no task at all.
    """
    found = {state for state, count in tasks.items() if count}
    if found <= _WELL:
        return "completed"
    return "cancelled" if found <= _WELL | _STOPPED else "failed"


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


def kept_until(finished: float, keep_s: float) -> float:
    """When a job may go that ended then. However short it is to be kept, who follows it can take the last results."""
    return finished + max(keep_s, _KEEP_S_MIN)


def is_meant(selection: JobSelection, job: JobSummary) -> bool:
    """Whether a job fits every filter that is not empty; ``last`` is for who sees all of them."""
    return (
        selection.namespace in ("", job.namespace)
        and selection.owner in ("", job.owner)
        and selection.name in ("", job.name)
        and selection.session in ("", job.session)
        and (not selection.states or job.state in selection.states)
        and (not selection.ids or any(low <= job.job_id <= high for low, high in selection.ids))
        and selection.tags.items() <= job.tags.items()
    )


def id_windows(selection: JobSelection, before: int) -> Iterator[tuple[int, int]]:
    """The ranges of ids below ``before`` (0 for no bound) that a selection can mean, the highest first, both ends
    included. A last one without a lower end is ``(1, high)``.
    """
    top = before - 1 if before else (1 << 63) - 1
    if not selection.ids:
        yield 1, top
        return
    for low, high in sorted(selection.ids, reverse=True):
        low, high = max(low, 1), min(high, top)
        if low <= high:
            yield low, high
            top = low - 1
