"""What can happen to the master's state. PURE.

``Scheduler.apply`` is the only place where an event changes anything. *Recorded* events are what a journal stores and
what recovery replays through the same ``apply``; *volatile* ones, such as leases, die with the master. Events are
batch-sized: never one object per task.
"""

from dataclasses import dataclass

from cyclone.master.spans import Span
from cyclone.protocol.messages import Job, ResultBatch
from cyclone.protocol.runs import Runs


@dataclass(frozen=True, slots=True)
class JobAdded:
    """Recorded. A job is known from now on."""

    job: Job


@dataclass(frozen=True, slots=True)
class TasksAdded:
    """Recorded. Tasks with consecutive ids from ``first`` wait behind all others."""

    first: int
    runs: Runs
    args: list[bytes]


@dataclass(frozen=True, slots=True)
class ResultsRecorded:
    """Recorded. Final results: those rows of the batch whose byte in ``accepted`` is 1, or all where it is None."""

    batch: ResultBatch
    accepted: bytes | None
    controller: str


@dataclass(frozen=True, slots=True)
class CrashCharged:
    """Recorded. The attempt of this one task ended with the death of its worker."""

    task_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class TasksLeased:
    """Volatile. These spans go to a session, in its message ``seq``; each takes the next attempt."""

    session: int
    seq: int
    spans: list[Span]
    leased_at: float


@dataclass(frozen=True, slots=True)
class TasksReturned:
    """Volatile. The open tasks of this span wait again, in front."""

    span: Span


Recorded = JobAdded | TasksAdded | ResultsRecorded | CrashCharged
Volatile = TasksLeased | TasksReturned
Event = Recorded | Volatile
