"""Who looks on while a master works: a results file, a progress bar, a benchmark, metrics.

Owns what they are told. A listener is called in the master's loop: it must be quick, and what it raises ends the
master.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from cyclone.master.events import Recorded
from cyclone.protocol.messages import AnyFromMaster
from cyclone.results import RecordedBlock

if TYPE_CHECKING:
    from cyclone.master.service import MasterService


class Listener(Protocol):
    """Who looks on: a results file, a progress bar, a benchmark. Must be quick; raising ends the master."""

    def sent(self, message: AnyFromMaster) -> None:
        """A message has left for a controller."""

    def recorded(self, block: RecordedBlock) -> None:
        """Results are recorded."""

    def turn(self, service: "MasterService") -> None:
        """All that a turn of the loop has recorded was told; the generator hears of it behind this."""


class Meter(Listener, Protocol):
    """A listener that counts, for metrics, and so is told what no other needs to know."""

    def appended(self, events: Sequence[Recorded]) -> None:
        """These are in the journal."""

    def failing(self, service: "MasterService") -> None:
        """Nothing can be recorded, and there is no other turn until it can be."""

    def turn(self, service: "MasterService") -> None:
        """A turn of the loop has ended."""

    def delivered(self, block: RecordedBlock, leased_at: float) -> None:
        """These results are of tasks that this master leased at that moment, in monotonic seconds."""
