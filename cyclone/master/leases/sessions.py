"""The controllers as the master sees them: one session per connected incarnation. PURE.

Keeps who may be given work in constant time per change: ``idle`` are sessions with a free slot, ``hungry`` all with
credit, ``laden`` those that hold more than they have slots. ``parked`` are taken out of both lines: there was nothing
for them, and they come back when they change or when something new waits; ``unserved`` are those of them with a free
slot. ``ended`` and ``failed`` are sums over all sessions. Decides nothing; the scheduler does.
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from cyclone.master.spans import Span
from cyclone.protocol import limits
from cyclone.protocol.messages import Hello, Offer, TaskRange

if TYPE_CHECKING:
    from cyclone.master.waiting.lane import LaneTerms

# Superseded incarnations are remembered so that they cannot come back; this many suffice for a restart of everything,
# and each name's last incarnation so that it can be superseded, also where more names are known than are here now.
_SUPERSEDED_MAX = limits.SESSIONS_MAX
_NAMES_MAX = 2 * limits.SESSIONS_MAX
# Who holds tasks without being a controller.
_FORMER = 0
_DELAYED = -1
# So many sessions have numbers of their epoch's own, which a reader of the log can tell apart: 6000001 is of epoch 7.
_PER_EPOCH = 1_000_000


class Ghost(NamedTuple):
    """A lease whose tasks got their result from somebody else while it goes on; what it takes stays taken."""

    job_id: int
    terms: "LaneTerms"
    part: TaskRange
    tasks: int
    seq: int


@dataclass(slots=True, eq=False)
class Session:
    """One incarnation of a controller over one connection. Counts are cumulative over the session.

    ``open`` are its tasks, ``taken`` the slots that they need; ``mem_taken`` and ``resources_taken`` count what only
    some tasks ask for. ``running``, ``busy`` and ``resting`` are what its last State says, ``names`` what it may be
    called by. At ``recall_again_at`` it is asked once more for all that has not started. One that ``is_delayed`` stands
    for what waits for its time.
    """

    session_id: int
    peer: bytes
    name: str
    incarnation: str
    host: str
    slots: int
    last_seen: float
    granted: int = 0
    sent: int = 0
    tasks_seq: int = 0
    state_seq: int = 0
    open: int = 0
    reachable: bool = True
    drained: bool = False
    suspected: bool = False
    ended: int = 0
    failed: int = 0
    recall_after: float = 0.0
    recall_again_at: float = math.inf
    jobs: set[int] = field(default_factory=set)
    # A dict for its order: iterating a set of objects would differ from run to run of the same seed.
    spans: dict[Span, None] = field(default_factory=dict)
    offer: Offer = Offer()
    names: frozenset[str] = frozenset()
    version: str = ""
    python: str = ""
    taken: int = 0
    mem_taken: int = 0
    resources_taken: dict[str, int] = field(default_factory=dict)
    ghosts: list[Ghost] = field(default_factory=list)
    busy: int = 0
    resting: int = 0
    running: list[TaskRange] = field(default_factory=list)
    is_delayed: bool = False
    # For whoever keeps the sum.
    credit_counted: int = 0

    @property
    def credit(self) -> int:
        """How many more tasks may be sent; none without a worker, which is also what a draining controller reports."""
        if not self.reachable or not self.slots or self.drained:
            return 0
        credit = self.granted - self.sent
        if credit <= 0:
            return 0
        # Where nearly everything fails, a task at a time is enough to see whether that goes on.
        return min(credit, max(0, 1 - self.open)) if self.suspected else credit

    @property
    def is_leaving(self) -> bool:
        """Whether it only finishes what it runs: a worker that executes something is a slot, but for who leaves."""
        return not self.slots and bool(self.running)

    @property
    def free_slots(self) -> int:
        """Slots without a task."""
        return max(0, self.slots - self.taken)


class Sessions:
    """All sessions, by id and by name.

    No number of a session comes back in a later epoch: a message that was on its way for so long must not be taken for
    one of the session that has its number by now, and tell the master that what that one was given had got lost.
    """

    def __init__(self, epoch: int = 1) -> None:
        self.by_id: dict[int, Session] = {}
        self.by_name: dict[str, Session] = {}
        self.by_peer: dict[bytes, Session] = {}
        self.idle: dict[int, Session] = {}
        self.hungry: dict[int, Session] = {}
        self.laden: dict[int, Session] = {}
        self.parked: dict[int, Session] = {}
        self.unserved: dict[int, Session] = {}
        self.ended = 0
        self.failed = 0
        self.credit_total = 0
        self._superseded: dict[str, None] = {}
        self._last_incarnation: dict[str, str] = {}
        self._last_id = (epoch - 1) * _PER_EPOCH
        self.former: Session | None = None
        self.delayed = _stand_in(_DELAYED)
        self.drained: set[str] = set()

    def __len__(self) -> int:
        return len(self.by_id)

    def add(self, peer: bytes, hello: Hello, now: float) -> Session:
        """A new session for the sender of a hello."""
        self._last_id += 1
        session = Session(self._last_id, peer, hello.name, hello.incarnation, hello.host, hello.slots, now)
        session.drained = hello.name in self.drained
        session.offer, session.version, session.python = hello.offer, hello.version, hello.python
        session.names = frozenset((hello.name, hello.host, hello.host.partition(".")[0]))
        self.by_id[session.session_id] = session
        self.by_name[session.name] = session
        self.by_peer[peer] = session
        # Also one that fell silent or said goodbye before: it may only have been stopped, or its hello be an old one.
        last = self._last_incarnation.pop(hello.name, hello.incarnation)
        if last != hello.incarnation:
            self.supersede(last)
        self._last_incarnation[hello.name] = hello.incarnation
        _forget_oldest(self._last_incarnation, _NAMES_MAX)
        return session

    def remember(self, name: str, incarnation: str) -> None:
        """An earlier epoch has seen this incarnation: it does not come back once another has taken its place."""
        self._last_incarnation[name] = incarnation

    def of_former_epochs(self) -> Session:
        """Stands for whoever holds what an earlier epoch has leased, until they all have said hello. Gets nothing."""
        if self.former is None:
            self.former = _stand_in(_FORMER)
        return self.former

    def holder(self, session_id: int) -> Session:
        """The session that holds a span."""
        if session_id == _FORMER:
            return self.of_former_epochs()
        return self.delayed if session_id == _DELAYED else self.by_id[session_id]

    def remove(self, session: Session) -> None:
        """Forget a session; its spans are the caller's."""
        if session is self.former:
            self.former = None
            return
        session.granted = session.sent
        self.rank(session)
        self.laden.pop(session.session_id, None)
        self.learn(session, -session.ended, -session.failed)
        del self.by_id[session.session_id]
        if self.by_name.get(session.name) is session:
            del self.by_name[session.name]
        if self.by_peer.get(session.peer) is session:
            del self.by_peer[session.peer]

    def supersede(self, incarnation: str) -> None:
        """Never welcome this incarnation again."""
        self._superseded[incarnation] = None
        _forget_oldest(self._superseded, _SUPERSEDED_MAX)

    def is_superseded(self, incarnation: str) -> bool:
        """Whether a newer incarnation of the same name took its place."""
        return incarnation in self._superseded

    def learn(self, session: Session, ended: int, failed: int) -> None:
        """So many attempts more, or less, count for a session; ``failed`` of them ended badly."""
        session.ended += ended
        session.failed += failed
        self.ended += ended
        self.failed += failed

    def rank(self, session: Session) -> None:
        """Owed after each change of a session's credit, slots or open tasks."""
        key, credit = session.session_id, session.credit
        if key in self.parked:
            del self.parked[key]
            self.unserved.pop(key, None)
        if session.taken > session.slots and session.reachable:
            self.laden[key] = session
        elif key in self.laden:
            del self.laden[key]
        self.credit_total += credit - session.credit_counted
        session.credit_counted = credit
        if credit:
            self.hungry[key] = session
        elif key in self.hungry:
            del self.hungry[key]
        if credit and session.taken < session.slots:
            self.idle[key] = session
        elif key in self.idle:
            del self.idle[key]

    def park(self, session: Session) -> None:
        """There is nothing for it, whatever its credit."""
        self.hungry.pop(session.session_id, None)
        self.idle.pop(session.session_id, None)
        self.parked[session.session_id] = session
        if session.free_slots:
            self.unserved[session.session_id] = session

    def unpark(self) -> None:
        """There may be something for those who found nothing."""
        for session in list(self.parked.values()):
            self.rank(session)


def _stand_in(session_id: int) -> Session:
    """Holds spans and gets none."""
    return Session(session_id, b"", "", "", "", 0, 0.0, reachable=False, is_delayed=session_id == _DELAYED)


def _forget_oldest(memory: dict[str, Any], entries_max: int) -> None:
    if len(memory) > entries_max:
        del memory[next(iter(memory))]
