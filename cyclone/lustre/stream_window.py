"""How many streams an OST gets at a time: more while that costs nothing, half as many when it does. PURE.

Owns the rule alone (additive increase, multiplicative decrease). The caller owes each finished move of the OST.
"""

from dataclasses import dataclass

# What a move costs beside its data, as bytes: opening, two layouts and a lease take about as long as copying so much.
FIXED_BYTES = 32 << 20
# How much slower than at its best an OST may get before streams are taken away, and up to where it gets more.
_INFLATED = 2.0
_FLAT = 1.3
_SMOOTHING = 0.25
# The best time is forgotten slowly: load of others may have come to stay.
_DRIFT = 0.01


@dataclass(slots=True)
class StreamWindow:
    """``limit`` streams are permitted now, at least 1 and at most ``streams_max``.

    With ``adapts`` off it stays where it is.
    """

    limit: int
    streams_max: int
    adapts: bool
    _best: float = 0.0
    _recent: float = 0.0
    _seen: int = 0

    @classmethod
    def fixed(cls, streams: int) -> "StreamWindow":
        """So many, whatever happens."""
        return cls(streams, streams, adapts=False)

    @classmethod
    def adaptive(cls, streams_max: int) -> "StreamWindow":
        """Begins with one."""
        return cls(1, streams_max, adapts=True)

    def finished(self, seconds: float, moved_bytes: int) -> None:
        """A move of so many bytes took so long."""
        if not self.adapts or seconds <= 0:
            return
        cost = seconds / (FIXED_BYTES + moved_bytes)
        if not self._best:
            self._best = self._recent = cost
        self._recent += _SMOOTHING * (cost - self._recent)
        self._best = min(cost, self._best + _DRIFT * (self._recent - self._best))
        self._seen += 1
        # A whole round of streams has to have seen the present limit.
        if self._seen < 2 * self.limit:
            return
        if self._recent > _INFLATED * self._best:
            self.limit = max(1, self.limit // 2)
            self._seen = 0
        elif self._recent < _FLAT * self._best:
            self.limit = min(self.streams_max, self.limit + 1)
            self._seen = 0
