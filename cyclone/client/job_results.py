"""Results of a submitted job as a client reads them: rows of the blocks that a master sends.

Owns how a ``JobBlock`` becomes ``JobTaskResult``s. Knows no socket.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cyclone.protocol import states
from cyclone.protocol.job_messages import JobBlock
from cyclone.results import OpenBlock, RecordedBlock, TaskResult
from cyclone.values import decode


class JobTaskResult(TaskResult, frozen=True, eq=False, gc=False):
    """The one result of a task of a job: a ``TaskResult`` that also knows its place there.

    ``args`` are not sent with results: ask ``Client.tasks`` for them.
    """

    _block: "OpenJobBlock"

    @property
    def job_id(self) -> int:
        """The job."""
        return self._block.job_id

    @property
    def index(self) -> int:
        """Its place in the job, from 0."""
        return self._block.index + self._row

    @property
    def records(self) -> list[tuple[str, Any]]:
        """What it has recorded for the sinks: names and fields."""
        return [(name, decode(packed)) for name, packed in self.packed_records]

    @property
    def packed_records(self) -> list[tuple[str, bytes]]:
        """The same with their fields as they were sent, in msgpack."""
        return self._block.packed_records.get(self._row, [])

    @property
    def args(self) -> list[Any]:
        """Not here."""
        raise AttributeError("results come without arguments: Client.tasks(job_id, with_args=True) has them")


class OpenJobBlock(OpenBlock):
    """A block with its columns decoded: iterates over the results that are of the job."""

    def __init__(
        self, job_id: int, task_class: str, block: JobBlock, read_value: Callable[[bytes], Any] = decode
    ) -> None:
        rows = len(block.statuses)
        runs = [(task_class, rows)]
        super().__init__(
            RecordedBlock(
                block.task_id,
                block.attempt,
                runs,
                [b""] * rows,
                block.statuses,
                block.accepted,
                block.body,
                block.controller,
            ),
            read_value,
        )
        self.job_id = job_id
        self.index = block.index

    @functools.cached_property
    def packed_records(self) -> dict[int, list[tuple[str, bytes]]]:
        """What tasks have recorded, by row: looked through once, whoever asks for one after the other."""
        found: dict[int, list[tuple[str, bytes]]] = {}
        for row, name, packed in self.columns.records:
            found.setdefault(row, []).append((name, packed))
        return found

    def __iter__(self) -> Iterator[JobTaskResult]:
        task_class = self.recorded.runs[0][0]
        accepted = self.recorded.accepted
        for row, (status, outcome) in enumerate(zip(self.statuses, self.outcomes, strict=True)):
            if accepted is None or accepted[row]:
                value = outcome if status == states.COMPLETED else None
                yield JobTaskResult(value, self.recorded.first + row, task_class, self)


def in_order(results: Iterable[JobTaskResult], start: int = 0) -> Iterator[JobTaskResult]:
    """Results by their index from ``start`` on, each as soon as all before it are there.

    Those that come early are kept until then: how many, the job's own order decides, and the longest task.
    """
    early: dict[int, JobTaskResult] = {}
    for result in results:
        early[result.index] = result
        while found := early.pop(start, None):
            yield found
            start += 1
