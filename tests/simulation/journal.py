"""The journal of the virtual world: what is durable outlives every master, what was not synced does not.

An append is one transaction: all of it or nothing. A crash may fall into it, and then only this file knows whether
it was kept.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from cyclone.master.events import JobAdded, JobSubmitted, Recorded, Replayed, ResultsRecorded, TasksAdded
from cyclone.master.journal import claim_in
from cyclone.master.memory_journal import JobsInMemory
from cyclone.results import RecordedBlock
from tests.support.replay import as_recorded, replay, stored_block

if TYPE_CHECKING:
    from tests.simulation.world import World

# How a crash cuts an append.
KEPT, LOST = "kept", "lost"


class Killed(Exception):
    """The master dies here."""


class VirtualJournal:
    """See the module. ``replays`` is False for a master whose durability is off.

    ``cut`` makes the next append of something like ``cut_kinds`` the last deed of this master. ``events`` is all that
    is durable, over all epochs.
    """

    description = "of the virtual world"

    def __init__(self, world: "World") -> None:
        self._world = world
        self.journal_id = "0" * 31 + "1"
        self.epoch = 6
        self.replays = world.settings.durable
        self.cut = ""
        self.cut_kinds: tuple[type, ...] = (object,)
        self.events: list[Recorded] = []
        self._tasks: list[tuple[str, bytes]] = [("", b"")]
        self._classes: dict[int, str] = {}
        self._results: list[ResultsRecorded] = []
        self._keys: set[bytes] = set()
        self._claimed: set[bytes] = set()
        self._dropped = 0
        # What is asked for of jobs, kept as a master without a journal keeps it: for ever, since it is little.
        self.jobs = jobs = JobsInMemory(1 << 30)
        self.job_of_key, self.ended_jobs, self.ended_job = jobs.job_of_key, jobs.ended_jobs, jobs.ended_job
        self.task_rows, self.job_results_after = jobs.task_rows, jobs.job_results_after
        self.task_figures, self.lost_results, self.forget = jobs.task_figures, jobs.lost_results, jobs.forget

    def open(self) -> None:
        """Another master starts; what its predecessor had not appended is gone."""
        self.epoch += 1
        self.cut = ""
        self._claimed = set(self._keys)

    def recover(self) -> Iterator[Replayed]:
        """All that was ever appended, as the contract orders it."""
        return iter(replay(self.events) if self.replays else [])

    def append(self, events: Sequence[Recorded]) -> None:
        """Durable when it returns. Raises Killed where the crash falls into it."""
        copies = [as_recorded(event) for event in events]
        if self.cut and any(isinstance(event, self.cut_kinds) for event in events):
            self._world.count(f"master killed in a commit: {self.cut}")
            if self.cut == KEPT:
                self._commit(copies)
            raise Killed
        self._commit(copies)

    def _commit(self, events: list[Recorded]) -> None:
        self.events += events
        for event in events:
            if isinstance(event, JobAdded | JobSubmitted):
                self._classes[event.job.job_id] = event.job.task_class
            elif isinstance(event, TasksAdded):
                classes = [self._classes[job] for job, count in event.runs for _ in range(count)]
                self._tasks += zip(classes, event.args, strict=True)
                self._keys.update(event.keys or ())
            elif isinstance(event, ResultsRecorded):
                self._results.append(event)
        self.jobs.append(events)
        self._world.ledger.journalled(events)
        self._world.faults.committed(events)

    def task_class(self, task_id: int) -> str:
        """Of which class a task is."""
        return self._tasks[task_id][0]

    def load(self, first: int) -> TasksAdded:
        """A block of which the master kept only where it is."""
        self._world.loads += 1
        return stored_block(self.events, first)

    def results_after(self, number: int) -> Iterator[tuple[int, RecordedBlock]]:
        """What was recorded, also what comes while this is being read."""
        assert number >= self._dropped, f"results from {number} on wanted, {self._dropped} of them were given up"
        while number < len(self._results):
            event, number = self._results[number], number + 1
            assert event.number == number, f"results {event.number} lie where {number} belongs"
            batch = event.batch
            rows = self._tasks[batch.first : batch.first + len(batch.statuses)]
            runs = [(task_class, len(list(group))) for task_class, group in groupby(name for name, _ in rows)]
            args = [packed for _, packed in rows]
            yield (
                number,
                RecordedBlock(
                    batch.first, batch.attempt, runs, args, batch.statuses, event.accepted, batch.body, event.controller
                ),
            )

    def job_parts(self, first: int, count: int) -> list[tuple[int, int, int, int]]:
        """Of which jobs these tasks are."""
        return self._world.ledger.jobs.parts(first, count)

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        """What nobody claimed before."""
        return claim_in(self._claimed, keys)

    def tend(self, consumed: int, idle: bool) -> bool:
        """Remember what may never be asked for again."""
        self._dropped = max(self._dropped, consumed)
        return False

    def close(self) -> None:
        """Nothing will be appended any more."""
