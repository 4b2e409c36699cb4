"""What both bodies in the virtual world have in common: they take turns.

A body handles in one turn all that has come since the last, as the services drain their sockets, then lets its brain
see the time, and carries out what the brain wants done in the order that the services keep.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.world import World

Line = deque[tuple[Callable[..., None], tuple[Any, ...]]]


class Body:
    """Takes a turn as soon as something has come, or when the brain wants to be called; none while it rests."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.alive = True
        self.resting_until = 0.0
        self.slowness_s = 0.0
        self._turn_at = float("inf")

    def put(self, line: Line, handler: Callable[..., None], *what: Any) -> None:
        """Something for the next turn."""
        if self.alive:
            line.append((handler, what))
            self.wake()

    def take_in(self, line: Line) -> None:
        """Handle what has come."""
        while line and self.alive:
            handler, what = line.popleft()
            handler(*what)

    def wake(self, at: float = 0.0) -> None:
        """Take a turn soon, or at that time."""
        at = max(at, self.resting_until, self.world.now + self.world.settings.turn_s + self.slowness_s)
        if at < self._turn_at:
            self._turn_at = at
            self.world.at(at, self._take_turn, at)

    def _take_turn(self, at: float) -> None:
        if at != self._turn_at:
            return
        self._turn_at = float("inf")
        if self.resting_until > at:
            self.wake()
        elif self.alive:
            self.turn()

    def turn(self) -> None:
        """One turn of the loop."""
        raise NotImplementedError
