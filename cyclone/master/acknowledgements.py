"""What the master tells controllers of results that it has recorded: "recorded", soon, and together with tasks.

Owns how long that may wait. Each message wakes up threads at both ends, and whoever waits for the result of a single
task waits for them, too: so the word is kept for the next tasks, or for a moment. The caller owes: ``add`` for what is
recorded, ``flush`` before tasks are sent and at the end, ``turn`` once per turn and at the latest after ``wait_s``.
"""

import math
from collections.abc import Callable

from cyclone.master.actions import Send

_KEPT_S = 0.002


class Acknowledgements:
    """See the module. ``send`` sends one."""

    def __init__(self, send: Callable[[Send], object]) -> None:
        self._send = send
        self._kept: list[Send] = []
        self._flush_at = math.inf

    @property
    def wait_s(self) -> float:
        """How long the next turn may wait at most."""
        return _KEPT_S if self._kept else math.inf

    def add(self, action: Send, now: float) -> None:
        """This controller's results are recorded."""
        if not self._kept:
            self._flush_at = now + _KEPT_S
        self._kept.append(action)

    def turn(self, now: float) -> None:
        """Tell what has waited long enough."""
        if now >= self._flush_at:
            self.flush()

    def flush(self) -> None:
        """Tell all at once."""
        kept, self._kept, self._flush_at = self._kept, [], math.inf
        for action in kept:
            self._send(action)
