"""What the scheduler wants done. PURE. The service carries actions out in this order: Record, commit, Deliver, Send,
Say, Load, Finish.

Nothing may leave the master before what it rests on is recorded.
"""

from dataclasses import dataclass, field

from cyclone.master.events import Recorded
from cyclone.protocol.messages import AnyFromMaster, AnyToClient
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
    """

    number: int
    block: RecordedBlock
    leased_at: float = field(default=0.0, compare=False)


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


Action = Record | Send | Deliver | Load | Say | Finish
