"""The controllers as the master sees them: one session per connected incarnation. PURE.

Keeps who may be given work in constant time per change: ``idle`` are sessions with a free slot, ``hungry`` all with
credit. Decides nothing; the scheduler does.
"""

from dataclasses import dataclass, field
from typing import Any

from cyclone.master.spans import Span
from cyclone.protocol.messages import Hello

# Superseded incarnations are remembered so that they cannot come back; this many suffice for every restart of a year.
_SUPERSEDED_MAX = 4096


@dataclass(slots=True, eq=False)
class Session:
    """One incarnation of a controller over one connection. Counts are cumulative over the session."""

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
    recall_after: float = 0.0
    jobs: set[int] = field(default_factory=set)
    # A dict for its order: iterating a set of objects would differ from run to run of the same seed.
    spans: dict[Span, None] = field(default_factory=dict)

    @property
    def credit(self) -> int:
        """How many more tasks may be sent; none without a worker, which is also what a draining controller reports."""
        return max(0, self.granted - self.sent) if self.reachable and self.slots else 0

    @property
    def free_slots(self) -> int:
        """Slots without a task."""
        return max(0, self.slots - self.open)


class Sessions:
    """All sessions, by id and by name."""

    def __init__(self) -> None:
        self.by_id: dict[int, Session] = {}
        self.by_name: dict[str, Session] = {}
        self.idle: dict[int, Session] = {}
        self.hungry: dict[int, Session] = {}
        self._credit: dict[int, int] = {}
        self.credit_total = 0
        self._superseded: dict[str, None] = {}
        self._last_incarnation: dict[str, str] = {}
        self._last_id = 0

    def __len__(self) -> int:
        return len(self.by_id)

    def add(self, peer: bytes, hello: Hello, now: float) -> Session:
        """A new session for the sender of a hello."""
        self._last_id += 1
        session = Session(self._last_id, peer, hello.name, hello.incarnation, hello.host, hello.slots, now)
        self.by_id[session.session_id] = session
        self.by_name[session.name] = session
        # Also one that fell silent or said goodbye before: it may only have been stopped, or its hello be an old one.
        last = self._last_incarnation.pop(hello.name, hello.incarnation)
        if last != hello.incarnation:
            self.supersede(last)
        self._last_incarnation[hello.name] = hello.incarnation
        _forget_oldest(self._last_incarnation)
        return session

    def remove(self, session: Session) -> None:
        """Forget a session; its spans are the caller's."""
        session.granted = session.sent
        self.rank(session)
        del self.by_id[session.session_id]
        if self.by_name.get(session.name) is session:
            del self.by_name[session.name]

    def supersede(self, incarnation: str) -> None:
        """Never welcome this incarnation again."""
        self._superseded[incarnation] = None
        _forget_oldest(self._superseded)

    def is_superseded(self, incarnation: str) -> bool:
        """Whether a newer incarnation of the same name took its place."""
        return incarnation in self._superseded

    def rank(self, session: Session) -> None:
        """Owed after each change of a session's credit, slots or open tasks."""
        key, credit = session.session_id, session.credit
        self.credit_total += credit - self._credit.pop(key, 0)
        if not credit:
            self.hungry.pop(key, None)
            self.idle.pop(key, None)
            return
        self._credit[key] = credit
        self.hungry[key] = session
        if session.open < session.slots:
            self.idle[key] = session
        else:
            self.idle.pop(key, None)


def _forget_oldest(memory: dict[str, Any]) -> None:
    if len(memory) > _SUPERSEDED_MAX:
        del memory[next(iter(memory))]
