"""What the agent wants done. PURE. The service carries actions out in their order."""

from dataclasses import dataclass

from cyclone.controller.work import Piece
from cyclone.protocol.messages import AnyFromController, Job


@dataclass(frozen=True, slots=True)
class Send:
    """Send to the master. A message that cannot be sent is simply lost: the protocol heals that."""

    message: AnyFromController


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a process for this slot; ``Agent.worker_ready`` or ``worker_exited`` follows."""

    worker: int


@dataclass(frozen=True, slots=True)
class Execute:
    """Give the worker a batch whose first row has the number ``base``; ``jobs`` are those it has not been told of.

    ``place`` is what its tasks are told as their slot: from 0 to below ``worker_count``, and no other worker's while
    this one has rows.
    """

    worker: int
    base: int
    piece: Piece
    jobs: list[Job]
    place: int


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Take the unstarted rows back from a worker, exactly; ``Agent.taken_back`` follows, with None if that failed."""

    worker: int


@dataclass(frozen=True, slots=True)
class Flush:
    """Have a worker in a long task report what it finished before."""

    worker: int


@dataclass(frozen=True, slots=True)
class EndTask:
    """End a worker that executes exactly this row, by SIGTERM to its process group; ``Agent.task_ending`` follows.

    With ``started_s`` only if it is still in what had begun then: it may just have ended, or come to an end of its
    preparation.
    """

    worker: int
    seq: int
    started_s: float | None = None


@dataclass(frozen=True, slots=True)
class KillWorker:
    """SIGKILL to the worker's process group."""

    worker: int


@dataclass(frozen=True, slots=True)
class RetireWorker:
    """Let an idle worker exit; a fresh one takes its slot."""

    worker: int


@dataclass(frozen=True, slots=True)
class Say:
    """A line for the log. ``level`` is info or warning."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Exit:
    """End the controller, workers first, with this exit code."""

    code: int
    reason: str


Action = Send | StartWorker | Execute | TakeBack | Flush | EndTask | KillWorker | RetireWorker | Say | Exit
