"""Who is next among the namespaces: stride scheduling in slot-seconds. PURE.

Each namespace has a *pass*: the slot-seconds that its tasks have had, divided by their weight. The lowest pass is next.
What is leased is charged at once by what such tasks usually take, and corrected when its result says what it took. Who
was idle begins where the others are: nobody saves up. Owns the passes; must not know what a lane needs.
"""

from collections.abc import Iterable, Sequence

from cyclone.master.leases.sessions import Session
from cyclone.master.waiting.lane import FIRST_GUESS_S, Lane
from cyclone.master.waiting.shelves import Shelf
from cyclone.protocol import limits

# Of what a namespace did not use while its last tasks ran, so much is still its own: slot-seconds by its weight.
LAG_S = 10.0
# A namespace gets so much in one go, though it is another's turn meanwhile: slot-seconds. Else batches would be small.
TURN_S = 0.05
# So many results weigh as much as all that was known before.
_MEMORY = 1024


class Share:
    """One namespace: the shelves that have something to lease, what is out, how far it has come.

    It is barred, and not idle, where it has nothing to lease because what it has may not be leased now.
    A shelf of few nodes is looked up by their names: a job for each node of a large cluster costs the others nothing.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.weight = 1.0
        self.paused = False
        self.is_barred = False
        self.pass_s = 0.0
        # The part of it that is only reckoned, of tasks that are out.
        self.pending_s = 0.0
        self.out = 0
        self.lanes: dict[int, Lane] = {}
        self.active: dict[Shelf, None] = {}
        self._anywhere: dict[Shelf, None] = {}
        self._by_node: dict[str, dict[Shelf, None]] = {}

    @property
    def settled_s(self) -> float:
        """Its pass without what is only reckoned, and may be given back."""
        return self.pass_s - self.pending_s

    def put_up(self, shelf: Shelf) -> None:
        """It has something to lease."""
        self.active[shelf] = None
        if not shelf.looked_up_by:
            self._anywhere[shelf] = None
        for name in shelf.looked_up_by:
            self._by_node.setdefault(name, {})[shelf] = None

    def put_away(self, shelf: Shelf) -> None:
        """It has nothing to lease any more."""
        del self.active[shelf]
        self._anywhere.pop(shelf, None)
        for name in shelf.looked_up_by:
            del self._by_node[name][shelf]
            if not self._by_node[name]:
                del self._by_node[name]

    def shelves(self, session: Session) -> Iterable[Shelf]:
        """Where something may lie for a controller."""
        if not self._by_node:
            return self._anywhere
        named = (self._by_node.get(name, {}) for name in sorted(session.names))
        return list(dict.fromkeys(shelf for shelves in (self._anywhere, *named) for shelf in shelves))


class Shares:
    """See the module. ``mean_s`` is what a task of anybody takes."""

    def __init__(self) -> None:
        self.by_name: dict[str, Share] = {}
        self.active: dict[str, Share] = {}
        self.mean_s = FIRST_GUESS_S
        self._floor_s = 0.0

    def of(self, name: str) -> Share:
        """The namespace of this name, which may be new."""
        return self.by_name.get(name) or self.by_name.setdefault(name, Share(name))

    def in_order(self) -> Sequence[Share]:
        """Those that have something to lease, who is next first."""
        if len(self.active) < 2:
            return list(self.active.values())
        return sorted(self.active.values(), key=lambda share: (share.pass_s, share.name))

    def put_up(self, shelf: Shelf, share: Share) -> None:
        """This namespace has something to lease, too."""
        if share.name not in self.active:
            # Else whoever comes would wait for what the others are reckoned to take, and perhaps do not.
            lowest_s = min((other.settled_s for other in self.active.values()), default=self._floor_s)
            share.pass_s = max(share.pass_s, lowest_s - (LAG_S if share.out or share.is_barred else 0.0))
            share.is_barred = False
            self.active[share.name] = share
        share.put_up(shelf)

    def put_away(self, shelf: Shelf, share: Share, is_barred: bool) -> None:
        """Nothing on this shelf any more that can be leased; ``is_barred``: it has what may not be leased now."""
        share.put_away(shelf)
        share.is_barred = share.is_barred or is_barred
        if not share.active:
            self._floor_s = max(self._floor_s, share.settled_s)
            del self.active[share.name]

    def reweigh(self, share: Share, weight: float) -> None:
        """It has this weight from now on; by how much it is ahead of all, or behind, stays the same in slot-seconds.

        Source: C. A. Waldspurger and W. E. Weihl, Stride Scheduling (MIT/LCS/TM-528, 1995), ticket modification.
        """
        settled = [(one.weight, one.settled_s) for one in self.active.values()]
        level_s = sum(w * s for w, s in settled) / sum(w for w, _ in settled) if settled else self._floor_s
        factor = share.weight / weight
        settled_s = level_s + (share.settled_s - level_s) * factor
        # What was only reckoned is given back by the weight of that time.
        share.pending_s *= factor
        share.pass_s, share.weight = settled_s + share.pending_s, weight

    def learn(self, count: int, seconds: float) -> None:
        """So many tasks of whatever job have taken so long together."""
        self.mean_s += (seconds / count - self.mean_s) * count / (count + _MEMORY)

    def turn_of(self, lane: Lane, behind: Sequence[Share]) -> int:
        """How many tasks of a lane may go before it is the turn of the namespace behind it, if there is one."""
        if not behind:
            return limits.TASKS_PER_BATCH_MAX
        ahead_s = max(0.0, behind[0].pass_s - lane.share.pass_s) * lane.weight + TURN_S
        return 1 + int(min(limits.TASKS_PER_BATCH_MAX, ahead_s / (lane.terms.cpus * lane.task_s(self.mean_s))))

    def cost_s(self, lane: Lane, count: int) -> float:
        """The slot-seconds that so many tasks of a lane are reckoned to take."""
        return count * lane.terms.cpus * lane.task_s(self.mean_s)

    def owe(self, lane: Lane, cost_s: float) -> None:
        """Slot-seconds that are only reckoned so far, or are not any more."""
        lane.pending_s += cost_s
        lane.share.pending_s += cost_s / lane.weight
        self.pay(lane, cost_s)

    def pass_over(self, shares: Iterable[Share], served: Share) -> None:
        """These had their turn and nothing that could go; it was another's: of what they miss so, little is kept."""
        kept_from_s = served.settled_s - LAG_S
        for share in shares:
            share.pass_s = max(share.pass_s, kept_from_s)

    def pay(self, lane: Lane, cost_s: float) -> None:
        """Slot-seconds, which are negative where too much was charged."""
        lane.share.pass_s += cost_s / lane.weight
