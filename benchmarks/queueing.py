"""How long messages wait for the master's loop, in closed form: the model that the simulation is compared with.

The master is one server that works in turns: it takes all that has come, decides, and what it says leaves at the end of
the turn; what comes meanwhile waits for the next. Two kinds of messages come, each by chance (Poisson): from thousands
of controllers that know nothing of each other that is what a sum looks like. So a turn's composition, so many of either
kind, depends on the length of the last turn alone: a Markov chain, whose stationary distribution gives the rest.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product

# Compositions beyond this are not looked at; with a loop that is busy for less than 80 % there are next to none.
_EACH_MAX = 12
_STEPS = 200

Composition = tuple[int, int]


@dataclass(frozen=True)
class Loop:
    """A turn of (i, j) messages takes ``turn_s + i * first_s + j * second_s``; the rates are of arrivals a second."""

    turn_s: float
    first_s: float
    second_s: float
    first_per_s: float
    second_per_s: float

    def length_s(self, turn: Composition) -> float:
        """How long a turn takes."""
        return self.turn_s + turn[0] * self.first_s + turn[1] * self.second_s

    @cached_property
    def turns(self) -> dict[Composition, float]:
        """How often each composition occurs among all turns."""
        both = self.first_per_s + self.second_per_s
        alone = {(1, 0): self.first_per_s / both, (0, 1): self.second_per_s / both}
        compositions = [turn for turn in product(range(_EACH_MAX + 1), range(_EACH_MAX + 1)) if any(turn)]
        following = {turn: self._arrivals(self.length_s(turn)) for turn in compositions}
        found = dict.fromkeys(compositions, 0.0) | alone
        for _ in range(_STEPS):
            after = dict.fromkeys(compositions, 0.0)
            for turn, share in found.items():
                if share < 1e-9:
                    continue
                for came, probability in following[turn].items():
                    if came == (0, 0):
                        # Idle until somebody comes, who then has a turn of his own.
                        for single, chance in alone.items():
                            after[single] += share * probability * chance
                    else:
                        after[came] += share * probability
            total = sum(after.values())
            after = {turn: share / total for turn, share in after.items()}
            moved = sum(abs(after[turn] - found[turn]) for turn in compositions)
            found = after
            if moved < 1e-9:
                break
        return found

    @property
    def utilisation(self) -> float:
        """The share of time in which the loop works."""
        busy_s, idle_s = self._times_s()
        return busy_s / (busy_s + idle_s)

    def wait_s(self, quantile: float) -> float:
        """From the coming of a message of the second kind to the end of the turn in which it is dealt with."""
        pieces = self._pieces
        low, high = 0.0, max(start + width for start, width, _ in pieces)
        for _ in range(60):
            middle = (low + high) / 2
            if sum(weight * _uniform_below(middle, start, width) for start, width, weight in pieces) < quantile:
                low = middle
            else:
                high = middle
        return high

    @cached_property
    def _pieces(self) -> list[tuple[float, float, float]]:
        """The distribution of that wait: uniform stretches, each with its start, width and weight."""
        busy_s, idle_s = self._times_s()
        found = [(self.length_s((0, 1)), 0.0, idle_s / (busy_s + idle_s))]
        for turn, share in self.turns.items():
            length_s = self.length_s(turn)
            here = share * length_s / (busy_s + idle_s)
            if here < 1e-9:
                continue
            for (first, second), probability in self._arrivals(length_s).items():
                # It waits for the rest of this turn, and is dealt with in the next one, beside what else came.
                found.append((self.length_s((first, second + 1)), length_s, here * probability))
        return found

    def _times_s(self) -> tuple[float, float]:
        """Of a mean turn: its length, and what is idle behind it."""
        busy_s = sum(share * self.length_s(turn) for turn, share in self.turns.items())
        both = self.first_per_s + self.second_per_s
        idle_s = sum(share * math.exp(-both * self.length_s(turn)) for turn, share in self.turns.items()) / both
        return busy_s, idle_s

    def _arrivals(self, seconds: float) -> dict[Composition, float]:
        """What comes in so many seconds."""
        first = [_poisson(self.first_per_s * seconds, count) for count in range(_EACH_MAX + 1)]
        second = [_poisson(self.second_per_s * seconds, count) for count in range(_EACH_MAX + 1)]
        return {(i, j): p * q for (i, p), (j, q) in product(enumerate(first), enumerate(second))}


def _poisson(mean: float, count: int) -> float:
    return math.exp(-mean) * mean**count / math.factorial(count)


def _uniform_below(value: float, start: float, width: float) -> float:
    if width == 0.0:
        return 1.0 if value >= start else 0.0
    return min(1.0, max(0.0, (value - start) / width))
