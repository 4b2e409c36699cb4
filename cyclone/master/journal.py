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
from cyclone.master.events import JobSubmitted, Recorded, Replayed, TasksAdded
from cyclone.master.memory_journal import MEMORY_BYTES_MAX, JobsInMemory
from cyclone.protocol.job_messages import JobBlock, JobSummary, TaskRow
from cyclone.protocol.job_spec import JobSelection
from cyclone.results import RecordedBlock
from cyclone.task_figures import Figures


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

        ``TasksClosed`` first; then a ``NamespaceSet`` for each namespace, all jobs of the generator, a ``JobRestored``
        for each submitted job that has not ended, in the order of ids; then ``HorizonMoved``, always before the blocks;
        then the blocks that are not done, in id order, ``TasksAdded`` up to the horizon of their job, ``TasksStored``
        above; then the results for those blocks in order of number, cut to rows of such blocks and without bodies; then
        ``AttemptsEnded`` of their open tasks, ``GeneratorAdvanced``, a ``ControllerJoined`` for each live controller,
        and what people have asked for.
        """

    def append(self, events: Sequence[Recorded]) -> None:
        """Make the events of one turn durable, all or none. Raises JournalFull, JournalBroken."""

    def load(self, first: int) -> TasksAdded:
        """A block that begins with this id, of which the master keeps no more than that."""

    def results_after(self, number: int) -> Iterator[tuple[int, RecordedBlock]]:
        """What was recorded, in order, from the number behind this one on, and what is appended meanwhile."""

    def job_parts(self, first: int, count: int) -> list[tuple[int, int, int, int]]:
        """Which of these ids are of submitted jobs, as in ``Deliver.parts``: job id, index of the first, row, count.

        For who reads ``results_after``. Tasks that ``keep`` has let go are of no job any more.
        """

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        """Whether a key is new, and its task therefore to be added in the next ``append``; empty keys always are."""

    # About submitted jobs. What was appended is seen at once; each call takes a few milliseconds at most.

    def job_of_key(self, key: bytes) -> int | None:
        """The job that was submitted with this key, whatever has become of it; None where there was none."""

    def ended_jobs(self, selection: JobSelection, before: int, page: int) -> tuple[list[JobSummary], int]:
        """Ended jobs that fit (``last`` is the caller's), the newest first, with ids below ``before``, 0 for no bound.

        The number is ``before`` of the next page, 0 where there is none. A page may be short, or even empty, and not
        the last one: one call looks at so many jobs only.
        """

    def ended_job(self, job_id: int) -> tuple[JobSubmitted, JobSummary, str] | None:
        """An ended job, and why it was cancelled where it was; None for any other, and when it has been let go."""

    def task_rows(
        self, job_id: int, start: int, page: int, states: Sequence[str], with_args: bool, with_values: bool
    ) -> tuple[list[TaskRow], int | None]:
        """The tasks of a job that have a result, by index, from ``start`` on, in these states (none for all).

        And where the next page starts, None where no such task follows. A page ends early where it gets large, and
        where much was looked at in vain: it may be empty and not the last one.
        """

    def task_figures(self, job_id: int, start: int, stop: int) -> tuple[Figures, int | None]:
        """The sums over the tasks of a job that have a result, with indexes from ``start`` up to ``stop``.

        And below which index they are those, None where they are all. It ends early where much was looked at.
        """

    def job_results_after(self, job_id: int, number: int) -> Iterator[tuple[int, list[JobBlock]]]:
        """The results of a job in the order in which they were recorded, from the number behind this one on, and what
        is appended meanwhile. What is not kept any more is passed over: see ``lost_results``.
        """

    def lost_results(self, job_id: int) -> int:
        """How many tasks of a job have had a result that is not kept any more."""

    def forget(self, job_id: int, number: int) -> None:
        """Whoever follows this job has its results up to this number. Where they are kept in memory only, and the job
        has said that they need not be kept, they go.
        """

    # Housekeeping.

    def tend(self, consumed: int, idle: bool) -> bool:
        """A bounded slice of housekeeping, more of it when idle; whether there is more to do.

        Results up to the number ``consumed`` will never be asked for again.
        """

    def close(self) -> None:
        """Nothing will be appended any more."""


class NoJournal(JobsInMemory):
    """Durability off: what the master knows ends with the master, and the next one is another master to everybody.

    Ended jobs and results of submitted jobs are kept in memory, in ``memory_bytes_max`` at most; see ``JobsInMemory``.
    """

    description = "off: a killed master forgets its tasks"
    replays = False

    def __init__(self, memory_bytes_max: int = MEMORY_BYTES_MAX) -> None:
        super().__init__(memory_bytes_max)
        self.journal_id = uuid.uuid4().hex
        self.epoch = int(time.time())
        self._task_keys: set[bytes] = set()

    def recover(self) -> Iterator[Replayed]:
        """Nothing was before."""
        return iter(())

    def load(self, first: int) -> TasksAdded:
        """Never asked for: ``replays`` is False."""
        raise LookupError(first)

    def results_after(self, number: int) -> Iterator[tuple[int, RecordedBlock]]:
        """Never asked for: ``replays`` is False."""
        raise LookupError(number)

    def job_parts(self, first: int, count: int) -> list[tuple[int, int, int, int]]:
        """Never asked for: ``replays`` is False."""
        raise LookupError(first)

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        """In memory."""
        return claim_in(self._task_keys, keys)

    def tend(self, consumed: int, idle: bool) -> bool:
        """Let go what jobs wanted to be kept until now."""
        self.expire(time.time())
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
