"""Lanes with the same needs lie on a shelf together, so that a pick looks at few shelves and never at all lanes. PURE.

Owns what a controller must have for the lanes of a shelf, and which of these lanes is next. What changes with every
lease, a limit's room and a controller's free slots, is asked at the pick.
"""

import heapq
from collections.abc import Mapping
from typing import NamedTuple

from cyclone.master.leases.sessions import Session
from cyclone.master.waiting.lane import Lane, LaneTerms

# A shelf of more nodes than this is looked at by everybody: to put it up by each of their names would cost more.
_NODES_LOOKED_UP_MAX = 64
_ENTRIES_SPARE = 64


class Needs(NamedTuple):
    """What lanes on the same shelf have in common."""

    namespace: str
    is_bounded: bool
    cpus: int
    mem_bytes: int
    resources: tuple[tuple[str, int], ...]
    nodes: frozenset[str]
    exclude: frozenset[str]
    labels: frozenset[str]
    limits: tuple[tuple[str, int], ...]
    by_value: bool

    @staticmethod
    def of(terms: LaneTerms) -> "Needs":
        """Of a lane."""
        return Needs(
            terms.namespace,
            terms.is_bounded,
            terms.cpus,
            terms.mem_bytes,
            tuple(sorted(terms.resources.items())),
            frozenset(terms.nodes),
            frozenset(terms.exclude),
            frozenset(terms.labels),
            tuple(sorted(terms.limits.items())),
            terms.by_value,
        )


class Shelf:
    """See the module. ``lanes_open`` counts the lanes that lie on it, ``ready`` those that have something to lease."""

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        self.is_bounded = needs.is_bounded
        self.limits: Mapping[str, int] = dict(needs.limits)
        self.looked_up_by = sorted(needs.nodes) if len(needs.nodes) <= _NODES_LOOKED_UP_MAX else []
        self.lanes_open = 0
        self.ready = 0
        self._wants_nothing = needs[1:] == Needs.of(LaneTerms())[1:]
        self._heap: list[tuple[int, int, int, Lane]] = []
        self._entries = 0

    def first(self) -> Lane | None:
        """The lane that is next: the highest priority, and then the lowest task."""
        heap = self._heap
        while heap:
            _, head, entry, lane = heap[0]
            if lane.key is None or lane.entry != entry:
                heapq.heappop(heap)
            elif len(heap) > 1 and lane.head != head:
                # What was in front has gone meanwhile.
                heapq.heappop(heap)
                self._push(lane)
            else:
                return lane
        return None

    def rank(self, lane: Lane, is_ready: bool) -> None:
        """Owed after each change of a lane that may bring it forward, or take it out."""
        if not is_ready:
            if lane.key is not None:
                lane.key = None
                self.ready -= 1
            return
        if lane.key is None:
            self.ready += 1
        elif lane.key[1] <= lane.head:
            return
        self._push(lane)

    def in_order(self) -> list[Lane]:
        """All lanes with something to lease. Costs a sort."""
        lanes = (lane for _, _, entry, lane in self._heap if lane.key and lane.entry == entry)
        return sorted(lanes, key=lambda lane: lane.key or (0, 0))

    def suits(self, session: Session) -> bool:
        """Whether a controller can execute such tasks at all."""
        needs, offer = self.needs, session.offer
        if offer.namespaces and needs.namespace not in offer.namespaces:
            return False
        if self._wants_nothing:
            return True
        names = session.names
        return (
            (not needs.nodes or not names.isdisjoint(needs.nodes))
            and names.isdisjoint(needs.exclude)
            and needs.labels.issubset(offer.labels)
            and needs.cpus <= session.slots
            and (not offer.mem_bytes or needs.mem_bytes <= offer.mem_bytes)
            and all(amount <= offer.resources.get(name, 0) for name, amount in needs.resources)
            and (offer.by_value or not needs.by_value)
        )

    def fitting(self, session: Session) -> int:
        """How many more such tasks fit a controller beside what it has now."""
        needs, offer = self.needs, session.offer
        count = session.free_slots // needs.cpus
        if needs.mem_bytes and offer.mem_bytes:
            count = min(count, (offer.mem_bytes - session.mem_taken) // needs.mem_bytes)
        for name, amount in needs.resources:
            count = min(count, (offer.resources.get(name, 0) - session.resources_taken.get(name, 0)) // amount)
        return max(0, count)

    def _push(self, lane: Lane) -> None:
        self._entries += 1
        lane.entry = self._entries
        lane.key = (-lane.terms.priority, lane.head)
        if len(self._heap) > 2 * self.lanes_open + _ENTRIES_SPARE:
            self._heap = [entry for entry in self._heap if entry[3].key and entry[3].entry == entry[2]]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, (*lane.key, self._entries, lane))
