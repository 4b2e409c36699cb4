"""A generator process of the virtual world, and the master's end of its pipe.

``VirtualProcess`` keeps the contract of ``progress.py`` and ``feed_pipe.py`` in ``cyclone/master/generator`` as
``generator_process`` does, ``VirtualFeed`` stands in for ``feed.py`` below the production ``Source``. A process may die
at any moment, also in the middle of what one result made; what is in the pipe still arrives.
"""

from collections import deque
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from cyclone.master.generator import feed_pipe
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.protocol.messages import ErrorRecord
from cyclone.protocol.sockets import POLLIN
from cyclone.results import RecordedBlock
from tests.simulation.generators import Reader, Row

if TYPE_CHECKING:
    from tests.simulation.world import World

Place = tuple[int, int, int]
# A thread of the process may send what has gathered between any two tasks.
SENT_BETWEEN = 0.03
YIELDED, MADE = "yielded", "made"


class VirtualChannel:
    """``unsent_bytes`` are the results that the process has not read."""

    closed = False

    def __init__(self) -> None:
        self.unsent_bytes = 0

    def fileno(self) -> int:
        """A name for the poller."""
        return 1

    def write(self) -> None:
        """Never asked for: room is never reported."""
        raise NotImplementedError


class VirtualFeed:
    """The interface of ``Feed``: one process, from its start to its end."""

    pidfd = 2

    def __init__(self, world: "World", progress: GeneratorProgress) -> None:
        self._world = world
        self.channel = VirtualChannel()
        self.started = self.wants_results = self.died = self.gone = False
        self.failure: ErrorRecord | None = None
        self.summary: Reader | None = None
        self._number = progress.cursor_consumed
        self._blocks: list[RecordedBlock] = []
        self._inbox: deque[feed_pipe.FromGenerator] = deque()
        self._arrives = 0.0
        self.process = VirtualProcess(world, self, progress)

    def ready(self) -> dict[object, int]:
        """What a poller would find."""
        found: dict[object, int] = {}
        if self._inbox:
            found[self.channel.fileno()] = POLLIN
        if self.gone and not self.died:
            found[self.pidfd] = POLLIN
        return found

    # What the process does.

    def put(self, message: feed_pipe.FromGenerator) -> None:
        """It writes; messages keep their order."""
        self._at(self._arrive, message)

    def process_ends(self) -> None:
        """It is dead, which is seen behind all that it wrote."""
        self._at(self._see_the_end)

    def _at(self, function: object, *args: object) -> None:
        self._arrives = max(self._arrives, self._world.now + self._world.rng.uniform(0.00005, 0.0005))
        self._world.at(self._arrives, function, *args)  # type: ignore[arg-type]

    def _arrive(self, message: feed_pipe.FromGenerator) -> None:
        self._inbox.append(message)
        self._world.master.wake()

    def _see_the_end(self) -> None:
        self.gone = True
        self._world.master.wake()

    # What the source asks for.

    def grant(self, limit: int) -> None:
        """Room for so many in all."""
        self.process.granted = max(self.process.granted, limit)

    def deliver(self, number: int, block: RecordedBlock) -> None:
        """Without a gap."""
        assert number == self._number + 1, f"results {number} delivered after {self._number}"
        self._number = number
        self._blocks.append(block)
        self._world.ledger.delivered(number, block)

    def flush(self) -> None:
        """Everything that was delivered leaves."""
        if self._blocks:
            message, self._blocks = feed_pipe.Deliver(self._number, self._blocks), []
            size = sum(len(block.body) for block in message.blocks)
            self.channel.unsent_bytes += size
            self.process.receive(message, size)

    def finish(self) -> None:
        """Tell the summary."""
        self.process.receive(feed_pipe.Finish(), 0)

    def read(self) -> Iterator[feed_pipe.FromGenerator]:
        """What has arrived."""
        while self._inbox:
            message = self._inbox.popleft()
            if isinstance(message, feed_pipe.Started):
                self.started, self.wants_results = True, message.wants_results
            elif isinstance(message, feed_pipe.Summary):
                self.summary = self.process.reader
            yield message

    def ended(self) -> None:
        """Nobody asked it to."""
        self.died = True
        self.failure = ErrorRecord("GeneratorDied", "the generator process ended with SIGKILL")

    def close(self) -> None:
        """End it, without a word."""
        self.process.alive = False


