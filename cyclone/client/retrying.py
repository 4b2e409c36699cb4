"""A new job of those tasks of a job that have ended and did not complete, with the same options.

Owns which tasks these are and what the new job is called. The master knows nothing of it: tasks are read page by page,
and submitted as they come. The new job's key follows from the old job and the selection, so that saying it twice makes
one job.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from cyclone.client.submitting import Row
from cyclone.errors import CycloneError
from cyclone.lifecycle import BAD_ENDS, OPEN_STATES
from cyclone.protocol import limits
from cyclone.protocol.job_spec import IndexRanges

if TYPE_CHECKING:
    from cyclone.client.client import Client

TAG = "retry-of"
USUAL_STATES = (*BAD_ENDS, "cancelled", "expired")


class Retry:
    """The tasks that are meant, to be submitted as they are iterated over; ``count`` is how many that were.

    ``spec`` has the options of the old job; moments that were its own do not hold for the new one. Raises NoSuchJob,
    and CycloneError where nothing is meant or its arguments are gone.
    """

    def __init__(
        self,
        client: "Client",
        job_id: int,
        indexes: IndexRanges | None = None,
        states: Sequence[str] = USUAL_STATES,
        hold: bool = False,
    ) -> None:
        if open_states := sorted(set(states) & set(OPEN_STATES)):
            raise CycloneError(f"a task that is {', '.join(open_states)} has not ended: it needs no retry")
        self._client = client
        self._job_id = job_id
        self._indexes = sorted(indexes or [])
        self._states = tuple(states)
        detail = client.detail(job_id, with_shared=True)
        if detail.spec is None:
            raise CycloneError("the tasks of job 0 are the generator's: it alone can yield them again")
        assert detail.job is not None
        tags = {**detail.spec.tags, TAG: str(job_id)}
        self.spec = msgspec.structs.replace(detail.spec, tags=tags, held=hold, not_before=None, not_after=None)
        # The same for the same job, wherever its number was given once more, and the same selection.
        text = f"retry {job_id} {detail.job.submitted!r} {sorted(states)} {tuple(self._indexes)}"
        self.key = hashlib.sha256(text.encode()).digest()[:16]
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        yield from self.rows()
        if not self.count:
            raise CycloneError(f"job {self._job_id} has no task that is {', '.join(self._states)}")

    def rows(self) -> Iterator[Row]:
        """The same, and it may be none."""
        self.count = 0
        for low, high in self._indexes or [(0, limits.ID_MAX)]:
            page = min(limits.PAGE_ROWS_MAX, high - low + 1)
            for row in self._client.tasks(self._job_id, start=low, states=self._states, with_args=True, page=page):
                if row.index > high:
                    break
                if not row.args:
                    raise CycloneError(f"the arguments of task {self._job_id}.{row.index} are not here any more")
                self.count += 1
                yield Row(row.args, row.not_before, row.time_limit_s)
