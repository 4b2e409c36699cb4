"""AsyncClient: the Client for programs with an event loop.

Owns in which thread a question is asked and how its answer gets to the loop. The questions are the Client's own:
nothing of the wire is here. One thread asks them, one after the other, with one Client; what takes long is cut into
steps (``pacing``), between which others are asked, and whose pauses are the loop's. Results alone have a connection of
their own, and threads of which one waits for each reader, because who follows a job mostly waits.
"""

import asyncio
import contextlib
import itertools
import socket
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, update_wrapper
from pathlib import Path
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, Self, TypeVar

from cyclone.client import pacing, steps
from cyclone.client.async_rows import Rows
from cyclone.client.client import A, Client, closed
from cyclone.client.connection import Address
from cyclone.client.event_log import Reader, Since, Told
from cyclone.client.following import result_batches
from cyclone.client.job_results import JobTaskResult
from cyclone.client.pacing import Batch
from cyclone.client.patience import Patience
from cyclone.client.retrying import USUAL_STATES, Retry
from cyclone.client.submitting import Row
from cyclone.client.task_output import OutputReader, TaskOutput
from cyclone.protocol import limits
from cyclone.protocol.job_messages import AnyFromClient, JobSummary, OutputAnswer, TaskRow
from cyclone.protocol.job_spec import IndexRanges, JobSelection, JobSpec
from cyclone.values import decode

# Of more, each waits a moment until another one has been told something.
_FOLLOWERS_MAX = 64

P = ParamSpec("P")
T = TypeVar("T")


class _Done(NamedTuple, Generic[T]):
    """That there is no further step."""

    result: T


def _step(steps: pacing.Steps[T]) -> float | _Done[T]:
    """The next one: how long to pause behind it. No StopIteration can leave a coroutine."""
    try:
        return next(steps)
    except StopIteration as end:
        return _Done(end.value)


