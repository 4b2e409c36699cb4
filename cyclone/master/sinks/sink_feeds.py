"""All sinks of a master: what is recorded on its way to each of them, and what the journal has to keep for them.

Owns the feeds, and where there is no journal the latest results in memory. The caller owes: ``deliver`` for each block
that is recorded, ``turn`` once per turn with what the poller found, ``close`` at the end.
"""

import logging
import time
from collections.abc import Iterator

import msgspec
import zmq

from cyclone.logs import RateLimit
from cyclone.master.follower import Earlier, Recent
from cyclone.master.journal import Journal, JournalFull
from cyclone.master.sinks.sink_feed import SinkFeed, SinkOptions, SinkStatus
from cyclone.protocol import limits
from cyclone.protocol.sink_messages import Attach
from cyclone.protocol.sockets import POLLIN, Watching
from cyclone.results import RecordedBlock
from cyclone.version import __version__

log = logging.getLogger("cyclone.master")

# How long the journal is read for one sink in a turn: little while there is other work, since tasks wait for it.
_BUSY_SLICE_S = 0.002
_IDLE_SLICE_S = 0.005
# Without a journal so much is kept for sinks that are behind.
RECENT_BYTES_MAX = 64 << 20
# With room for what is around it in a message.
_BLOCK_BYTES_MAX = limits.MESSAGE_BYTES_MAX - (64 << 10)

_encode = msgspec.msgpack.Encoder().encode


class _Sealed:
    """A journal's results as the bytes that go to a sink."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def results_after(self, number: int) -> Iterator[tuple[int, bytes]]:
        """See ``Earlier``."""
        for found, block in self._journal.results_after(number):
            yield found, seal(block.of_known_tasks())


class SinkFeeds:
    """See the module. ``number`` is that of the latest results that are recorded already.

    Raises ConfigError where a target makes no sense.
    """

    def __init__(self, poller: Watching, options: SinkOptions, journal: Journal, number: int) -> None:
        # Of their own: ZeroMQ looks names up in the thread that moves bytes, and a sink's that is not answered for must
        # not keep those of controllers.
        self._context: zmq.Context[zmq.Socket[bytes]] | None = zmq.Context() if options.targets else None
        self._recent = None if journal.replays else Recent(number, RECENT_BYTES_MAX)
        earlier: Earlier[bytes] = self._recent or _Sealed(journal)
        greeting = Attach(journal.journal_id, options.host, __version__, journal.replays)
        self._feeds: list[SinkFeed] = []
        if self._context:
            for target in options.targets:
                feed = SinkFeed(self._context, target, options.keys, greeting, earlier, number)
                self._feeds.append(feed)
                poller.register(feed.socket, POLLIN)
                poller.register(feed.monitor, POLLIN)
        self._log_limit = RateLimit()
        self._dropped_said = 0

    def status(self) -> list[SinkStatus]:
        """Each of them, as configured."""
        return [feed.status() for feed in self._feeds]

    def consumed(self, number: int) -> int:
        """Up to which number nobody asks for results again; ``number`` is what all others say to that."""
        return min([number, *(feed.stored for feed in self._feeds)])

    def deliver(self, number: int, block: RecordedBlock) -> None:
        """Results that are recorded just now."""
        if not self._feeds:
            return
        sealed = seal(block) if self._recent else b""
        if self._recent:
            self._recent.add(number, sealed)
        for feed in self._feeds:
            if feed.recorded(number):
                sealed = sealed or seal(block)
                feed.take(sealed)

    def turn(self, ready: dict[object, int], now: float) -> bool:
        """What they say and what they get; whether there is more to be done at once."""
        more = False
        slice_s = _BUSY_SLICE_S if ready else _IDLE_SLICE_S
        for feed in self._feeds:
            feed.receive(ready, now)
            try:
                more |= feed.turn(now, time.monotonic() + slice_s)
            except JournalFull as error:
                # Neither is what it says about reading: for want of memory, or of access.
                if self._log_limit.allow("journal", now):
                    log.error("sink %s: waits, because the journal cannot be read now: %s", feed.name, error)
        if self._recent:
            self._recent.forget(self.consumed(self._recent.last))
            self._say_dropped(self._recent, now)
        return more

    def lacking(self, is_patient: bool) -> list[SinkStatus]:
        """Those that are not on the latest number; who is not ``is_patient`` only waits for those that take blocks."""
        return [
            status for status in self.status() if status.lag and (is_patient or (status.attached and not status.full))
        ]

    def close(self) -> None:
        """Nothing is sent any more."""
        for feed in self._feeds:
            feed.close()
        if self._context:
            self._context.term()

    def _say_dropped(self, recent: Recent, now: float) -> None:
        if recent.dropped > self._dropped_said and self._log_limit.allow("dropped", now):
            self._dropped_said = recent.dropped
            log.error(
                "no journal: %d result blocks were dropped so far, because a sink is behind by more than the %d bytes "
                "that are kept in memory",
                recent.dropped,
                RECENT_BYTES_MAX,
            )


def seal(block: RecordedBlock) -> bytes:
    """A block as it goes to a sink; empty where it does not fit a message, which none that was sent to us can be."""
    sealed = _encode(block)
    if len(sealed) <= _BLOCK_BYTES_MAX:
        return sealed
    log.error(
        "results of %d tasks from %d on are too large for a sink: %d bytes", block.count(), block.first, len(sealed)
    )
    return b""
