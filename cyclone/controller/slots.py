"""One worker slot as the agent sees it: what its worker was given, and what of that is still out. PURE.

Rows that go to a worker are numbered from 1 over the life of its process; this number is its ``seq``. The worker
publishes the seq that it executes, so that one number tells finished, running and unstarted rows apart.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from cyclone.controller.pipe import ToldJobs
from cyclone.controller.work import Piece
from cyclone.protocol.messages import Job, TaskRange


class Phase(Enum):
    """The life of a worker process."""

    STARTING = "starting"
    READY = "ready"
    ENDING = "ending"
    DEAD = "dead"


@dataclass(slots=True, eq=False)
class Batch:
    """Rows out at a worker: the piece's first row has the number ``base``; ``reported`` rows have come back."""

    base: int
    piece: Piece
    reported: int = 0

    @property
    def unreported(self) -> int:
        """Rows whose outcome is not known."""
        return len(self.piece) - self.reported


@dataclass(slots=True, eq=False)
class Slot:
    """Where one worker process is, which may die and be replaced. ``unreported`` counts the rows out at the worker.

    ``taking_back``: the service was asked to take the unstarted rows back; until the worker has ended all its batches
    it gets no new ones. ``feed_at`` is when it will have so little left that it should. ``ending_seq`` is the row whose
    time limit made us end the worker, or with ``ending_setup`` the limit of its preparation. What was given to it last
    takes ``cpus`` slots, this one and others that stay idle; with ``alone`` it is a single row, behind which nothing
    more is given. Until ``rest_until_s``, 0 for no rest, the slots are taken although nothing runs any more. Tasks know
    ``place`` as their slot: there are spare workers, but no spare places, so that it is this one's alone only while it
    is taken.
    """

    worker: int
    place: int
    phase: Phase = Phase.DEAD
    batches: deque[Batch] = field(default_factory=deque)
    unreported: int = 0
    next_seq: int = 1
    jobs: ToldJobs = field(default_factory=ToldJobs)
    cpus: int = 1
    alone: bool = False
    rest_until_s: float = 0.0
    taking_back: bool = False
    feed_at: float = 0.0
    flushed_seq: int = 0
    ending_seq: int = 0
    ending_setup: bool = False
    kill_at: float = 0.0
    start_at: float = 0.0
    failed_starts: int = 0

    def give(self, piece: Piece) -> int:
        """These rows go to the worker; the number of the first."""
        base = self.next_seq
        self.feed_at = 0.0
        self.batches.append(Batch(base, piece))
        self.unreported += len(piece)
        self.next_seq += len(piece)
        return base

    def tell(self, jobs: Iterable[Job]) -> list[Job]:
        """Rows of these jobs go to the worker: what it must be told of them."""
        needed = list(jobs)
        new = [job for job in needed if job.job_id not in self.jobs]
        if new and not self.jobs.add(new):
            self.jobs.add(needed)
            return needed
        return new

    def reported(self, rows: int) -> None:
        """So many more rows of the first batch have come back."""
        self.batches[0].reported += rows
        self.unreported -= rows

    def ended(self) -> Batch:
        """The worker is through with its first batch, whatever it reported of it."""
        batch = self.batches.popleft()
        self.unreported -= batch.unreported
        return batch

    def clear(self) -> None:
        """Nothing is out any more."""
        self.batches.clear()
        self.unreported = 0
        self.feed_at = 0.0

    def restart(self) -> None:
        """A new process takes this slot."""
        self.phase = Phase.STARTING
        self.clear()
        self.next_seq = 1
        self.jobs.clear()
        self.taking_back = False
        self.flushed_seq = self.ending_seq = 0
        self.ending_setup = False

    def unstarted(self, seq: int) -> int:
        """How many rows are behind the one with this number."""
        return sum(max(0, batch.base + len(batch.piece) - 1 - max(seq, batch.base - 1)) for batch in self.batches)

    def cut_behind(self, seq: int) -> list[Piece]:
        """Take the rows behind a number out of the batches, in order."""
        cut = []
        for batch in self.batches:
            keep = min(max(seq - batch.base + 1, 0), len(batch.piece))
            if keep < len(batch.piece):
                cut.append(batch.piece.part(keep, len(batch.piece)))
                batch.piece = batch.piece.part(0, keep) if keep else Piece(batch.piece.first, 0, 0, [], [])
        self.feed_at = 0.0
        self.unreported = sum(batch.unreported for batch in self.batches)
        return cut

    def range_at(self, seq: int) -> TaskRange | None:
        """The row with this number, None where it is not out at the worker."""
        rows = ((seq - batch.base, batch.piece) for batch in self.batches)
        return next((piece.range(row, row + 1) for row, piece in rows if 0 <= row < len(piece)), None)

    def held(self) -> list[TaskRange]:
        """The rows out at the worker."""
        return [batch.piece.range(batch.reported, len(batch.piece)) for batch in self.batches if batch.unreported]


def settle(slot: Slot, slots: list[Slot], count: int) -> None:
    """Give one that is to be taken a place of its own, of so many. That is its last one if it can be: a process may
    have bound to it, such as a GPU, what it keeps from task to task."""
    occupied = {other.place for other in slots if other.batches or other.rest_until_s}
    if slot.place in occupied or slot.place >= count:
        slot.place = next(place for place in range(count) if place not in occupied)


def taken(slots: list[Slot]) -> int:
    """How many slots are not free: those with work, those that its tasks need besides, and those that rest."""
    return sum([slot.cpus for slot in slots if slot.batches or slot.rest_until_s])


def resting(slots: list[Slot]) -> int:
    """How many of these do nothing any more: their task has ended, and its job wants them to rest."""
    return sum([slot.cpus for slot in slots if slot.rest_until_s and not slot.batches])
