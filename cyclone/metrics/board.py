"""Where a main loop puts up what it has counted, and the server's thread reads it.

Owns all that the two threads share: one reference and one number, each replaced as a whole, so that there is no lock
and neither ever waits for the other. What is put up is never changed again.
"""

from collections.abc import Mapping

from cyclone.metrics.histogram import Buckets
from cyclone.metrics.names import Metric

Value = float | Buckets
Snapshot = Mapping[Metric, Mapping[tuple[str, ...], Value]]
"""Of each metric the value for each set of label values, in the order of its labels."""


class Sheet:
    """A snapshot in the making."""

    def __init__(self) -> None:
        self._values: dict[Metric, dict[tuple[str, ...], Value]] = {}

    def put(self, metric: Metric, value: Value, *labels: str) -> None:
        """Its value for these label values."""
        self._values.setdefault(metric, {})[labels] = value

    def done(self) -> Snapshot:
        """Nothing may be put any more."""
        return self._values


class Board:
    """``turned_at`` is when the main loop last had a turn, in monotonic seconds; minus infinity before the first."""

    def __init__(self) -> None:
        self.snapshot: Snapshot = {}
        self.turned_at = float("-inf")
