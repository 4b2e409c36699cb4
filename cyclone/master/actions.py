"""What the scheduler wants done. PURE. The service carries actions out in this order: Record, commit,
Deliver, Send, Consult, Follow, Say, Load, Finish.

Nothing may leave the master before what it rests on is recorded.
"""

from dataclasses import dataclass, field

from cyclone.master.events import Recorded
from cyclone.master.jobs.rights import ANYBODY, Who
from cyclone.protocol.figure_messages import FiguresRequest
from cyclone.protocol.job_messages import AnyToClient, DetailRequest, FollowRequest, JobsRequest, TasksRequest
from cyclone.protocol.messages import AnyFromMaster
from cyclone.results import RecordedBlock


@dataclass(frozen=True, slots=True)
class Record:
    """Write this event to the journal before anything else of this turn is seen outside."""

    event: Recorded


@dataclass(frozen=True, slots=True)
class Send:
    """Send to the peer with this routing id. A message that cannot be sent is told to ``Scheduler.unreachable``."""

    peer: bytes
    message: AnyFromMaster | AnyToClient


@dataclass(frozen=True, slots=True)
class Deliver:
    """Final results for the generator and every other reader, numbered without gaps from 1.

    ``leased_at`` is when this master handed their first task out, 0 where it was another one, or another attempt.
    ``parts`` are the stretches of rows that are of submitted jobs: ``(job id, index of the first, row, count)``.
    """

    number: int
    block: RecordedBlock
    leased_at: float = field(default=0.0, compare=False)
    parts: tuple[tuple[int, int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Consult:
    """Answer this request of a client from what the journal, or the memory of results, has, and from what the brain
    says when it is asked: ``Scheduler.job_summaries``, ``Scheduler.live_tasks``.
    """

    peer: bytes
    request: JobsRequest | TasksRequest | DetailRequest | FiguresRequest


@dataclass(frozen=True, slots=True)
class Follow:
    """A client follows the results of a job from now on, or has come further: see ``master.client_feeds``.

    ``start`` is the number behind which the first results of the job can be, 0 where the job is not known here; then
    ``owner`` is empty.
    """

    peer: bytes
    request: FollowRequest
    start: int
    is_open: bool
    who: Who = ANYBODY
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """Read the blocks that begin with these ids from the journal; ``Scheduler.loaded`` is owed in the same turn."""

    firsts: list[int]


@dataclass(frozen=True, slots=True)
class Say:
    """A line for the log. ``level`` is info or warning; the names of ``nodes`` are put behind the text, folded."""

    level: str
    text: str
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finish:
    """Everything is done and every controller was told to stop."""


Action = Record | Send | Deliver | Consult | Follow | Load | Say | Finish
