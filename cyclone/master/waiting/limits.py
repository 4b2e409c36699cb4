"""What only so many tasks of the whole cluster may hold at once: units of names, counted until a lease is over. PURE.

A unit is taken when a task is leased. It is free again when the lease is *certainly* over: with the result or the
answer of the controller that had it; where a controller was lost, only once it must have ended what it ran
(``Turn.exclusive_wait_s``), whatever becomes of the task meanwhile: until then the unit *lingers*. Decides nothing.
"""

import heapq
import math
from collections.abc import Collection, Mapping


class Limits:
    """See the module. ``closed_until``: when those leases are over that an earlier epoch may have lost sight of.

    ``deadline`` is when ``due`` may have something to say.
    """

    def __init__(self) -> None:
        self.used: dict[str, int] = {}
        self.closed_until = 0.0
        self.deadline = math.inf
        self._lingering: list[tuple[float, int, int, tuple[str, ...]]] = []

    def room(self, amounts: Mapping[str, int]) -> int:
        """How many more tasks may hold all of these names."""
        return max(0, min(amount - self.used.get(name, 0) for name, amount in amounts.items()))

    def take(self, names: Collection[str], count: int) -> None:
        """So many tasks hold a unit of each name, or with a negative count no longer do."""
        for name in names:
            if used := self.used.get(name, 0) + count:
                self.used[name] = used
            else:
                self.used.pop(name, None)

    def close(self, until: float) -> None:
        """Nobody takes anything before then."""
        self.closed_until = until
        self.deadline = min(self.deadline, until)

    def linger(self, until: float, job_id: int, names: Collection[str], count: int) -> None:
        """So many units that a job has taken stay so until then."""
        heapq.heappush(self._lingering, (until, job_id, count, tuple(names)))
        self.deadline = min(self.deadline, until)

    def due(self, now: float) -> list[tuple[int, int]]:
        """What need not linger any more is free; of which jobs, and how many tasks."""
        if self.closed_until <= now:
            self.closed_until = 0.0
        found = []
        while self._lingering and self._lingering[0][0] <= now:
            _, job_id, count, names = heapq.heappop(self._lingering)
            self.take(names, -count)
            found.append((job_id, count))
        self.deadline = self.closed_until or math.inf
        if self._lingering:
            self.deadline = min(self.deadline, self._lingering[0][0])
        return found

    def lingering(self) -> list[tuple[int, int, tuple[str, ...]]]:
        """``(job, how many tasks, names)`` of what lingers now."""
        return [(job_id, count, names) for _, job_id, count, names in self._lingering]
