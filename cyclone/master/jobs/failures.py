"""Why tasks of a job failed, by kind: what people look at first. PURE.

Owns how many there are of each kind (``cyclone.error_kinds``), with an example, in bounded memory. Nothing rests on it:
it begins anew with each start of a master.
"""

import functools

import msgspec

from cyclone.error_kinds import OTHERS, error_kind
from cyclone.lifecycle import BAD_ENDS
from cyclone.protocol.messages import ErrorRecord, ResultBatch
from cyclone.protocol.states import STATE_NAMES
from cyclone.results import UNREADABLE, packed_error

KINDS_MAX = 16
_KINDS_OF_ALL_MAX = 65536
_BAD = bytes(status for status, name in STATE_NAMES.items() if name in BAD_ENDS)

_decode_error = msgspec.msgpack.Decoder(ErrorRecord).decode


class Failures:
    """See the module."""

    def __init__(self) -> None:
        # By job and kind: how many, and the index of the first.
        self._of_job: dict[int, dict[str, tuple[int, int]]] = {}
        self._kinds = 0

    def learn(self, batch: ResultBatch, accepted: bytes | None, parts: tuple[tuple[int, int, int, int], ...]) -> None:
        """Results are recorded; ``parts`` are those of Deliver."""
        if not batch.statuses.strip(b"\0"):
            return
        for job_id, index, start, count in parts:
            for row in range(start, start + count):
                if batch.statuses[row] in _BAD and (accepted is None or accepted[row]):
                    self._count(job_id, index + row - start, _kind(packed_error(batch.body, row)))

    def tell(self, job_id: int, index: int, error: str) -> None:
        """A result as it is listed, with its error as ``Type: message``."""
        self._count(job_id, index, error_kind(error))

    def of_job(self, job_id: int) -> list[tuple[str, int, int]]:
        """Kinds with how many there are and an index that shows it, the most frequent first."""
        kinds = self._of_job.get(job_id, {})
        return sorted(((kind, count, index) for kind, (count, index) in kinds.items()), key=lambda found: -found[1])

    def forget(self, job_id: int) -> None:
        """The job has ended."""
        self._kinds -= len(self._of_job.pop(job_id, ()))

    def _count(self, job_id: int, index: int, kind: str) -> None:
        kinds = self._of_job.setdefault(job_id, {})
        if kind not in kinds and (len(kinds) >= KINDS_MAX or self._kinds >= _KINDS_OF_ALL_MAX):
            kind = OTHERS
        if kind not in kinds:
            self._kinds += 1
        count, example = kinds.get(kind, (0, index))
        kinds[kind] = (count + 1, example)


@functools.lru_cache(maxsize=256)
def _kind(packed: bytes) -> str:
    """The type of an error and the first line of its message, without what differs from task to task."""
    try:
        error = _decode_error(packed)
    except UNREADABLE:
        return "unreadable"
    return error_kind(f"{error.type}: {error.message.strip()}")
