"""Which lane a controller gets next: by share, then by priority, then first come, first served. PURE.

Looks at the shelves of one namespace after the other, never at all lanes. What is *bounded* (several slots, memory,
resources, limits) goes into free slots only. Where its turn has come and there is no room for it yet, the controller is
*kept* for it: it gets nothing else until there is room. So many are kept as would take what waits; all others go on
with what comes behind it. Else small tasks, of which there are always some, would keep a large one out for ever.

Nothing passes what waits at a controller, however urgent it is. So only as much of a lane goes there as its slots are
through with in a moment; of a job of which nobody knows yet how long its tasks take, what free slots begin at once. A
controller's own credit is no such bound: it goes by what the controller had last, which may have been another job.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cyclone.master.leases.sessions import Session, Sessions
from cyclone.master.waiting.lane import Lane
from cyclone.master.waiting.lanes import Lanes
from cyclone.master.waiting.shares import Share
from cyclone.protocol import limits

# Work of one lane that waits at a controller behind what runs, per slot. More than a controller wants of tasks that all
# take the same (``handout.PREFETCH_S``), so that it bounds nobody but those who take longer than others.
QUEUE_S = 1.0


@dataclass(slots=True, frozen=True)
class _Kept:
    """A controller kept for a lane: for so many of its tasks, charged with so many slot-seconds."""

    lane: Lane
    count: int
    charged_s: float


class Picker:
    """See the module. ``wanted`` are lanes that were next and had nothing in memory, ``kept`` by session who is."""

    def __init__(self, lanes: Lanes, sessions: Sessions) -> None:
        self._lanes = lanes
        self._sessions = sessions
        self.kept: dict[int, _Kept] = {}
        self.wanted: dict[int, None] = {}
        self.looked_at = 0

    def pick(self, session: Session, gathered: int = 0) -> tuple[Lane, int] | None:
        """The lane, and how many of its tasks at most; None where there is nothing for this controller now.

        ``gathered`` tasks go to it already, and are not counted against the session yet.
        """
        if self.kept and (kept := self.kept.get(session.session_id)):
            return self._for_which_it_is_kept(session, kept.lane)
        if self._lanes.is_alone and not session.offer.namespaces and (lane := self._lanes.generator).counted:
            return lane, limits.TASKS_PER_BATCH_MAX
        shares = self._lanes.shares.in_order()
        for place, share in enumerate(shares):
            for lane in self._first_lanes(share, session):
                if not lane.is_bounded:
                    if lane.in_memory:
                        count = welcome(lane, session, gathered)
                        return (lane, min(count, self._turn_of(lane, shares, place))) if count else None
                    self.wanted[lane.job_id] = None
                    continue
                room = self._lanes.room(lane)
                if not room:
                    continue
                if not lane.in_memory:
                    self.wanted[lane.job_id] = None
                elif count := min(room, lane.shelf.fitting(session)):
                    return lane, min(count, self._turn_of(lane, shares, place))
                elif lane.reserved < room:
                    self._keep(session, lane, room)
                    return None
        return None

    def _turn_of(self, lane: Lane, shares: Sequence[Share], place: int) -> int:
        """How many tasks of a lane, whose namespace is served in this place, may go before another's turn."""
        if place:
            self._lanes.shares.pass_over(shares[:place], lane.share)
        return self._lanes.shares.turn_of(lane, shares[place + 1 : place + 2])

    def tidy(self) -> None:
        """Owed before the picks of a turn where anybody is kept: not for what cannot come any more."""
        for session_id, kept in list(self.kept.items()):
            session = self._sessions.by_id.get(session_id)
            gone = session is None or session.drained or not session.reachable or not kept.lane.shelf.suits(session)
            if gone or kept.lane.key is None or not self._lanes.room(kept.lane):
                self._let_go(session_id)
                if session:
                    self._sessions.rank(session)

    def is_kept(self, session: Session) -> bool:
        """Whether its free slots wait for something that needs more of them."""
        return session.session_id in self.kept

    def _for_which_it_is_kept(self, session: Session, lane: Lane) -> tuple[Lane, int] | None:
        count = min(self._lanes.room(lane), lane.shelf.fitting(session))
        if not count:
            return None
        if not lane.in_memory:
            self.wanted[lane.job_id] = None
            return None
        self._let_go(session.session_id)
        return lane, count

    def _first_lanes(self, share: Share, session: Session) -> list[Lane]:
        """Of each shelf that suits the controller the first lane, in order."""
        found = []
        for shelf in share.shelves(session):
            self.looked_at += 1
            if shelf.suits(session) and (lane := shelf.first()):
                found.append(lane)
        if len(found) > 1:
            found.sort(key=lambda lane: (-lane.terms.priority, lane.head))
        return found

    def _keep(self, session: Session, lane: Lane, room: int) -> None:
        count = min(room, max(1, session.slots // lane.terms.cpus))
        charged_s = self._lanes.shares.cost_s(lane, count)
        self._lanes.shares.pay(lane, charged_s)
        self.kept[session.session_id] = _Kept(lane, count, charged_s)
        lane.reserved += count

    def _let_go(self, session_id: int) -> None:
        kept = self.kept.pop(session_id)
        kept.lane.reserved -= kept.count
        self._lanes.shares.pay(kept.lane, -kept.charged_s)


def welcome(lane: Lane, session: Session, gathered: int) -> int:
    """How many tasks of a lane a controller begins within a moment, besides what is gathered for it."""
    free = session.free_slots - gathered
    if not lane.mean_s:
        return max(0, free)
    return max(0, free + int(session.slots * QUEUE_S / lane.task_s(0.0)) - max(0, session.taken - session.slots))
