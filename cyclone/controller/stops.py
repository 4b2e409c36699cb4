"""Tasks that must stop: wanted so by the master, or by their own lease. PURE.

Owns the list of them until none is held any more. What is queued is handed back at once; what a worker has not started
is taken back from it first; what runs is ended by force, uncharged. A task that finishes meanwhile is reported as ever.
"""

from cyclone.controller.actions import EndTask, TakeBack
from cyclone.controller.slots import Phase, Slot
from cyclone.controller.watch import Published
from cyclone.controller.work import WorkQueue, coalesce, overlap
from cyclone.protocol.messages import TaskRange

# How often it is looked whether a task that must stop has been reached.
LOOK_S = 0.02


class Stops:
    """Shares the crew's slots and queue, and changes only the queue and the slots' marks of what it asked for."""

    def __init__(self, slots: list[Slot], queue: WorkQueue) -> None:
        self._slots = slots
        self._queue = queue
        self._unwanted: list[TaskRange] = []
        self._without_grace: list[TaskRange] = []
        self.at: float | None = None

    def add(self, ranges: list[TaskRange], without_grace: bool = False) -> None:
        """These too; without grace, what runs gets no time to end by itself."""
        self._unwanted = coalesce([*self._unwanted, *ranges])
        if without_grace:
            self._without_grace = coalesce([*self._without_grace, *ranges])

    def concerns(self, part: TaskRange) -> bool:
        """Whether one of these tasks must stop."""
        return overlap(self._unwanted, part)

    def allows_grace(self, part: TaskRange) -> bool:
        """Whether this task may take its time to end."""
        return not overlap(self._without_grace, part)

    def out_of_the_queue(self) -> list[TaskRange]:
        """What waited here, to be handed back."""
        return self._queue.discard(self._unwanted) if self._unwanted else []

    def look(self, now: float, published: Published) -> list[EndTask | TakeBack]:
        """What to do about those that are out at workers; sets ``at``, when to look again."""
        self.at = None
        if not self._unwanted:
            return []
        held = [part for slot in self._slots for part in slot.held()]
        self._unwanted = [part for part in self._unwanted if overlap(held, part)]
        self._without_grace = [part for part in self._without_grace if overlap(held, part)]
        actions: list[EndTask | TakeBack] = []
        for slot in self._slots:
            if slot.phase is Phase.READY and any(self.concerns(part) for part in slot.held()):
                actions += self._reach(slot, published)
        if self._unwanted:
            self.at = now + LOOK_S
        return actions

    def _reach(self, slot: Slot, published: Published) -> list[EndTask | TakeBack]:
        seen = published.get(slot.worker)
        if seen is None:
            return []
        running = slot.range_at(seen.seq)
        if seen.executing and running and self.concerns(running):
            return [EndTask(slot.worker, seen.seq)]
        if slot.unstarted(seen.seq) and not slot.taking_back:
            slot.taking_back = True
            return [TakeBack(slot.worker)]
        return []
