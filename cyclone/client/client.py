"""Client: what a program asks of a running master, one question after the other.

Owns the questions and what their answers mean for a caller; the Executor, which keeps many tasks under way at once, is
beside it. Each question may be repeated, and is, until it is answered or ``timeout_s`` is over: so a master may be
restarted meanwhile. Light to import: the command line is made of it.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from cyclone.client.connection import Address, Connection, find_address
from cyclone.client.following import follow
from cyclone.client.job_results import JobTaskResult, OpenJobBlock
from cyclone.client.submitting import Blocks, check, pause_s
from cyclone.client.task_output import OutputReader
from cyclone.errors import CycloneError, NoSuchJob
from cyclone.protocol import limits
from cyclone.protocol.client_messages import Answer, DrainRequest, StatusReport, StatusRequest
from cyclone.protocol.event_messages import EventsReport, EventsRequest
from cyclone.protocol.job_messages import (
    NO_JOB,
    AddRequest,
    AnyFromClient,
    AnyToClient,
    CancelJobsRequest,
    ControlRequest,
    DetailRequest,
    ExplainRequest,
    Explanation,
    JobDetail,
    JobsReport,
    JobsRequest,
    JobSummary,
    NamespaceRequest,
    NamespacesReport,
    NamespacesRequest,
    NamespaceSummary,
    OutputAnswer,
    OutputRequest,
    ProcessedRequest,
    RequeueRequest,
    SubmitRequest,
    Submitted,
    TaskRow,
    TasksReport,
    TasksRequest,
)
from cyclone.protocol.job_spec import IndexRanges, JobSelection, JobSpec, Namespace
from cyclone.values import decode

# In none of these does a job change any more.
ENDED_STATES = frozenset({"completed", "failed", "cancelled"})
_LOOK_MIN_S, _LOOK_MAX_S = 0.01, 0.5
# Of the time that has passed: whoever waits for long hears of the end with a delay of so little of it.
_LOOK_SHARE = 0.1
# The master refuses more ranges in one request.
_PROCESSED_AT_A_TIME = 1024

A = TypeVar("A", bound=AnyToClient)


class Client:
    """A connection to a running master. Open as a context, or ``close`` it.

    The master is the one at ``connect`` ("tcp://host:port"), else the one of a configuration file, else that of
    ``$CYCLONE_SERVER``, else that of the profile, else the one on this host. Not for several threads at once. All
    questions raise Unreachable where no master answers in time, and NotAllowed where the key gives no right to them.

    >>> with Client(address) as client:
    ...     job_id = client.submit(JobSpec(task_class="tasks.empty:EmptyTask"), [b"\\x90"] * 3)
    ...     [job] = client.wait([job_id], timeout_s=30)
    ...     job.state, job.tasks["completed"], [result.state for result in client.results(job_id)]
    ('completed', 3, ['completed', 'completed', 'completed'])
    """

    def __init__(
        self,
        connect: str | Address | None = None,
        *,
        key_file: str | Path | None = None,
        insecure: bool = False,
        config_file: str | Path | None = None,
        profile: str | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        if isinstance(connect, Address):
            self.address = connect
        else:
            self.address = find_address(
                connect,
                Path(config_file) if config_file else None,
                Path(key_file) if key_file else None,
                insecure,
                profile,
            )
        self._connection = Connection(self.address, timeout_s)
        self._requests = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection. Jobs go on."""
        self._connection.close()

    def ask(self, make: Callable[[int], AnyFromClient]) -> AnyToClient:
        """The answer to the request that ``make`` makes, given its number."""
        self._requests += 1
        return self._connection.ask(make(self._requests))

    def _asked(self, kind: type[A], make: Callable[[int], AnyFromClient]) -> A:
        answer = self.ask(make)
        if not isinstance(answer, kind):
            if isinstance(answer, Answer):
                raise CycloneError(answer.text)
            raise CycloneError(f"the master answers a {type(answer).__name__} where a {kind.__name__} belongs")
        return answer

    # Submitting.

    def submit(self, spec: JobSpec, tasks: Iterable[bytes], *, key: bytes | None = None, sealed: bool = True) -> int:
        """Make a job of tasks, each a msgpack array of constructor properties; its number.

        What is returned from is recorded. Tasks are pulled as the master takes them: there may be any number.
        ``key``, 16 bytes, makes one job only, whoever repeats it. Not ``sealed``, it waits for more by ``add``. Raises
        QuotaExceeded, NoSuchNamespace, NotAllowed, SubmitRefused.
        """
        key = key or os.urandom(16)
        blocks = Blocks(tasks)
        block = blocks.take()
        last = sealed and blocks.exhausted
        answer = self._asked(Submitted, lambda n: SubmitRequest(n, key, spec, block, last))
        check(answer, blocks.end)
        blocks.taken(answer.count)
        if answer.sealed and not last:
            # Its key made it before, and whoever did so has said that it is whole.
            return answer.job_id
        if not (blocks.exhausted and not blocks.waiting and (answer.sealed or not sealed)):
            self._stream(answer.job_id, blocks, sealed, pause_s(answer, 0.0))
        return answer.job_id

    def add(self, job_id: int, tasks: Iterable[bytes], *, offset: int, sealed: bool = False) -> int:
        """More tasks for a job that is not sealed, the first with the index ``offset``: how many it has now."""
        blocks = Blocks(tasks, offset)
        self._stream(job_id, blocks, sealed, 0.0)
        return blocks.offset

    def _stream(self, job_id: int, blocks: Blocks, sealed: bool, wait_s: float) -> None:
        """Send until all is taken, and sealed where it shall be."""
        while True:
            time.sleep(wait_s)
            block = blocks.take()
            last = sealed and blocks.exhausted
            if block is None and not last:
                return
            answer = self._asked(Submitted, partial(AddRequest, job_id=job_id, block=block, sealed=last))
            if answer.code == NO_JOB and last and self._ended_with(job_id, blocks.end):
                return
            check(answer, blocks.end)
            blocks.taken(answer.count)
            if blocks.exhausted and not blocks.waiting:
                return
            wait_s = pause_s(answer, wait_s)

    def _ended_with(self, job_id: int, count: int) -> bool:
        """Whether a job has ended with so many tasks: then the answer to what sealed it was lost."""
        job = self._asked(JobDetail, lambda n: DetailRequest(n, job_id)).job
        return job is not None and job.sealed and sum(job.tasks.values()) == count

    # Looking.

    def status(self) -> StatusReport:
        """The master and its controllers."""
        return self._asked(StatusReport, StatusRequest)

    def jobs(
        self, selection: JobSelection | None = None, *, before: int = 0, page: int = limits.PAGE_ROWS_MAX
    ) -> Iterator[JobSummary]:
        """The jobs that are selected, the newest first, those below ``before`` only; asked for page by page."""
        wanted = selection or JobSelection()
        while True:
            report = self._asked(JobsReport, partial(JobsRequest, selection=wanted, page=page, before=before))
            yield from report.jobs
            if not report.next:
                return
            before = report.next

    def tasks(
        self,
        job_id: int,
        *,
        start: int = 0,
        states: Sequence[str] = (),
        with_args: bool = False,
        with_values: bool = False,
        page: int = limits.PAGE_ROWS_MAX,
    ) -> Iterator[TaskRow]:
        """The tasks of a job by index, in these states (all where none is named); asked for page by page."""
        position: int | None = start
        while position is not None:
            make = partial(TasksRequest, job_id=job_id, start=position, page=page, states=tuple(states))
            report = self._asked(TasksReport, partial(make, with_args=with_args, with_values=with_values))
            yield from report.rows
            position = report.next

    def detail(self, job_id: int, *, with_shared: bool = False) -> JobDetail:
        """One job with its options, ``with_shared`` to submit it again. Raises NoSuchJob."""
        detail = self._asked(JobDetail, lambda n: DetailRequest(n, job_id, with_shared))
        if detail.job is None:
            raise _no_job(job_id)
        return detail

    def explain(self, job_id: int, index: int | None = None) -> list[tuple[str, str]]:
        """Why the job, or this task of it, does not run: codes for programs, each with a sentence for people."""
        return self._asked(Explanation, lambda n: ExplainRequest(n, job_id, index)).reasons

    def namespaces(self) -> list[NamespaceSummary]:
        """All of them."""
        return self._asked(NamespacesReport, NamespacesRequest).namespaces

    def events(self, after: int = 0, epoch: int = 0) -> EventsReport:
        """A page of what has happened: behind this number, where the epoch is still this one, else from the oldest."""
        return self._asked(EventsReport, lambda n: EventsRequest(n, epoch, after))

    def output(
        self,
        job_id: int,
        index: int,
        *,
        attempt: int = 0,
        offset: int = 0,
        bytes_max: int = limits.OUTPUT_BYTES_MAX,
        wait_s: float = 0.0,
    ) -> OutputAnswer:
        """A part of what the task has printed, in its last attempt where none is named; see ``read_output``.

        Where there is nothing yet but there may be, the answer waits for up to ``wait_s``. Raises CycloneError where
        there is no such task.
        """
        return self._asked(OutputAnswer, lambda n: OutputRequest(n, job_id, index, attempt, offset, bytes_max, wait_s))

    def read_output(self, job_id: int, index: int, *, attempt: int = 0, offset: int = 0) -> OutputReader:
        """What the task prints, to be read or followed: see ``OutputReader``."""

        def ask(attempt: int, offset: int, wait_s: float) -> OutputAnswer:
            return self.output(job_id, index, attempt=attempt, offset=offset, wait_s=wait_s)

        return OutputReader(ask, attempt, offset)

    # Steering: whether it is granted is in the answer.

    def hold(self, selection: JobSelection) -> Answer:
        """No task of these jobs is started until they are released."""
        return self._asked(Answer, lambda n: ControlRequest(n, selection, "hold"))

    def release(self, selection: JobSelection) -> Answer:
        """Undo ``hold``."""
        return self._asked(Answer, lambda n: ControlRequest(n, selection, "release"))

    def seal(self, selection: JobSelection) -> Answer:
        """These jobs get no more tasks: they end with those that they have."""
        return self._asked(Answer, lambda n: ControlRequest(n, selection, "seal"))

    def cancel(
        self,
        selection: JobSelection,
        *,
        indexes: IndexRanges | None = None,
        states: Sequence[str] = (),
        reason: str = "",
        dry_run: bool = False,
    ) -> Answer:
        """End these jobs, or of each of them the tasks with these indexes, in these states."""
        return self._asked(
            Answer, lambda n: CancelJobsRequest(n, selection, indexes or [], tuple(states), reason, dry_run)
        )

    def requeue(self, job_id: int, indexes: IndexRanges | None = None) -> Answer:
        """Take these tasks back from whoever holds them, and let them wait again, in front."""
        return self._asked(Answer, lambda n: RequeueRequest(n, job_id, indexes or []))

    def processed(self, job_id: int, indexes: IndexRanges) -> Answer:
        """These completed tasks were taken by their consumer."""
        granted = 0
        for at in range(0, len(indexes), _PROCESSED_AT_A_TIME):
            some = indexes[at : at + _PROCESSED_AT_A_TIME]
            answer = self._asked(Answer, partial(ProcessedRequest, job_id=job_id, indexes=some))
            granted += answer.count
            if not answer.granted:
                return answer
        return Answer(0, True, granted, "processed")

    def set_namespace(self, namespace: Namespace) -> Answer:
        """Make a namespace, or change it."""
        return self._asked(Answer, lambda n: NamespaceRequest(n, "set", namespace))

    def delete_namespace(self, name: str) -> Answer:
        """Remove a namespace that has no open jobs."""
        return self._asked(Answer, lambda n: NamespaceRequest(n, "delete", Namespace(name=name)))

    def purge(self, name: str) -> Answer:
        """Cancel all jobs of a namespace."""
        return self._asked(Answer, lambda n: NamespaceRequest(n, "purge", Namespace(name=name)))

    def drain(self, controller: str, *, undo: bool = False) -> Answer:
        """No new tasks for this controller, or tasks again."""
        return self._asked(Answer, lambda n: DrainRequest(n, controller, undo))

    # Waiting.

    def wait(self, job_ids: Sequence[int], timeout_s: float | None = None) -> list[JobSummary]:
        """The jobs when all of them have ended, in the order asked for. Raises TimeoutError, NoSuchJob."""
        began = time.monotonic()
        ended: dict[int, JobSummary] = {}
        while missing := sorted(set(job_ids) - ended.keys()):
            selection = JobSelection(ids=_ranges(missing))
            found = {job.job_id: job for job in self.jobs(selection)}
            if unknown := [job_id for job_id in missing if job_id not in found]:
                raise _no_job(unknown[0])
            ended |= {job_id: job for job_id, job in found.items() if job.state in ENDED_STATES}
            passed = time.monotonic() - began
            if len(ended) == len(set(job_ids)):
                break
            if timeout_s is not None and passed >= timeout_s:
                still = ", ".join(str(job_id) for job_id in missing if job_id not in ended)
                raise TimeoutError(f"not ended after {timeout_s:g} s: {still}")
            pause = min(max(_LOOK_MIN_S, passed * _LOOK_SHARE), _LOOK_MAX_S)
            time.sleep(pause if timeout_s is None else min(pause, timeout_s - passed))
        return [ended[job_id] for job_id in job_ids]

    def results(
        self, job_id: int, position: int = 0, *, read_value: Callable[[bytes], Any] = decode
    ) -> Iterator[JobTaskResult]:
        """The results of a job as they come, to its end; those of before first. Raises NoSuchJob.

        They are in the order in which they were recorded, not by index. It uses a connection of its own.
        """
        job = self.detail(job_id).job
        assert job is not None
        with Connection(self.address, self._connection.timeout_s) as connection:
            for report in follow(connection, job_id, position):
                for block in report.blocks:
                    yield from OpenJobBlock(job_id, job.task_class, block, read_value)


def _ranges(numbers: Iterable[int]) -> IndexRanges:
    """Numbers in their order as ranges."""
    found: IndexRanges = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _no_job(job_id: int) -> NoSuchJob:
    return NoSuchJob(NO_JOB, f"there is no job {job_id}")
