"""A generator's host in this thread, killed and started again as often as the test likes, and the master of its lives.

The master is a plain book: what it was told is recorded, what it was not told is lost. All happens in one thread and on
a clock of its own, so that a seed is a run: where the host would wait, the master acts; where the other thread could
look around, a die is cast.
"""

import math
import os
import random
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

from cyclone import BaseTask, BaseTaskGenerator, values
from cyclone.master.generator import feed_pipe, generator_process
from cyclone.master.generator.generator_process import Host
from cyclone.master.generator.outgoing import Outgoing
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.protocol import states
from cyclone.protocol.framing import FrameReader
from cyclone.protocol.messages import ResultColumns
from cyclone.results import RecordedBlock, encode_columns, pack_seconds


class Killed(BaseException):
    """The end of a life."""


class Book:
    """What the master has recorded, over all lives; ``value_of`` a task's properties is its result."""

    def __init__(self, seed: int, value_of: Callable[[list[Any]], Any] = lambda properties: properties[0]) -> None:
        self.rng = random.Random(seed)
        self.value_of = value_of
        self.executes = True
        self.progress = GeneratorProgress()
        self.classes: list[str] = []
        self.args: list[bytes] = []
        self.keys: list[bytes] = []
        self.ended: set[int] = set()
        self.blocks: list[RecordedBlock] = []
        self.messages: list[feed_pipe.FromGenerator] = []
        self.summary: dict[str, Any] | None = None

    def tasks(self) -> list[Any]:
        """The first property of each task, in order of the ids."""
        return [values.decode(args)[0] for args in self.args]

    def record(self, message: feed_pipe.FromGenerator) -> None:
        """As the service and the scheduler would."""
        self.messages.append(message)
        match message:
            case feed_pipe.Block(jobs, runs, args, progress, keys):
                self.classes += [jobs[job][0] for job, count in runs for _ in range(count)]
                self.args += args
                self.keys += keys or [b""] * len(args)
                self._advance(progress)
            case feed_pipe.Advanced(progress):
                self._advance(progress)
            case feed_pipe.Summary(packed):
                self.summary = values.decode(packed)

    def _advance(self, progress: GeneratorProgress) -> None:
        before = self.progress
        assert progress.pulled >= max(before.pulled, progress.cursor_pulled)
        place = (progress.consumed, progress.consumed_rows, progress.made)
        assert place >= (before.consumed, before.consumed_rows, before.made)
        assert place >= (progress.cursor_consumed, 0, 0)
        assert (progress.cursor_pulled, progress.cursor_consumed) >= (before.cursor_pulled, before.cursor_consumed)
        assert progress.exhausted >= before.exhausted
        self.progress = progress

    def execute_some(self) -> None:
        """Some neighbouring tasks end."""
        first = self.rng.choice([number for number in range(len(self.args)) if number not in self.ended])
        self.end(first, min(len(self.args), first + self.rng.randint(1, 4)))

    def end(self, first: int, stop: int) -> None:
        """Tasks from one index up to another end, and those among them that had not yet get their results."""
        accepted = bytes(number not in self.ended for number in range(first, stop))
        self.ended.update(range(first, stop))
        count = stop - first
        packed = [values.encode(self.value_of(values.decode(args))) for args in self.args[first:stop]]
        self.blocks.append(
            RecordedBlock(
                first=first + 1,
                attempt=1,
                runs=[(name, 1) for name in self.classes[first:stop]],
                args=self.args[first:stop],
                statuses=bytes([states.COMPLETED]) * count,
                accepted=accepted if 0 in accepted else None,
                body=encode_columns(ResultColumns(packed, pack_seconds([0.0] * count), 0.0, 0)),
                controller="book",
            )
        )

    @property
    def done(self) -> bool:
        """Nothing is left to be done, and the generator knows it."""
        told = self.progress.consumed == len(self.blocks)
        return self.progress.exhausted and told and len(self.ended) == len(self.args)