class VirtualProcess:
    """See the module. ``granted`` is how many tasks ``generate()`` may have yielded.

    ``trap`` is a death to come behind the next task: one of ``generate()``, or one that ``on_result`` made.
    """

    def __init__(self, world: "World", feed: VirtualFeed, progress: GeneratorProgress) -> None:
        self._world = world
        self._feed = feed
        self._work = world.settings.work
        self.alive = True
        self.trap = ""
        self.granted = progress.pulled
        self.reader = Reader(world.script, progress.cursor)
        # How far this process has come, which after a crash is not yet as far as what was recorded.
        self._pulled, self._consumed = progress.cursor_pulled, progress.cursor_consumed
        self._recorded_pulled = progress.pulled
        self._recorded_place: Place = (progress.consumed, progress.consumed_rows, progress.made)
        # What is told of it.
        self._cursor = (progress.cursor, progress.cursor_pulled, progress.cursor_consumed)
        self._told_pulled, self._place = progress.pulled, self._recorded_place
        self._exhausted = progress.exhausted
        if self._exhausted or progress.pulled or progress.consumed:
            world.count("generator goes on")
        if progress.made:
            world.count("generator goes on in the middle of a result")
        self._done = False
        self._pending: list[Row] = []
        self._pending_own = 0
        self._inbox: deque[tuple[feed_pipe.Deliver | feed_pipe.Finish, int]] = deque()
        world.after(world.rng.uniform(0.005, 0.05), self._begin)

    def die(self) -> None:
        """SIGKILL: what was not sent is gone."""
        self.alive = False
        self._feed.process_ends()

    def is_over(self) -> bool:
        """Whether it was killed, maybe just now."""
        return not self.alive

    def receive(self, message: feed_pipe.Deliver | feed_pipe.Finish, size: int) -> None:
        """From the master; read in its own time."""
        self._inbox.append((message, size))
        if len(self._inbox) == 1:
            self._world.after(self._world.rng.uniform(0.0001, 0.01), self._read)

    def _begin(self) -> None:
        if self.alive:
            self._feed.put(feed_pipe.Started(self._work.reads))
            self._mark()
            self._report()
            self._generate()

    def _generate(self) -> None:
        world, script, work = self._world, self._world.script, self._work
        if not self.alive or self._done:
            return
        if script.total is None and work.cut_at and world.now >= work.cut_at and script.may_end():
            script.total = max(self._pulled, self._recorded_pulled)
        may = self.granted if script.total is None else min(self.granted, script.total - script.held_back())
        # What was recorded needs no room and no time again.
        until = max(self._recorded_pulled, min(may, self._pulled + world.rng.randint(1, work.block_max)))
        yielded = until > self._pulled
        while self._pulled < until and self.alive:
            self._pulled += 1
            row = self.reader.next()
            if self._pulled > self._recorded_pulled:
                self._pending.append(row)
                self._pending_own += 1
                self._thread(YIELDED)
        if self.is_over():
            return
        self._done = self._pulled == script.total
        self._exhausted = self._exhausted or self._done
        if yielded or self._done:
            self._mark()
            self._report()
        wait_s = world.rng.expovariate(1 / work.pace_s) if work.pace_s else 0.002
        world.after(max(wait_s, 0.001 if yielded else 0.03), self._generate)

    def _read(self) -> None:
        if not self.alive:
            return
        message, size = self._inbox.popleft()
        self._feed.channel.unsent_bytes -= size
        if isinstance(message, feed_pipe.Finish):
            self._feed.put(feed_pipe.Summary(b""))
            return
        for number, block in enumerate(message.blocks, message.number - len(message.blocks) + 1):
            self._react(number, block)
        if self.alive:
            self._consumed = message.number
            self._mark()
            self._report()
            if self._inbox:
                self._world.after(self._world.rng.uniform(0.0001, 0.01), self._read)

    def _react(self, number: int, block: RecordedBlock) -> None:
        row = 0
        for at, status in enumerate(block.statuses):
            if block.accepted is not None and not block.accepted[at]:
                continue
            for ordinal, made in enumerate(self.reader.on_result(block.first + at, status), start=1):
                place = (number - 1, row, ordinal)
                if self.alive and place > self._recorded_place:
                    self._pending.append(made)
                    self._place = place
                    self._thread(MADE)
            row += 1

    # What is told.

    def _thread(self, behind: str) -> None:
        """Between two tasks: what has gathered may leave, and the process may die."""
        if self.trap == behind or (self._world.faulty and self._world.rng.random() < SENT_BETWEEN):
            self._send_block()
            if self.trap == behind:
                self._world.count(f"generator killed behind a task that was {behind}")
                self.die()

    def _mark(self) -> None:
        """Between two steps of user code."""
        if self._work.has_cursor:
            self._cursor = (self.reader.cursor(), self._pulled, self._consumed)
        self._place = max(self._place, (self._consumed, 0, 0))

    def _report(self) -> None:
        if not self._send_block():
            self._feed.put(feed_pipe.Advanced(self._progress()))

    def _progress(self) -> GeneratorProgress:
        return GeneratorProgress(*self._cursor, self._told_pulled, *self._place, self._exhausted)

    def _send_block(self) -> bool:
        if not self._pending:
            return False
        rows, self._pending = self._pending, []
        self._told_pulled += self._pending_own
        self._pending_own = 0
        jobs = list(dict.fromkeys(row.job for row in rows))
        runs = [(jobs.index(job), len(list(group))) for job, group in groupby(row.job for row in rows)]
        keys = [row.key for row in rows]
        args = [row.args for row in rows]
        self._feed.put(feed_pipe.Block(jobs, runs, args, self._progress(), keys if any(keys) else None))
        return True
