"""How long somebody who follows something waits for a master that is away, such as while it is started again.

Owns that: briefly until it has answered once, since its address may be wrong; patiently from then on. Light to import.
"""

from collections.abc import Callable
from typing import NamedTuple

PATIENCE_S = 600.0
"""Enough for a large journal to be read again, and for somebody to be called who starts the master."""

_TOLD_AFTER_S = 5.0


class Patience(NamedTuple):
    """``timeout_s`` is how long to wait once the master has answered. ``tell`` gets a sentence when it has been silent
    for ``told_after_s``, and another one when it answers again.
    """

    timeout_s: float
    tell: Callable[[str], None]
    told_after_s: float = _TOLD_AFTER_S


class Silence:
    """That of one connection: ``timeout_s`` is how long it may last now, in seconds; ``reason`` is what the master has
    said about it, where it has.
    """

    def __init__(self, timeout_s: float, patience: Patience | None = None) -> None:
        self.timeout_s = timeout_s
        self.patience = patience
        self.reason = ""
        self._is_told = False

    def lasts(self, silent_s: float) -> None:
        """Nothing has been heard for so long, in seconds."""
        one = self.patience
        if one and not self._is_told and one.told_after_s <= silent_s < self.timeout_s:
            self._is_told = True
            reason = f": {self.reason}" if self.reason else ""
            one.tell(f"the master does not answer; trying on for {self.timeout_s:g} s{reason}")

    def ends(self) -> None:
        """The master has said something."""
        self.reason = ""
        if self.patience is None:
            return
        self.timeout_s = max(self.timeout_s, self.patience.timeout_s)
        if self._is_told:
            self._is_told = False
            self.patience.tell("the master answers again")