class Life:
    """One process, and its end of the pipe. ``kill_after`` messages it is gone; what it says then nobody hears."""

    def __init__(self, book: Book, generator: BaseTaskGenerator, kill_after: int | None = None) -> None:
        self.book = book
        self._left = kill_after
        self._reader = FrameReader()
        self._unread = bytearray()
        self.outgoing = Outgoing(self)  # type: ignore[arg-type]
        self.host = Host(self, self.outgoing, generator)  # type: ignore[arg-type]
        self.host._poller = self  # type: ignore[assignment]
        self._watcher = self.host._watcher
        self._delivered = book.progress.cursor_consumed
        self._granted = book.progress.pulled
        self._finished = False
        self.clock = Clock()
        self.outgoing._pending = Rows(self)
        generator.generate = self._overseen(generator.generate)  # type: ignore[method-assign]
        for name in ("add", "mark", "exhaust"):
            setattr(self.outgoing, name, self._interrupted(getattr(self.outgoing, name)))

    def run(self) -> bool:
        """Until the kill, or the end: whether it came to that."""
        self.send(feed_pipe.Resume(self.book.progress))
        if self._granted > self.book.progress.pulled:
            self.send(feed_pipe.Pull(self._granted))
        while self.book.rng.random() < 0.5 and self._delivered < len(self.book.blocks):
            self._deliver()
        try:
            with patch.object(generator_process, "time", self.clock):
                self.host.work()
        except Killed:
            return False
        finally:
            os.close(self._watcher._wake)
        return True

    def send(self, message: feed_pipe.FromMaster) -> None:
        """The master says something."""
        self._unread += feed_pipe.pack(message)

    def fileno(self) -> int:
        """Of the pipe: nobody polls it."""
        return 0

    def poll(self, wait_ms: float | None = None) -> bool:
        """Where the host waits, the others act."""
        while not self._unread:
            if wait_ms is None:
                if not self.act():
                    self.finish()
            elif self.book.rng.random() < 0.3 or not self.act():
                self.clock.now_s += wait_ms / 1000
                break
        return bool(self._unread)

    def recv_into(self, room: memoryview, _size: int, _flags: int) -> int:
        """The host reads."""
        if not self._unread:
            raise BlockingIOError
        count = min(len(room), len(self._unread))
        room[:count] = self._unread[:count]
        del self._unread[:count]
        return count

    def sendall(self, data: bytes) -> None:
        """The host writes."""
        for body in self._reader.feed(data):
            if self._left == 0:
                raise Killed
            if self._left is not None:
                self._left -= 1
            self.book.record(feed_pipe.decode_from_generator(body))

    def act(self) -> bool:
        """The host has nothing to do: let something happen, if there is anything that can."""
        book = self.book
        can: list[Callable[[], None]] = []
        if self._granted <= book.progress.pulled:
            can.append(self._grant)
        if self._delivered < len(book.blocks):
            can += [self._deliver, self._deliver]
        if book.executes and len(book.ended) < len(book.args):
            can.append(book.execute_some)
        if can:
            book.rng.choice(can)()
        return bool(can)

    def finish(self) -> None:
        """Nothing will happen any more."""
        if not self.book.executes:
            raise Killed
        assert self.book.done and not self._finished, "the host waits for what will never come"
        self._finished = True
        self.send(feed_pipe.Finish())

    def _grant(self) -> None:
        self._granted = self.book.progress.pulled + self.book.rng.randint(1, 3)
        self.send(feed_pipe.Pull(self._granted))

    def _deliver(self) -> None:
        count = self.book.rng.randint(1, 3)
        blocks = self.book.blocks[self._delivered : self._delivered + count]
        self._delivered += len(blocks)
        self.send(feed_pipe.Deliver(self._delivered, blocks))

    def _overseen(self, generate: Callable[[], Iterator[BaseTask]]) -> Callable[[], Iterator[BaseTask]]:
        """``generate()``, which may take all the time in the world for its next task."""

        def overseen() -> Iterator[BaseTask]:
            for task in generate():
                yield task
                assert self._watcher.awake or not self.outgoing.waiting, "nobody will send what was yielded"

        return overseen

    def _interrupted(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """A step of the main thread, with the other thread's at either side of it."""

        def interrupted(*given: Any) -> Any:
            self.other_thread()
            done = step(*given)
            self.other_thread()
            return done

        return interrupted

    def other_thread(self) -> None:
        """What it may do between any two steps of the main one."""
        rng = self.book.rng
        if rng.random() < 0.1:
            self._watcher.look(math.inf)
        if rng.random() < 0.1 and self._delivered < len(self.book.blocks):
            self._deliver()


class Rows(list[Any]):
    """Pending rows: as soon as one is there the other thread may find it, unless the lock keeps it out."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self._life = life

    def append(self, row: Any) -> None:
        super().append(row)
        if not self._life.outgoing._lock.locked():
            self._life.other_thread()


class Pipe:
    """What is sent into it is read as messages at once."""

    def __init__(self, read: Callable[[feed_pipe.FromGenerator], None]) -> None:
        self._read = read
        self._reader = FrameReader()

    def sendall(self, data: bytes) -> None:
        """From the host."""
        for body in self._reader.feed(data):
            self._read(feed_pipe.decode_from_generator(body))

    def fileno(self) -> int:
        """Nobody polls it."""
        return 0


class Clock:
    """Time passes where somebody waits for it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


def live(book: Book, make: Callable[[], BaseTaskGenerator], kills: list[int]) -> Book:
    """One life after the other, each killed after so many messages, the last one to its end."""
    for kill_after in kills:
        if Life(book, make(), kill_after).run():
            return book
    assert Life(book, make()).run()
    return book
