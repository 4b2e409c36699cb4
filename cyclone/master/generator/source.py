"""The generator as the master sees it: its tasks offered, its results delivered, its process started again.

Stands between the scheduler, the journal and the feed, which only moves bytes. Results reach the generator in the order
of a ``Follower``: those of before its start out of the journal, the others as they are recorded. A generator process
that dies goes on from what the journal knows of it; one that raises does not, it would raise again.
The caller owes: ``take_in`` with what the poller found, ``deliver`` for each recorded block, ``turn`` once per turn.
"""

import logging
import time
from collections.abc import Sequence
from itertools import compress

from cyclone.master.actions import Action
from cyclone.master.follower import Follower
from cyclone.master.generator import feed_pipe
from cyclone.master.generator.feed import Feed, FeedOptions
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.master.journal import Journal
from cyclone.master.scheduler import Scheduler
from cyclone.processes import Guard
from cyclone.protocol.messages import ErrorRecord
from cyclone.protocol.runs import Runs
from cyclone.protocol.sockets import POLLIN, POLLOUT, Watching
from cyclone.results import RecordedBlock

log = logging.getLogger("cyclone.master")

JobParts = Sequence[tuple[int, int, int, int]]
"""As in ``actions.Deliver``."""

# A generator that dies so often at once, without having come any further, has a cause that no other start will cure.
_DEATHS_MAX = 5
_LONG_LIFE_S = 60.0
# Results that are read from the journal ahead of a generator that takes its time.
_AHEAD_BYTES_MAX = 4 << 20


class Source:
    """One generator over all the processes that run it."""

    def __init__(
        self, scheduler: Scheduler, journal: Journal, guard: Guard, options: FeedOptions, poller: Watching
    ) -> None:
        self._scheduler = scheduler
        self._journal = journal
        self._guard = guard
        self._options = options
        self._poller = poller
        self._deaths = 0
        self._progress_at_death = GeneratorProgress()
        self.feed = self._start()

    @property
    def failure(self) -> ErrorRecord | None:
        """Why the generator ended before its time, None if it did not."""
        return self.feed.failure

    @property
    def consumed(self) -> int:
        """Results up to this number are of no use to it any more, whatever happens."""
        feed = self.feed
        if feed.started and not feed.wants_results:
            return self._scheduler.state.number
        return self._scheduler.state.progress.cursor_consumed

    def take_in(self, ready: dict[object, int], now: float) -> list[Action]:
        """What the generator says."""
        feed = self.feed
        actions: list[Action] = []
        if ready.get(feed.channel.fileno(), 0) & POLLOUT:
            feed.channel.write()
            self._poll()
        if feed.channel.fileno() in ready or feed.pidfd in ready:
            for message in feed.read():
                actions += self._on_message(message, now)
            if feed.channel.closed:
                self._poll()
        if feed.pidfd in ready:
            self._poller.unregister(feed.pidfd)
            feed.ended()
            self._start_again()
        return actions

    def deliver(self, number: int, block: RecordedBlock, parts: JobParts = ()) -> None:
        """Results that are recorded just now; ``parts`` are those of submitted jobs, which are none of its business."""
        if not self._is_reading:
            self._scheduler.consume(number)
        elif self._follower.follows(number):
            self.feed.deliver(number, _own(block, parts))

    def turn(self) -> None:
        """Pass on what has gathered, and room for more tasks."""
        if self.feed.failure:
            return
        self._catch_up()
        self.feed.flush()
        self.feed.grant(self._scheduler.pull_limit())
        if self.feed.channel.unsent_bytes:
            self._poll()
        self._scheduler.backlog_bytes = self.feed.channel.unsent_bytes

    def finish(self) -> None:
        """All is done: let it say its summary and end."""
        self.feed.finish()

    def close(self) -> None:
        """End its process."""
        self.feed.close()

    @property
    def _is_reading(self) -> bool:
        """Whether results matter to it, as far as is known."""
        feed = self.feed
        return feed.failure is None and (feed.wants_results or not feed.started)

    def _start(self) -> Feed:
        progress = self._scheduler.state.progress
        self._started_at = time.monotonic()
        self._follower = Follower(self._journal, progress.cursor_consumed)
        self._scheduler.catching_up = self._journal.replays
        feed = Feed(self._guard, self._options, progress)
        self._poller.register(feed.pidfd, POLLIN)
        self._poller.register(feed.channel.fileno(), POLLIN)
        return feed

    def _start_again(self) -> None:
        feed, progress = self.feed, self._scheduler.state.progress
        if not feed.died or not self._journal.replays or self._scheduler.finished or self._scheduler.stopping:
            return
        lived_s = time.monotonic() - self._started_at
        in_a_row = progress == self._progress_at_death and lived_s < _LONG_LIFE_S
        self._deaths = self._deaths + 1 if in_a_row else 1
        self._progress_at_death = progress
        if self._deaths > _DEATHS_MAX:
            return
        assert feed.failure
        log.warning("%s: started again after task %d of it", feed.failure.message, progress.pulled)
        self._poller.register(feed.channel.fileno(), 0)
        feed.close()
        self.feed = self._start()

    def _on_message(self, message: feed_pipe.FromGenerator, now: float) -> list[Action]:
        scheduler = self._scheduler
        match message:
            case feed_pipe.Started(wants_results):
                if not wants_results:
                    scheduler.catching_up = False
                    scheduler.consume(scheduler.state.number)
            case feed_pipe.Block():
                return self._offer(message, now) + scheduler.generator_advanced(message.progress, now)
            case feed_pipe.Advanced(progress):
                if progress.exhausted and not scheduler.state.progress.exhausted:
                    log.info("the generator has yielded its last task, %d in all", progress.pulled)
                return scheduler.generator_advanced(progress, now)
        return []

    def _offer(self, block: feed_pipe.Block, now: float) -> list[Action]:
        runs, args, keys, size_bytes = block.runs, block.args, block.keys, block.size_bytes or None
        if keys is not None:
            new = self._journal.claim(keys)
            if not all(new):
                runs = _kept_runs(runs, new)
                args, keys, size_bytes = list(compress(args, new)), list(compress(keys, new)), None
        return self._scheduler.offer(block.jobs, runs, args, now, keys, size_bytes) if args else []

    def _catch_up(self) -> None:
        """Deliver what was recorded before this process could take it in."""
        feed, scheduler = self.feed, self._scheduler
        if not self._journal.replays or not feed.started or not feed.wants_results:
            return
        follower, last = self._follower, scheduler.state.number
        while follower.position < last and feed.channel.unsent_bytes < _AHEAD_BYTES_MAX:
            due = follower.position + 1
            found = follower.next(last)
            assert found and found[0] == due, f"{found and found[0]} came out of the journal where {due} was due"
            number, block = found
            feed.deliver(number, _own(block, self._journal.job_parts(block.first, len(block.statuses))))
        scheduler.catching_up = follower.position < last

    def _poll(self) -> None:
        channel = self.feed.channel
        flags = POLLIN | (POLLOUT if channel.unsent_bytes else 0)
        self._poller.register(channel.fileno(), 0 if channel.closed else flags)


def _own(block: RecordedBlock, parts: JobParts) -> RecordedBlock:
    """What of a block is of the generator's tasks."""
    return block.without([(row, count) for _, _, row, count in parts]) if parts else block


def _kept_runs(runs: Runs, kept: list[bool]) -> Runs:
    """A run-length column without the rows that are not kept."""
    left: Runs = []
    row = 0
    for job, count in runs:
        if number := sum(kept[row : row + count]):
            left.append((job, number))
        row += count
    return left
