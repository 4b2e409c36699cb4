"""A journal that is counted: it does what the journal behind it does, and tells the meter.

Owns nothing. It stands between the service and its journal only where somebody wants metrics.
"""

from collections.abc import Iterator, Sequence

from cyclone.master.events import Recorded, Replayed, TasksAdded
from cyclone.master.journal import Journal, JournalFull
from cyclone.metrics.master import MasterMeter
from cyclone.results import RecordedBlock


class MeteredJournal:
    """See the module, and ``cyclone.master.journal.Journal``."""

    def __init__(self, journal: Journal, meter: MasterMeter) -> None:
        self._journal = journal
        self._meter = meter
        self.journal_id = journal.journal_id
        self.epoch = journal.epoch
        self.description = journal.description
        self.replays = journal.replays

    def recover(self) -> Iterator[Replayed]:
        """As it is."""
        return self._journal.recover()

    def append(self, events: Sequence[Recorded]) -> None:
        """Counted when it is done; shown at once while it cannot be."""
        try:
            self._journal.append(events)
        except JournalFull:
            self._meter.failing()
            raise
        self._meter.appended(events)

    def load(self, first: int) -> TasksAdded:
        """As it is."""
        return self._journal.load(first)

    def results_after(self, number: int) -> Iterator[tuple[int, RecordedBlock]]:
        """As it is."""
        return self._journal.results_after(number)

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        """As it is."""
        return self._journal.claim(keys)

    def tend(self, consumed: int, idle: bool) -> bool:
        """As it is."""
        return self._journal.tend(consumed, idle)

    def close(self) -> None:
        """As it is."""
        self._journal.close()
