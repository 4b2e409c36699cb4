"""Client: what a program asks of a running master, one question after the other.

Owns the questions and what their answers mean for a caller; the Executor, which keeps many tasks under way at once, is
beside it. Each question may be repeated, and is, until it is answered or ``timeout_s`` is over: so a master may be
restarted meanwhile. Light to import: the command line is made of it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from cyclone.client import nodes, pacing, steps
from cyclone.client.connection import Address, Connection, find_address
from cyclone.client.event_log import Reader, Since, Told
from cyclone.client.following import result_batches
from cyclone.client.job_results import JobTaskResult
from cyclone.client.nodes import NodeState
from cyclone.client.patience import Patience
from cyclone.client.retrying import USUAL_STATES, Retry
from cyclone.client.submitting import Row
from cyclone.client.task_output import OutputReader
from cyclone.errors import CycloneError
from cyclone.protocol import limits
from cyclone.protocol.client_messages import Answer, ControllerStatus, DrainRequest, StatusReport, StatusRequest
from cyclone.protocol.event_messages import EventsReport, EventsRequest
from cyclone.protocol.job_messages import (
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
    TaskRow,
    TasksReport,
    TasksRequest,
)
from cyclone.protocol.job_spec import IndexRanges, JobSelection, JobSpec, Namespace
from cyclone.values import decode

# The master refuses more ranges in one request.
_PROCESSED_AT_A_TIME = 1024

A = TypeVar("A", bound=AnyToClient)


def _chosen(selection: JobSelection | int) -> JobSelection:
    """A number means the job that has it."""
    return JobSelection(ids=[(selection, selection)]) if isinstance(selection, int) else selection


def closed() -> CycloneError:
    """What to raise where a client is used after its end."""
    return CycloneError("this client is closed: make another one")


class Client:
    """A connection to a running master. Open as a context, or ``close`` it.

    The master is the one at ``connect`` ("tcp://host:port"), else the one of a configuration file, else that of
    ``$CYCLONE_SERVER``, else that of the profile, else the one on this host. Not for several threads at once. All
    questions raise Unreachable where no master answers in time, and NotAllowed where the key gives no right to them.
    ``patience`` is for who waits: how long a master may be away that has answered once.

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
        patience: Patience | None = None,
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
        self._connection = Connection(self.address, timeout_s, patience=patience)
        self._requests = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def timeout_s(self) -> float:
        """How long an answer may take."""
        return self._connection.timeout_s

    def close(self) -> None:
        """End the connection. Jobs go on."""
        self._connection.close()

    def ask(self, make: Callable[[int], AnyFromClient]) -> AnyToClient:
        """The answer to the request that ``make`` makes, given its number."""
        if self._connection.is_closed:
            raise closed()
        self._requests += 1
        return self._connection.ask(make(self._requests))

    def expect(self, kind: type[A], make: Callable[[int], AnyFromClient]) -> A:
        """The same where the answer must be of this kind. Raises CycloneError with what is said instead."""
        answer = self.ask(make)
        if not isinstance(answer, kind):
            if isinstance(answer, Answer):
                raise CycloneError(answer.text)
            raise CycloneError(f"the master answers a {type(answer).__name__} where a {kind.__name__} belongs")
        return answer

    # Submitting.

    def submit(
        self, spec: JobSpec, tasks: Iterable[bytes | Row | None], *, key: bytes | None = None, sealed: bool = True
    ) -> int:
        """Make a job of tasks, each a msgpack array of constructor properties; its number.

        What is returned from is recorded. Tasks are pulled as the master takes them: there may be any number. They
        travel together; a None among slow ones sends those before it.
        ``key``, 16 bytes, makes one job only, whoever repeats it. Not ``sealed``, it waits for more by ``add``. Raises
        QuotaExceeded, MasterBusy, NoSuchNamespace, NotAllowed, SubmitRefused.
        """
        return pacing.run(steps.submit(self, spec, tasks, key, sealed))

    def map(self, function: Callable[..., Any] | str, *iterables: Iterable[Any], **options: Any) -> int:
        """Make a job of calls of a function with the items of iterables, as the built-in ``map`` does; its number.

        >>> with Client(address) as client:
        ...     job_id = client.map(math.factorial, range(4), name="night", retries=2)
        ...     sorted((result.index, result.value) for result in client.results(job_id))
        [(0, 1), (1, 1), (2, 2), (3, 6)]

        It returns when all items are submitted: they may be many, but not endless. The function goes by reference: its
        module must be one that controllers may import. As ``"module:name"`` it need not be importable here. Options are
        those of ``Executor.options``. Raises as ``submit`` does, and NotSerialisable.
        """
        # With what it takes to name a function, which no command needs.
        from cyclone.client.calls import job_of_calls

        return self.submit(*job_of_calls(function, iterables, options))

    def retry(
        self,
        job_id: int,
        *,
        indexes: IndexRanges | None = None,
        states: Sequence[str] = USUAL_STATES,
        hold: bool = False,
        again: bool = False,
    ) -> int:
        """Make a new job, with the same options, of those tasks of a job that ended and did not complete; its number.

        >>> with Client(address) as client:
        ...     job_id = client.map(math.sqrt, [4, -1, 9])
        ...     [job] = client.wait([job_id], timeout_s=30)
        ...     retried = client.retry(job_id)
        ...     job.tasks["failed"], client.detail(retried).spec.tags == {"retry-of": str(job_id)}
        (1, True)

        Only those with these indexes, in these states. To say it again gives the same job, unless ``again``. Raises
        NoSuchJob, SubmitRefused with the code ``sealed`` where more tasks have ended so since it was said first, and
        CycloneError where there is no such task.
        """
        chosen = Retry(self, job_id, indexes, states, hold)
        return self.submit(chosen.spec, chosen, key=None if again else chosen.key)

    def add(self, job_id: int, tasks: Iterable[bytes | Row | None], *, offset: int, sealed: bool = False) -> int:
        """More tasks for a job that is not sealed, the first with the index ``offset``: how many it has now."""
        return pacing.run(steps.add(self, job_id, tasks, offset, sealed))

    # Looking.

    def status(self) -> StatusReport:
        """The master and its controllers."""
        return self.expect(StatusReport, StatusRequest)

    def jobs(
        self, selection: JobSelection | int | None = None, *, before: int = 0, page: int = limits.PAGE_ROWS_MAX
    ) -> Iterator[JobSummary]:
        """The jobs that are meant, the newest first, those below ``before`` only; asked for page by page."""
        wanted = JobSelection() if selection is None else _chosen(selection)
        while True:
            report = self.expect(JobsReport, partial(JobsRequest, selection=wanted, page=page, before=before))
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
        """The tasks of a job by index, in these states (all where none is named); asked for page by page.

        Raises NoSuchJob.
        """
        position: int | None = start
        is_empty = True
        while position is not None:
            make = partial(TasksRequest, job_id=job_id, start=position, page=page, states=tuple(states))
            report = self.expect(TasksReport, partial(make, with_args=with_args, with_values=with_values))
            yield from report.rows
            position, is_empty = report.next, is_empty and not report.rows
        if is_empty:
            # The master tells of no tasks where it knows of no such job, too.
            self.detail(job_id)

    def detail(self, job_id: int, *, with_shared: bool = False) -> JobDetail:
        """One job with its options, ``with_shared`` to submit it again. Raises NoSuchJob."""
        detail = self.expect(JobDetail, lambda n: DetailRequest(n, job_id, with_shared))
        if detail.job is None:
            raise steps.no_job(job_id)
        return detail

    def explain(self, job_id: int, index: int | None = None) -> list[tuple[str, str]]:
        """Why the job, or this task of it, does not run: codes for programs, each with a sentence for people."""
        return self.expect(Explanation, lambda n: ExplainRequest(n, job_id, index)).reasons

    def namespaces(self) -> list[NamespaceSummary]:
        """All of them."""
        return self.expect(NamespacesReport, NamespacesRequest).namespaces

    def nodes(
        self,
        names: Collection[str] | None = None,
        *,
        state: NodeState | None = None,
        namespace: str | None = None,
        label: str | None = None,
        idle: bool = False,
    ) -> list[ControllerStatus]:
        """The controllers, by name: those with these names or on these hosts, in this state, that serve this namespace,
        have this label, or with ``idle`` those with a free slot that get tasks.
        """
        return nodes.chosen(self.status().controllers, names, state, namespace, label, idle)

    def events(self, *, after: int = 0, epoch: int = 0, moment: float = 0.0, follow: bool = False) -> Iterator[Told]:
        """What has happened, in order, and with ``follow`` what happens from then on, without an end.

        Only what came behind the event with the number ``after`` (of ``epoch``, 0 for the present one), and since
        ``moment`` in Unix time. Where a part is not known any more, an event of the kind ``missed`` is in its place.
        """
        return pacing.rows(Reader(self.event_page, Since(after, epoch, moment)).batches(follow))

    def event_page(self, after: int = 0, epoch: int = 0) -> EventsReport:
        """A page of what has happened: behind this number, where the epoch is still this one, else from the oldest."""
        return self.expect(EventsReport, lambda n: EventsRequest(n, epoch, after))

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
        return self.expect(OutputAnswer, lambda n: OutputRequest(n, job_id, index, attempt, offset, bytes_max, wait_s))

    def read_output(self, job_id: int, index: int, *, attempt: int = 0, offset: int = 0) -> OutputReader:
        """What the task prints, to be read or followed: see ``OutputReader``."""

        def ask(attempt: int, offset: int, wait_s: float) -> OutputAnswer:
            return self.output(job_id, index, attempt=attempt, offset=offset, wait_s=wait_s)

        return OutputReader(ask, attempt, offset)

    # Steering: whether it is granted is in the answer. One job is meant by its number, several by a JobSelection.

    def hold(self, selection: JobSelection | int) -> Answer:
        """No task of these jobs is started until they are released."""
        return self.expect(Answer, lambda n: ControlRequest(n, _chosen(selection), "hold"))

    def release(self, selection: JobSelection | int) -> Answer:
        """Undo ``hold``."""
        return self.expect(Answer, lambda n: ControlRequest(n, _chosen(selection), "release"))

    def seal(self, selection: JobSelection | int) -> Answer:
        """These jobs get no more tasks: they end with those that they have."""
        return self.expect(Answer, lambda n: ControlRequest(n, _chosen(selection), "seal"))

    def cancel(
        self,
        selection: JobSelection | int,
        *,
        indexes: IndexRanges | None = None,
        states: Sequence[str] = (),
        reason: str = "",
        dry_run: bool = False,
    ) -> Answer:
        """End these jobs, or of each of them the tasks with these indexes, in these states."""
        chosen = _chosen(selection)
        return self.expect(
            Answer, lambda n: CancelJobsRequest(n, chosen, indexes or [], tuple(states), reason, dry_run)
        )

    def requeue(self, job_id: int, indexes: IndexRanges | None = None) -> Answer:
        """Take these tasks back from whoever holds them, and let them wait again, in front."""
        return self.expect(Answer, lambda n: RequeueRequest(n, job_id, indexes or []))

    def processed(self, job_id: int, indexes: IndexRanges) -> Answer:
        """These completed tasks were taken by their consumer. Without any: whether one may say so of this job."""
        granted = 0
        for at in range(0, max(1, len(indexes)), _PROCESSED_AT_A_TIME):
            some = indexes[at : at + _PROCESSED_AT_A_TIME]
            answer = self.expect(Answer, partial(ProcessedRequest, job_id=job_id, indexes=some))
            granted += answer.count
            if not answer.granted:
                return answer
        return Answer(0, True, granted, "processed")

    def set_namespace(self, namespace: Namespace) -> Answer:
        """Make a namespace, or change it."""
        return self.expect(Answer, lambda n: NamespaceRequest(n, "set", namespace))

    def delete_namespace(self, name: str) -> Answer:
        """Remove a namespace that has no open jobs."""
        return self.expect(Answer, lambda n: NamespaceRequest(n, "delete", Namespace(name=name)))

    def purge(self, name: str) -> Answer:
        """Cancel all jobs of a namespace."""
        return self.expect(Answer, lambda n: NamespaceRequest(n, "purge", Namespace(name=name)))

    def drain(self, controller: str, *, undo: bool = False) -> Answer:
        """No new tasks for this controller, or tasks again."""
        return self.expect(Answer, lambda n: DrainRequest(n, controller, undo))

    # Waiting.

    def wait(self, job_ids: Sequence[int], timeout_s: float | None = None) -> list[JobSummary]:
        """The jobs when all of them have ended, in the order asked for. Raises TimeoutError, NoSuchJob."""
        return pacing.run(steps.wait(self, job_ids, timeout_s))

    def results(
        self, job_id: int, position: int = 0, *, read_value: Callable[[bytes], Any] = decode
    ) -> Iterator[JobTaskResult]:
        """The results of a job as they come, to its end; those of before first. Raises NoSuchJob.

        They are in the order in which they were recorded, not by index. It uses a connection of its own.
        """
        return pacing.rows(self.result_batches(job_id, position, read_value=read_value))

    def result_batches(
        self, job_id: int, position: int = 0, *, read_value: Callable[[bytes], Any] = decode
    ) -> Iterator[pacing.Batch[JobTaskResult]]:
        """The same as they come together: each ``rows`` of some; of none, every second or so, where nothing comes."""
        patience = self._connection.silence.patience
        return result_batches(self.address, self.timeout_s, job_id, position, read_value, patience=patience)
