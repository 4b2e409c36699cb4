"""Where recorded events go before anybody hears of them.

The interface that a durable journal implements too: an identity, an epoch that rises with each start of a master on the
same journal, and ``append``, which returns when the events are as durable as the journal promises.
"""

import time
import uuid
from collections.abc import Sequence
from typing import Protocol

from cyclone.master.events import Recorded


class Journal(Protocol):
    """What a master needs of its journal."""

    journal_id: str
    epoch: int
    description: str

    def append(self, events: Sequence[Recorded]) -> None:
        """Make the events of one turn durable, all or none."""


class NoJournal:
    """Durability off: what the master knows ends with the master, and the next one is another master to everybody."""

    description = "off: a killed master forgets its tasks"

    def __init__(self) -> None:
        self.journal_id = uuid.uuid4().hex
        self.epoch = int(time.time())

    def append(self, events: Sequence[Recorded]) -> None:
        """Nothing to do."""
