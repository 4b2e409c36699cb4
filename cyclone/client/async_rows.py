"""Rows: what comes by batches, for an event loop to read with ``async for``.

Owns in which thread the next batch is waited for, and that none is lost where nobody wants it for a moment. Whose
thread it is, and what the batches are about, whoever makes it knows.
"""

import asyncio
import socket
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Self, TypeVar

from cyclone.client.pacing import Batch

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
        if pending := self._next:
            await asyncio.wait([pending])
            # Nobody asks any more what became of it.
            pending.exception()
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
        if self._closing:
            return
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
