"""Where recorded events go before anybody hears of them, and where they come from after a restart.

The interface that every journal implements: an identity, an epoch that rises with each start of a master on the same
journal, ``append``, which returns when the events are as durable as the journal promises, and the few questions that a
master asks. ``cyclone.journal`` has the durable one. Nothing here or behind it knows what an event means for the state.
"""

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from cyclone.errors import CycloneError
from cyclone.master.events import Recorded, Replayed, TasksAdded
from cyclone.results import RecordedBlock


class JournalFull(CycloneError):
    """Nothing was written, for want of space or the like: the same ``append`` may be tried again later."""


class JournalBroken(CycloneError):
    """Nobody knows what is on the disk now, or somebody else writes there: the master must end without a word."""


class Journal(Protocol):
    """What a master needs of its journal.

    ``replays`` says whether ``load`` and ``results_after`` can give back what was appended.
    """

    journal_id: str
    epoch: int
    description: str
    replays: bool

    def recover(self) -> Iterator[Replayed]:
        """Once, before anything else: what rebuilds the state, in an order in which it can be applied.

        ``TasksClosed`` first; then all jobs; then ``HorizonMoved``, always before the blocks; then the blocks that are
        not done, in id order, ``TasksAdded`` up to the horizon and ``TasksStored`` above; then the results for those
        blocks in order of number, cut to rows of such blocks and without bodies; then ``AttemptsEnded`` of their open
        tasks, ``GeneratorAdvanced``, a ``ControllerJoined`` for each live controller, and what people have asked for.
        """

    def append(self, events: Sequence[Recorded]) -> None:
        """Make the events of one turn durable, all or none. Raises JournalFull, JournalBroken."""

    def load(self, first: int) -> TasksAdded:
        """A block that begins with this id, of which the master keeps no more than that."""

    def results_after(self, number: int) -> Iterator[tuple[int, RecordedBlock]]:
        """What was recorded, in order, from the number behind this one on, and what is appended meanwhile."""

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        """Whether a key is new, and its task therefore to be added in the next ``append``; empty keys always are."""

    def tend(self, consumed: int, idle: bool) -> bool:
        """A bounded slice of housekeeping, more of it when idle; whether there is more to do.

        Results up to the number ``consumed`` will never be asked for again.
        """

    def close(self) -> None:
        """Nothing will be appended any more."""


class NoJournal:
    """Durability off: what the master knows ends with the master, and the next one is another master to everybody."""

    description = "off: a killed master forgets its tasks"
    replays = False

    def __init__(self) -> None:
        self.journal_id = uuid.uuid4().hex
        self.epoch = int(time.time())
        self._keys: set[bytes] = set()

    def recover(self) -> Iterator[Replayed]:
        """Nothing was before."""
        return iter(())

    def append(self, events: Sequence[Recorded]) -> None:
        """Nothing to do."""

    def load(self, first: int) -> TasksAdded:
        """Never asked for: ``replays`` is False."""
        raise LookupError(first)

    def results_after(self, number: int) -> Iterator[tuple[int, RecordedBlock]]:
        """Never asked for: ``replays`` is False."""
        raise LookupError(number)

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        """In memory."""
        return claim_in(self._keys, keys)

    def tend(self, consumed: int, idle: bool) -> bool:
        """Nothing to do."""
        return False

    def close(self) -> None:
        """Nothing to do."""


def claim_in(taken: set[bytes], keys: Iterable[bytes]) -> list[bool]:
    """Which of the keys are not among those taken, nor earlier in the list; these are taken then."""
    new = []
    for key in keys:
        new.append(not key or key not in taken)
        if key:
            taken.add(key)
    return new