def _asked(
    verb: Callable[Concatenate[Client, P], T],
) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, T]]:
    """The same question, to be awaited."""

    async def ask(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._call(partial(verb, self._client, *args, **kwargs))

    return update_wrapper(ask, verb)


def _as_rows(batches: Generator[Batch[T], None, None]) -> Iterator[Batch[Batch[T]]]:
    """Each of them as it is, in a batch of one."""
    with contextlib.closing(batches):
        for one in batches:
            yield Batch([one])


def _told_in_the_loop(patience: Patience) -> Patience:
    """The same, whichever thread is patient."""
    loop = asyncio.get_running_loop()

    def tell(text: str) -> None:
        loop.call_soon_threadsafe(patience.tell, text)

    return patience._replace(tell=tell)


class _Wanted:
    """Tasks that are read in the client's thread, for as long as somebody waits for what becomes of them."""

    def __init__(self, tasks: Iterable[bytes | Row | None]) -> None:
        self._tasks = tasks
        self._is_dropped = False

    def drop(self) -> None:
        """Nobody does: the next one is not taken any more, and with it nothing more is sent."""
        self._is_dropped = True

    def __iter__(self) -> Iterator[bytes | Row | None]:
        for task in self._tasks:
            if self._is_dropped:
                raise closed()
            yield task
        if self._is_dropped:
            raise closed()


class AsyncOutputReader:
    """An ``OutputReader`` whose pieces are read with ``async for``, for one task of the loop at a time."""

    def __init__(self, reader: OutputReader, read: Callable[[Iterator[Batch[TaskOutput]]], Rows[TaskOutput]]) -> None:
        self._reader = reader
        self._read = read

    @property
    def lost_bytes(self) -> int:
        """How many were passed over because they are not kept any more."""
        return self._reader.lost_bytes

    @property
    def cut(self) -> str:
        """As ``OutputReader.cut``."""
        return self._reader.cut

    @property
    def last(self) -> OutputAnswer | None:
        """What was answered last."""
        return self._reader.last

    def read(self) -> Rows[TaskOutput]:
        """What there is by now."""
        return self._read(self._reader.pages())

    def follow(self) -> Rows[TaskOutput]:
        """What there is and what comes, to the end: at most a second later, and others are answered meanwhile."""
        return self._read(self._reader.followed())


class AsyncClient:
    """A ``Client`` whose questions are awaited, and whose lists are read with ``async for``.

    Made and used inside of one event loop, by any number of its tasks at once. Where an ``await`` is cancelled the
    question may have been asked; the client stays usable. Open as a context, or ``close`` it: no thread stays behind.
    What it is given and what is raised is as with ``Client``; a ``patience`` is told in the loop.

    >>> async def main():
    ...     async with AsyncClient(address) as client:
    ...         job_id = await client.map(math.factorial, range(4))
    ...         [job] = await client.wait([job_id], timeout_s=30)
    ...         return job.state, sorted([result.value async for result in client.results(job_id)])
    >>> asyncio.run(main())
    ('completed', [1, 1, 2, 6])
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
        self._patience = _told_in_the_loop(patience) if patience else None
        self._client = Client(
            connect,
            key_file=key_file,
            insecure=insecure,
            config_file=config_file,
            profile=profile,
            timeout_s=timeout_s,
            patience=self._patience,
        )
        self._thread = ThreadPoolExecutor(1, "cyclone-client")
        self._followers = ThreadPoolExecutor(_FOLLOWERS_MAX, "cyclone-results")
        self._is_closed = False
        self._closing: asyncio.Future[None] | None = None
        self._reading: weakref.WeakSet[Rows[Any]] = weakref.WeakSet()
        self._submitting: set[_Wanted] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def address(self) -> Address:
        """Where the master is."""
        return self._client.address

    @property
    def timeout_s(self) -> float:
        """How long an answer may take."""
        return self._client.timeout_s

    ask = _asked(Client.ask)

    async def expect(self, kind: type[A], make: Callable[[int], AnyFromClient]) -> A:
        """As ``Client.expect``."""
        return await self._call(lambda: self._client.expect(kind, make))

    async def close(self) -> None:
        """End the connections, also those of results that are being read. Jobs go on, with the tasks that they have."""
        self._is_closed = True
        for wanted in self._submitting:
            wanted.drop()
        for rows in list(self._reading):
            await rows.aclose()
        if self._closing is None:
            self._closing = asyncio.get_running_loop().run_in_executor(self._thread, self._client.close)
        await asyncio.shield(self._closing)
        # They have nothing to do any more, and end at this moment.
        self._thread.shutdown()
        self._followers.shutdown()

    # Submitting.

    async def submit(
        self, spec: JobSpec, tasks: Iterable[bytes | Row | None], *, key: bytes | None = None, sealed: bool = True
    ) -> int:
        """As ``Client.submit``. The iterable is read in the client's thread: other questions wait while it does.

        Where the ``await`` is cancelled, or the client closed, no task is taken from it any more but the one that it is
        asked for just now. The job may be there with a part of its tasks, and waits for the others: submit the same
        again with the same ``key``, or cancel it.
        """
        with self._wanted(tasks) as wanted:
            return await self._take(steps.submit(self._client, spec, wanted, key, sealed))

    async def add(self, job_id: int, tasks: Iterable[bytes | Row | None], *, offset: int, sealed: bool = False) -> int:
        """As ``Client.add``."""
        with self._wanted(tasks) as wanted:
            return await self._take(steps.add(self._client, job_id, wanted, offset, sealed))

    async def map(self, function: Callable[..., Any] | str, *iterables: Iterable[Any], **options: Any) -> int:
        """As ``Client.map``."""
        from cyclone.client.calls import job_of_calls

        return await self.submit(*job_of_calls(function, iterables, options))

    async def retry(
        self,
        job_id: int,
        *,
        indexes: IndexRanges | None = None,
        states: Sequence[str] = USUAL_STATES,
        hold: bool = False,
        again: bool = False,
    ) -> int:
        """As ``Client.retry``."""
        chosen = await self._call(partial(Retry, self._client, job_id, indexes, states, hold))
        return await self.submit(chosen.spec, chosen, key=None if again else chosen.key)

    # Looking.

    status = _asked(Client.status)
    nodes = _asked(Client.nodes)
    detail = _asked(Client.detail)
    explain = _asked(Client.explain)
    namespaces = _asked(Client.namespaces)
    event_page = _asked(Client.event_page)

    async def output(
        self,
        job_id: int,
        index: int,
        *,
        attempt: int = 0,
        offset: int = 0,
        bytes_max: int = limits.OUTPUT_BYTES_MAX,
        wait_s: float = 0.0,
    ) -> OutputAnswer:
        """As ``Client.output``; while it waits, others are answered."""
        ask = partial(self._client.output, job_id, index, attempt=attempt, offset=offset, bytes_max=bytes_max)
        return await self._take(steps.output(ask, offset, wait_s))

    def read_output(self, job_id: int, index: int, *, attempt: int = 0, offset: int = 0) -> "AsyncOutputReader":
        """What the task prints, to be read or followed: see ``AsyncOutputReader``."""
        reader = self._client.read_output(job_id, index, attempt=attempt, offset=offset)
        return AsyncOutputReader(reader, lambda batches: self._read(self._thread, batches))

    def jobs(
        self, selection: JobSelection | int | None = None, *, before: int = 0, page: int = limits.PAGE_ROWS_MAX
    ) -> Rows[JobSummary]:
        """As ``Client.jobs``."""
        return self._pages(self._client.jobs(selection, before=before, page=page), page)

    def tasks(
        self,
        job_id: int,
        *,
        start: int = 0,
        states: Sequence[str] = (),
        with_args: bool = False,
        with_values: bool = False,
        page: int = limits.PAGE_ROWS_MAX,
    ) -> Rows[TaskRow]:
        """As ``Client.tasks``."""
        found = self._client.tasks(
            job_id, start=start, states=states, with_args=with_args, with_values=with_values, page=page
        )
        return self._pages(found, page)

    def events(self, *, after: int = 0, epoch: int = 0, moment: float = 0.0, follow: bool = False) -> Rows[Told]:
        """As ``Client.events``."""
        reader = Reader(self._client.event_page, Since(after, epoch, moment))
        return self._read(self._thread, reader.batches(follow))

    def results(
        self, job_id: int, position: int = 0, *, read_value: Callable[[bytes], Any] = decode
    ) -> Rows[JobTaskResult]:
        """As ``Client.results``. The master sends no more than some mebibytes ahead of who reads."""
        return self._follow(lambda batches: batches, job_id, position, read_value)

    def result_batches(
        self, job_id: int, position: int = 0, *, read_value: Callable[[bytes], Any] = decode
    ) -> Rows[Batch[JobTaskResult]]:
        """As ``Client.result_batches``."""
        return self._follow(_as_rows, job_id, position, read_value)

    # Steering: whether it is granted is in the answer.

    hold = _asked(Client.hold)
    release = _asked(Client.release)
    seal = _asked(Client.seal)
    cancel = _asked(Client.cancel)
    requeue = _asked(Client.requeue)
    processed = _asked(Client.processed)
    set_namespace = _asked(Client.set_namespace)
    delete_namespace = _asked(Client.delete_namespace)
    purge = _asked(Client.purge)
    drain = _asked(Client.drain)

    # Waiting.

    async def wait(self, job_ids: Sequence[int], timeout_s: float | None = None) -> list[JobSummary]:
        """As ``Client.wait``; any number of tasks may wait at once."""
        return await self._take(steps.wait(self._client, job_ids, timeout_s))

    async def _call(self, call: Callable[[], T]) -> T:
        """Its result, from the client's thread."""
        self._check()
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _take(self, taken: pacing.Steps[T]) -> T:
        """All steps, each in the client's thread; in the pauses it is free for others."""
        while True:
            step = await self._call(partial(_step, taken))
            if isinstance(step, _Done):
                result: T = step.result
                return result
            await asyncio.sleep(step)

    @contextlib.contextmanager
    def _wanted(self, tasks: Iterable[bytes | Row | None]) -> Iterator[_Wanted]:
        wanted = _Wanted(tasks)
        self._submitting.add(wanted)
        try:
            yield wanted
        finally:
            # Where the await was cancelled, the thread may be reading it still.
            self._submitting.remove(wanted)
            wanted.drop()

    def _pages(self, found: Iterator[T], page: int) -> Rows[T]:
        def batches() -> Iterator[Batch[T]]:
            while rows := list(itertools.islice(found, page)):
                yield Batch(rows)

        return self._read(self._thread, batches())

    def _follow(
        self,
        form: Callable[[Generator[Batch[JobTaskResult], None, None]], Iterator[Batch[T]]],
        job_id: int,
        position: int,
        read_value: Callable[[bytes], Any],
    ) -> Rows[T]:
        """Results in this form, by a connection of their own."""
        self._check()
        stop, stopped = socket.socketpair()
        found = result_batches(self.address, self.timeout_s, job_id, position, read_value, stopped, self._patience)
        return self._read(self._followers, form(found), (stop, stopped))

    def _read(
        self, thread: ThreadPoolExecutor, batches: Iterator[Batch[T]], stop: tuple[socket.socket, ...] = ()
    ) -> Rows[T]:
        self._check()
        rows = Rows(thread, batches, stop)
        self._reading.add(rows)
        return rows

    def _check(self) -> None:
        if self._is_closed:
            raise closed()
