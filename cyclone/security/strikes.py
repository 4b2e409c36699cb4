"""Who keeps sending rubbish, and is not listened to for a while. PURE.

Owns the count alone. ``who`` is a key's name where there are keys, else a connection. Bounded, whoever comes: at the
limit the one that was wrong longest ago is forgotten first.
"""

from collections.abc import Hashable
from typing import TypeVar

from cyclone.protocol import limits

_T = TypeVar("_T")

_PEERS_MAX = 4096


class Strikes:
    """``limit`` strikes within a period, and the peer is cut for a period; a limit of 0 cuts nobody."""

    def __init__(self, limit: int, period_s: float = limits.STRIKE_PERIOD_S, peers_max: int = _PEERS_MAX) -> None:
        self._limit = limit
        self._period_s = period_s
        self._peers_max = peers_max
        # The latest at the end, of the peers as of each one's times.
        self._times: dict[Hashable, list[float]] = {}
        self._cut_until: dict[Hashable, float] = {}

    def strike(self, who: Hashable, now: float) -> bool:
        """This peer was wrong once more; whether it is cut from now on."""
        if not self._limit:
            return False
        times = [at for at in self._times.pop(who, ()) if now - at < self._period_s]
        times.append(now)
        if len(times) < self._limit:
            self._times[who] = times
            self._forget_oldest(self._times)
            return False
        self._cut_until[who] = now + self._period_s
        self._forget_oldest(self._cut_until)
        return True

    def is_cut(self, who: Hashable, now: float) -> bool:
        """Whether what it sends is to be ignored, unread."""
        until = self._cut_until.get(who)
        if until is None:
            return False
        if now < until:
            return True
        del self._cut_until[who]
        return False

    def _forget_oldest(self, memory: dict[Hashable, _T]) -> None:
        if len(memory) > self._peers_max:
            del memory[next(iter(memory))]
