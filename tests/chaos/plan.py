"""What the tasks of a run shall do, and how each of them must therefore end. PURE: the same for workload and checker.

A task is its *number*, from 0 in the order in which the generator yields them. Follow-ups, which the generator makes of
results, have the numbers behind all others.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

FOLLOWED_EVERY = 10
EXCLUSIVE_EVERY = 7

Kind = Literal["sleep", "fail", "litter", "crash_once", "poison"]
# In 100,000: kinds that are not "sleep". A poisoned task costs as many workers as the crash limit says.
_SCALE = 100_000
_KINDS: dict[str, tuple[tuple[Kind, int], ...]] = {
    "mixed": (("fail", 2000), ("litter", 200), ("crash_once", 300), ("poison", 50)),
    "dense": (("fail", 2000), ("litter", 5), ("crash_once", 5), ("poison", 1)),
}
# And how many take a while, or long; all others take no time at all.
_SHORT = {"mixed": 70_000, "dense": 3000}
_LONG = {"mixed": 500, "dense": 20}
_SHORT_MS_MAX = 50
LONG_MS = 1000


@dataclass(frozen=True, slots=True)
class Deed:
    """What one task does."""

    kind: Kind
    duration_ms: int
    exclusive: bool = False

    @property
    def state(self) -> str:
        """In which state it must end, whatever is killed meanwhile, short of killing its workers too often."""
        return {"fail": "failed", "poison": "quarantined"}.get(self.kind, "completed")


@dataclass(frozen=True)
class Plan:
    """All tasks of a run. ``pace`` is ``mixed`` or ``dense``; ``follow`` has every tenth result make another task."""

    tasks: int
    seed: int
    pace: str = "mixed"
    follow: bool = False
    exclusive: bool = False

    def deed(self, number: int) -> Deed:
        """What the task with this number does."""
        digest = hashlib.blake2b(b"%d:%d" % (self.seed, number), digest_size=12).digest()
        kind_draw, time_draw, length = (int.from_bytes(digest[at : at + 4]) for at in (0, 4, 8))
        kind = self._kind(kind_draw % _SCALE)
        time_draw %= _SCALE
        duration_ms = 0
        if time_draw < _LONG[self.pace]:
            duration_ms = LONG_MS
        elif time_draw < _LONG[self.pace] + _SHORT[self.pace]:
            duration_ms = length % (_SHORT_MS_MAX + 1)
        exclusive = self.exclusive and number % EXCLUSIVE_EVERY == 3 and kind != "poison"
        return Deed(kind, duration_ms, exclusive)

    def _kind(self, draw: int) -> Kind:
        for kind, share in _KINDS[self.pace]:
            if draw < share:
                return kind
            draw -= share
        return "sleep"

    def follow_up(self, number: int) -> int | None:
        """The number of the task that the result of this one makes."""
        if not self.follow or number >= self.tasks or number % FOLLOWED_EVERY:
            return None
        return self.tasks + number // FOLLOWED_EVERY

    @cached_property
    def numbers(self) -> range:
        """All that must be in the books at the end, each once."""
        return range(self.tasks + (-(-self.tasks // FOLLOWED_EVERY) if self.follow else 0))
