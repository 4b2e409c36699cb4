"""The results of jobs on their way to the clients that follow them: as they are recorded, or again from earlier.

Owns what each client has been sent of each job, and bounds what is under way to it. The client says how far it has
come, again and again, so that nothing is written down here: what it lacks is read once more, from the journal or from
the memory of results. A client that is slow, or gone, costs nobody else anything.
The caller owes: ``follow`` for each request, ``deliver`` for each block that is recorded and ``ended`` for each job
that is, in their order, ``turn`` once per turn, ``gone`` where a client cannot be reached.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cyclone.master.actions import Follow
from cyclone.master.journal import Journal
from cyclone.protocol import limits
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import FOLLOW_S, FollowRequest, JobBlock, JobResults
from cyclone.results import RecordedBlock
from cyclone.task_rows import job_block

Send = Callable[[bytes, JobResults | Answer], bool]
"""Sends to a peer; False where its queue is full, so that this is as good as lost."""

FEEDS_MAX = 10_000
_FORGOTTEN_AFTER_S = 10 * FOLLOW_S
# A client that has heard nothing for so long is told how far it must be, in case that what it was sent last got lost.
_REMIND_S = FOLLOW_S / 2
# How long the journal is read in a turn for clients that are behind, and how long is sent: little while there is other
# work.
_BUSY_SLICE_S = 0.002
_IDLE_SLICE_S = 0.005
# A client whose queue is full is left alone for so long.
_FULL_S = 0.05
# A message is ended here: it must fit a frame together with one more block.
_MESSAGE_BYTES_MAX = limits.MESSAGE_BYTES_MAX - limits.BODY_BYTES_MAX - (64 << 10)
# What is around a block in a message.
_BLOCK_BYTES = 128


def _size(blocks: list[JobBlock]) -> int:
    return sum(len(block.body) + len(block.statuses) + _BLOCK_BYTES for block in blocks)


@dataclass(slots=True, eq=False)
class _Feed:
    """One job for one client. All results up to ``sent`` are told, which the client has up to ``taken``; ``gathered``
    follow by number, up to ``reached``. ``may_consume``: this client may say that results need not be kept.
    """

    peer: bytes
    job_id: int
    request: int
    sent: int
    reached: int
    window_bytes: int
    heard_at: float
    is_open: bool
    may_consume: bool
    taken: int = 0
    # Whether it has all that is recorded, so that what is recorded next is next for it, too.
    live: bool = False
    gathered: deque[tuple[int, list[JobBlock]]] = field(default_factory=deque)
    gathered_bytes: int = 0
    # The position of each message that is not acknowledged, and its size.
    under_way: deque[tuple[int, int]] = field(default_factory=deque)
    under_way_bytes: int = 0
    sent_at: float = -math.inf
    reading: Iterator[tuple[int, list[JobBlock]]] | None = None

    @property
    def has_room(self) -> bool:
        return self.under_way_bytes + self.gathered_bytes <= self.window_bytes

    def take(self, number: int, blocks: list[JobBlock]) -> None:
        self.reached = number
        if self.gathered and self.gathered[-1][0] == number:
            self.gathered[-1][1].extend(blocks)
        else:
            self.gathered.append((number, blocks))
        self.gathered_bytes += _size(blocks)

    def go_to(self, position: int, start: int = 0) -> None:
        """Begin behind this position once more; there is nothing of the job up to ``start``."""
        self.sent, self.reached = position, max(position, start)
        self.live = False
        self.gathered.clear()
        self.gathered_bytes = 0
        self.under_way.clear()
        self.under_way_bytes = 0
        self.reading = None

    def acknowledged(self, position: int) -> None:
        self.taken = max(self.taken, min(position, self.sent))
        while self.under_way and self.under_way[0][0] <= position:
            self.under_way_bytes -= self.under_way.popleft()[1]


class ClientFeeds:
    """See the module. ``last`` is the number of the latest results that are recorded."""

    def __init__(self, journal: Journal, send: Send, last: int) -> None:
        self._journal = journal
        self._send = send
        self._last = last
        self._feeds: dict[tuple[bytes, int], _Feed] = {}
        self._by_peer: dict[bytes, dict[int, _Feed]] = {}
        self._by_job: dict[int, dict[bytes, _Feed]] = {}
        # Dicts for their order: those that have something to be sent, and those that lack something and have room for
        # it. Those whose client's queue was full lack something, too, but are left alone until ``_full_until``.
        self._due: dict[_Feed, None] = {}
        self._behind: dict[_Feed, None] = {}
        self._full: dict[_Feed, None] = {}
        self._full_until = 0.0
        self._look_at = 0.0

    def __len__(self) -> int:
        return len(self._feeds)

    def follow(self, action: Follow, now: float) -> None:
        """A client follows a job from here on, has come further, or wants no more of it."""
        request = action.request
        feed = self._feeds.get((action.peer, request.job_id))
        if not request.window_bytes:
            if feed:
                self._remove(feed)
            return
        if feed is None:
            feed = self._begin(action, now)
            if feed is None:
                return
        feed.heard_at, feed.request, feed.window_bytes = now, request.request, request.window_bytes
        # It may have ended in the turn in which it was asked for.
        feed.is_open &= action.is_open
        feed.acknowledged(request.position)
        if request.consume and feed.may_consume:
            self._journal.forget(request.job_id, min(one.taken for one in self._by_job[request.job_id].values()))
        if request.resume and request.position < feed.reached:
            feed.go_to(request.position, action.start)
        if not feed.live and feed.has_room and feed not in self._full:
            self._behind[feed] = None
        if now - feed.sent_at >= _REMIND_S or (feed.live and (feed.gathered or not feed.is_open)):
            self._due[feed] = None

    def deliver(self, number: int, block: RecordedBlock, parts: tuple[tuple[int, int, int, int], ...]) -> None:
        """Results that are recorded just now."""
        self._last = number
        if not self._by_job:
            return
        for job_id, index, row, count in parts:
            feeds = [feed for feed in self._by_job.get(job_id, {}).values() if feed.live]
            if not feeds:
                continue
            cut = job_block(block, index, row, count)
            for feed in feeds:
                feed.take(number, [cut])
                self._due[feed] = None
                if not feed.has_room:
                    # It has time until it has acknowledged what is under way; what it lacks then is read again.
                    feed.live, feed.reading = False, None

    def ended(self, job_id: int) -> None:
        """All tasks of this job have their results."""
        for feed in self._by_job.get(job_id, {}).values():
            feed.is_open = False
            if feed.live:
                self._due[feed] = None

    def gone(self, peer: bytes) -> None:
        """This client cannot be reached."""
        for feed in list(self._by_peer.get(peer, {}).values()):
            self._remove(feed)

    def turn(self, now: float, idle: bool) -> bool:
        """Send what is due, read what some lack; whether there is more to be done at once."""
        slice_s = _IDLE_SLICE_S if idle else _BUSY_SLICE_S
        if self._full and now >= self._full_until:
            self._behind |= self._full
            self._full = {}
        if self._behind:
            self._catch_up(time.monotonic() + slice_s)
        if self._due:
            self._send_due(now, time.monotonic() + slice_s)
        if now >= self._look_at:
            self._look_at = now + FOLLOW_S
            for feed in [f for f in self._feeds.values() if now - f.heard_at > _FORGOTTEN_AFTER_S]:
                self._remove(feed)
        return bool(self._behind or self._due)

    def _begin(self, action: Follow, now: float) -> _Feed | None:
        request = action.request
        owner = action.owner
        if not action.is_open:
            ended = self._journal.ended_job(request.job_id)
            if ended is None:
                self._refuse(action.peer, request, f"there is no job {request.job_id}")
                return None
            owner = ended[0].owner
        if len(self._feeds) >= FEEDS_MAX:
            self._refuse(action.peer, request, f"the master serves {FEEDS_MAX} clients that follow already: try later")
            return None
        position = min(request.position, self._last)
        start = max(position, action.start)
        feed = _Feed(
            action.peer,
            request.job_id,
            request.request,
            position,
            start,
            request.window_bytes,
            now,
            action.is_open,
            action.who.may_steer(owner),
        )
        self._feeds[action.peer, request.job_id] = feed
        self._by_peer.setdefault(action.peer, {})[request.job_id] = feed
        self._by_job.setdefault(request.job_id, {})[action.peer] = feed
        return feed

    def _refuse(self, peer: bytes, request: FollowRequest, text: str) -> None:
        self._send(peer, Answer(request.request, False, 0, text))

    def _remove(self, feed: _Feed) -> None:
        del self._feeds[feed.peer, feed.job_id]
        jobs, followers = self._by_peer[feed.peer], self._by_job[feed.job_id]
        del jobs[feed.job_id], followers[feed.peer]
        if not jobs:
            del self._by_peer[feed.peer]
        if not followers:
            del self._by_job[feed.job_id]
        for among in (self._behind, self._due, self._full):
            among.pop(feed, None)

    def _catch_up(self, until: float) -> None:
        """Read for those that are behind and have room, in turn, each a message's worth at a time."""
        for _ in range(len(self._behind)):
            feed = next(iter(self._behind))
            del self._behind[feed]
            if self._read(feed, until):
                self._behind[feed] = None
            if time.monotonic() >= until:
                return

    def _read(self, feed: _Feed, until: float) -> bool:
        """For one of them; whether it lacks more, and has room for it."""
        while feed.has_room and feed.gathered_bytes < limits.BATCH_BYTES_TARGET:
            if feed.reading is None:
                feed.reading = self._journal.job_results_after(feed.job_id, feed.reached)
            found = next(feed.reading, None)
            self._due[feed] = None
            if found is None:
                feed.live, feed.reading, feed.reached = True, None, self._last
                return False
            feed.take(*found)
            if time.monotonic() >= until:
                break
        return feed.has_room

    def _send_due(self, now: float, until: float) -> None:
        """A message to each for which something is due."""
        for _ in range(len(self._due)):
            # A client that turns out to be away takes all of its own along.
            if (feed := next(iter(self._due), None)) is None:
                return
            del self._due[feed]
            self._flush(feed, now)
            if time.monotonic() >= until:
                return

    def _flush(self, feed: _Feed, now: float) -> None:
        """Send the next message, also an empty one: it says how far its reader must be."""
        blocks: list[JobBlock] = []
        position, size = feed.sent, 0
        while feed.gathered and (not size or size + _size(feed.gathered[0][1]) <= _MESSAGE_BYTES_MAX):
            position, found = feed.gathered.popleft()
            blocks += found
            size += _size(found)
        feed.gathered_bytes -= size
        if feed.gathered:
            self._due[feed] = None
        elif feed.live:
            position = feed.reached = self._last
        finished = feed.live and not feed.is_open and not feed.gathered
        # How much it lacks in all is known at the end.
        lost = self._journal.lost_results(feed.job_id) if finished else 0
        message = JobResults(feed.request, feed.job_id, feed.sent, position, blocks, finished, lost)
        if not self._send(feed.peer, message):
            feed.go_to(feed.sent)
            self._due.pop(feed, None)
            self._behind.pop(feed, None)
            self._full[feed] = None
            self._full_until = now + _FULL_S
            return
        feed.sent_at, feed.sent = now, position
        if size:
            feed.under_way.append((position, size))
            feed.under_way_bytes += size
