"""AsyncClient: the Client for programs with an event loop.

Owns in which thread a question is asked and how its answer gets to the loop. The questions are the Client's own:
nothing of the wire is here. One thread asks them, one after the other, with one Client; what takes long is cut into
steps (``pacing``), between which others are asked, and whose pauses are the loop's. Results alone have a connection of
their own, and threads of which one waits for each reader, because who follows a job mostly waits.
"""

import asyncio
import itertools
import socket
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, update_wrapper
from pathlib import Path
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, Self, TypeVar

from cyclone.client import pacing, steps
from cyclone.client.client import Client
from cyclone.client.connection import Address
from cyclone.client.event_log import Reader, Since, Told
from cyclone.client.following import result_batches
from cyclone.client.job_results import JobTaskResult
from cyclone.client.pacing import Batch
from cyclone.client.retrying import USUAL_STATES, Retry
from cyclone.client.submitting import Row
from cyclone.errors import CycloneError
from cyclone.protocol import limits
from cyclone.protocol.job_messages import JobSummary, TaskRow
from cyclone.protocol.job_spec import IndexRanges, JobSelection, JobSpec
from cyclone.values import decode

# Of more, each waits a moment until another one has been told something.
_FOLLOWERS_MAX = 64

P = ParamSpec("P")
T = TypeVar("T")


class Rows(AsyncIterator[T], Generic[T]):
    """What an ``async for`` reads. Nothing is asked for before it is wanted, a page or a message at a time.

    Where an ``await`` for the next row is cancelled, nothing is lost: the next one gets it. ``aclose`` ends it before
    its end; so does dropping it, and closing the client. For one task at a time.
    """

    def __init__(
        self, thread: ThreadPoolExecutor, batches: Iterator[Batch[T]], stop: tuple[socket.socket, ...] = ()
    ) -> None:
        """``thread`` reads the batches; where the first of ``stop`` is closed, it does not wait for one any more."""
        self._thread = thread
        self._batches = batches
        self._stop = stop
        if stop:
            # Also where nobody closes it.
            weakref.finalize(self, stop[0].close)
        self._rows: Iterator[T] = iter(())
        self._pause_s = 0.0
        self._next: asyncio.Future[Batch[T] | None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._is_read = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def __anext__(self) -> T:
        if self._is_read:
            raise RuntimeError("two tasks read from the same iterator: give each its own")
        self._is_read = True
        try:
            while True:
                for row in self._rows:
                    return row
                if self._closing:
                    raise StopAsyncIteration
                await self._go_on()
        finally:
            self._is_read = False

    async def aclose(self) -> None:
        """No more of it. Returns when its thread has done with it."""
        self._rows = iter(())
        if self._closing is None:
            self._closing = asyncio.create_task(self._end())
        await asyncio.shield(self._closing)

    async def _end(self) -> None:
        if self._stop:
            self._stop[0].close()
        if self._next:
            await asyncio.wait([self._next])
            # Nobody asks any more what became of it.
            self._next.exception()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)

    async def _go_on(self) -> None:
        """The next batch, or the end."""
        await asyncio.sleep(self._pause_s)
        self._pause_s = 0.0
        if self._closing:
            return
        if self._next is None:
            self._next = asyncio.get_running_loop().run_in_executor(self._thread, next, self._batches, None)
        try:
            batch = await asyncio.shield(self._next)
        except asyncio.CancelledError:
            # It is still on its way, for whoever asks next.
            raise
        except BaseException:
            if self._closing is None:
                await self.aclose()
                raise
            return
        self._next = None
        if batch is None:
            await self.aclose()
        else:
            self._rows, self._pause_s = iter(batch.rows), batch.pause_s

    def _close(self) -> None:
        """In the thread, because it ends a connection."""
        close: Callable[[], None] | None = getattr(self._batches, "close", None)
        if close:
            close()
        for end in self._stop:
            end.close()


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


class AsyncClient:
    """A ``Client`` whose questions are awaited, and whose lists are read with ``async for``.

    Made and used inside of one event loop, by any number of its tasks at once. Where an ``await`` is cancelled the
    question may have been asked; the client stays usable. Open as a context, or ``close`` it: no thread stays behind.
    What it is given and what is raised is as with ``Client``.

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
    ) -> None:
        self._client = Client(
            connect,
            key_file=key_file,
            insecure=insecure,
            config_file=config_file,
            profile=profile,
            timeout_s=timeout_s,
        )
        self._thread = ThreadPoolExecutor(1, "cyclone-client")
        self._followers = ThreadPoolExecutor(_FOLLOWERS_MAX, "cyclone-results")
        self._is_closed = False
        self._closing: asyncio.Future[None] | None = None
        self._reading: weakref.WeakSet[Rows[Any]] = weakref.WeakSet()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def address(self) -> Address:
        """Where the master is."""
        return self._client.address

    async def close(self) -> None:
        """End the connections, also those of results that are being read. Jobs go on."""
        self._is_closed = True
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
        self, spec: JobSpec, tasks: Iterable[bytes | Row], *, key: bytes | None = None, sealed: bool = True
    ) -> int:
        """As ``Client.submit``. The iterable is read in the client's thread: other questions wait while it does.

        Where the ``await`` is cancelled the job may be there with a part of its tasks, and waits for the others:
        submit the same again with the same ``key``, or cancel it.
        """
        return await self._take(steps.submit(self._client, spec, tasks, key, sealed))

    async def add(self, job_id: int, tasks: Iterable[bytes | Row], *, offset: int, sealed: bool = False) -> int:
        """As ``Client.add``."""
        return await self._take(steps.add(self._client, job_id, tasks, offset, sealed))

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
    output = _asked(Client.output)

    def jobs(
        self, selection: JobSelection | None = None, *, before: int = 0, page: int = limits.PAGE_ROWS_MAX
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
        self._check()
        stop, stopped = socket.socketpair()
        batches = result_batches(self.address, self._client.timeout_s, job_id, position, read_value, stopped)
        return self._read(self._followers, batches, (stop, stopped))

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

    def _pages(self, found: Iterator[T], page: int) -> Rows[T]:
        def batches() -> Iterator[Batch[T]]:
            while rows := list(itertools.islice(found, page)):
                yield Batch(rows)

        return self._read(self._thread, batches())

    def _read(
        self, thread: ThreadPoolExecutor, batches: Iterator[Batch[T]], stop: tuple[socket.socket, ...] = ()
    ) -> Rows[T]:
        self._check()
        rows = Rows(thread, batches, stop)
        self._reading.add(rows)
        return rows

    def _check(self) -> None:
        if self._is_closed:
            raise CycloneError("this client is closed: make another one")
