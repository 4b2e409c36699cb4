"""How the rows about submitted jobs look inside; the other rows, and the checksums, are in ``blocks``.

Owns the encoding, and nothing that touches a database.
"""

import math

import msgspec

from cyclone.journal.blocks import DamagedRow, Row, check, checksum, pack
from cyclone.master.events import JobSubmitted
from cyclone.protocol.job_lists import kept_until, with_processed
from cyclone.protocol.job_messages import JobSummary
from cyclone.protocol.job_spec import JobSpec, Namespace
from cyclone.protocol.messages import Job

SUBMITTED = "job_id, class, crc, body"
OPEN_JOBS = "job_id, crc, body"
ENDED_JOBS = "job_id, namespace, owner, name, session, state, until, crc, body"


class OpenJob(msgspec.Struct):
    """A job that has not ended, as far as the journal needs to know it.

    ``apart`` says that its blocks stay for as long as it says itself. ``closed`` counts the tasks in its closed blocks
    by state, also in those that were dropped; ``ended`` those of all blocks. ``added`` counts all its tasks.
    ``horizon`` is the highest id that was ever offered.
    """

    job_id: int
    apart: bool
    sealed: bool
    held: bool
    closed: dict[str, int] = {}
    ended: dict[str, int] = {}
    added: int = 0
    horizon: int = 0

    def differs(self, before: "OpenJob") -> bool:
        """Whether its row is another one."""
        mine, others = ((job.sealed, job.held, job.horizon, job.closed) for job in (self, before))
        return mine != others


class EndedJob(msgspec.Struct, array_like=True, frozen=True):
    """The body of a row of ``ended_jobs``: how the job is listed, why it was cancelled where it was, and of how many of
    its tasks a consumer has said that it took them.
    """

    summary: JobSummary
    reason: str = ""
    taken: int = 0

    def with_taken(self, more: int) -> "EndedJob":
        """A consumer has taken so many more."""
        taken = self.taken + more
        tasks = with_processed(self.summary.tasks, taken)
        return EndedJob(msgspec.structs.replace(self.summary, tasks=tasks), self.reason, taken)


class _Submission(msgspec.Struct, array_like=True, frozen=True):
    """The body of a row of ``submitted``. What is shared by all tasks is usually the same in both, and stands once."""

    job: Job
    spec: JobSpec
    key: bytes
    owner: str
    submitted: float
    number: int
    is_shared_once: bool


class _Open(msgspec.Struct, array_like=True, frozen=True):
    apart: bool
    sealed: bool
    held: bool
    closed: dict[str, int]
    horizon: int


_decode_submission = msgspec.msgpack.Decoder(_Submission).decode
_decode_open = msgspec.msgpack.Decoder(_Open).decode
_decode_ended = msgspec.msgpack.Decoder(EndedJob).decode
_decode_namespace = msgspec.json.Decoder(Namespace).decode


def submitted_row(event: JobSubmitted) -> Row:
    """A row of ``submitted``."""
    job, once = event.job, event.job.shared == event.spec.shared
    if once:
        job = msgspec.structs.replace(job, shared=b"")
    body = pack(_Submission(job, event.spec, event.key, event.owner, event.submitted, event.number, once))
    columns = (job.job_id, job.task_class)
    return (*columns, checksum(body, *columns), body)


def submitted_of(row: Row) -> JobSubmitted:
    """Of a row of ``submitted``."""
    check("submitted", row)
    it = _decode_submission(row[-1])
    job = msgspec.structs.replace(it.job, shared=it.spec.shared) if it.is_shared_once else it.job
    return JobSubmitted(job, it.spec, it.key, it.owner, it.submitted, it.number)


def open_row(job: OpenJob) -> Row:
    """A row of ``open_jobs``."""
    body = pack(_Open(job.apart, job.sealed, job.held, job.closed, job.horizon))
    return job.job_id, checksum(body, job.job_id), body


def open_of(row: Row) -> OpenJob:
    """Of a row of ``open_jobs``, with what its closed blocks tell."""
    check("open_jobs", row)
    it = _decode_open(row[-1])
    return OpenJob(row[0], it.apart, it.sealed, it.held, it.closed, it.closed, sum(it.closed.values()), it.horizon)


def ended_row(ended: EndedJob, until: int | None) -> Row:
    """A row of ``ended_jobs``; ``until`` is the Unix time at which it is let go, None where that is ``keep``'s."""
    body, job = pack(ended), ended.summary
    columns = (job.job_id, job.namespace, job.owner, job.name, job.session, job.state, until)
    return (*columns, checksum(body, *columns), body)


def until_of(finished: float, keep_s: float | None) -> int | None:
    """The column ``until`` of a job that says so itself."""
    return None if keep_s is None else math.ceil(kept_until(finished, keep_s))


def ended_of(row: Row) -> EndedJob:
    """Of a row of ``ended_jobs``."""
    check("ended_jobs", row)
    return _decode_ended(row[-1])


def namespace_row(namespace: Namespace) -> Row:
    """A row of ``namespaces``."""
    return namespace.name, msgspec.json.encode(namespace).decode()


def namespace_of(row: Row) -> Namespace:
    """Of a row of ``namespaces``."""
    try:
        return _decode_namespace(row[-1])
    except msgspec.MsgspecError as error:
        raise DamagedRow(f"the row {row[0]} of the table namespaces is none: {error}") from None
