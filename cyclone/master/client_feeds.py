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
# How long the journal is read in a turn for clients that are behind: little while there is other work.
_BUSY_SLICE_S = 0.002
_IDLE_SLICE_S = 0.005
# A message is ended here: it must fit a frame together with one more block.
_MESSAGE_BYTES_MAX = limits.MESSAGE_BYTES_MAX - limits.BODY_BYTES_MAX - (64 << 10)
# What is around a block in a message.
_BLOCK_BYTES = 128


def _size(blocks: list[JobBlock]) -> int:
    return sum(len(block.body) + len(block.statuses) + _BLOCK_BYTES for block in blocks)


@dataclass(slots=True, eq=False)
class _Feed:
    """One job for one client. All results up to ``sent`` are told; ``gathered`` follow by number, up to ``reached``."""

    peer: bytes
    job_id: int
    request: int
    sent: int
    reached: int
    window_bytes: int
    heard_at: float
    is_open: bool
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
        return not self.under_way or self.under_way_bytes + self.gathered_bytes <= self.window_bytes

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
        while self.under_way and self.under_way[0][0] <= position:
            self.under_way_bytes -= self.under_way.popleft()[1]


class ClientFeeds:
    """See the module. ``last`` is the number of the latest results that are recorded."""

    def __init__(self, journal: Journal, send: Send, last: int) -> None:
        self._journal = journal
        self._send = send
        self._last = last
        self._feeds: dict[tuple[bytes, int], _Feed] = {}
        self._by_job: dict[int, dict[bytes, _Feed]] = {}
        # A dict for its order: those that have something to be sent, and those that are behind.
        self._due: dict[_Feed, None] = {}
        self._behind: dict[_Feed, None] = {}
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
        feed.acknowledged(request.position)
        self._journal.forget(request.job_id, request.position)
        if request.resume and request.position < feed.reached:
            feed.go_to(request.position, action.start)
            self._behind[feed] = None
        if feed.live and (feed.gathered or not feed.is_open or now - feed.sent_at >= _REMIND_S):
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
                    self._fall_behind(feed)

    def ended(self, job_id: int) -> None:
        """All tasks of this job have their results."""
        for feed in self._by_job.get(job_id, {}).values():
            feed.is_open = False
            if feed.live:
                self._due[feed] = None

    def gone(self, peer: bytes) -> None:
        """This client cannot be reached."""
        for feed in [feed for feed in self._feeds.values() if feed.peer == peer]:
            self._remove(feed)

    def turn(self, now: float, idle: bool) -> bool:
        """Send what is due, read what some lack; whether there is more to be done at once."""
        more = self._catch_up(time.monotonic() + (_IDLE_SLICE_S if idle else _BUSY_SLICE_S)) if self._behind else False
        due, self._due = self._due, {}
        for feed in due:
            if (feed.peer, feed.job_id) in self._feeds:
                self._flush(feed, now)
        if now >= self._look_at:
            self._look_at = now + FOLLOW_S
            for feed in [f for f in self._feeds.values() if now - f.heard_at > _FORGOTTEN_AFTER_S]:
                self._remove(feed)
        return more

    def _begin(self, action: Follow, now: float) -> _Feed | None:
        request = action.request
        if not action.is_open and self._journal.ended_job(request.job_id) is None:
            self._refuse(action.peer, request, f"there is no job {request.job_id}")
            return None
        if len(self._feeds) >= FEEDS_MAX:
            self._refuse(action.peer, request, f"the master serves {FEEDS_MAX} clients that follow already: try later")
            return None
        start = max(request.position, action.start)
        feed = _Feed(
            action.peer,
            request.job_id,
            request.request,
            request.position,
            start,
            request.window_bytes,
            now,
            action.is_open,
        )
        self._feeds[action.peer, request.job_id] = feed
        self._by_job.setdefault(request.job_id, {})[action.peer] = feed
        self._behind[feed] = None
        return feed

    def _refuse(self, peer: bytes, request: FollowRequest, text: str) -> None:
        self._send(peer, Answer(request.request, False, 0, text))

    def _remove(self, feed: _Feed) -> None:
        del self._feeds[feed.peer, feed.job_id]
        followers = self._by_job[feed.job_id]
        del followers[feed.peer]
        if not followers:
            del self._by_job[feed.job_id]
        self._behind.pop(feed, None)
        self._due.pop(feed, None)

    def _fall_behind(self, feed: _Feed) -> None:
        feed.live = False
        feed.reading = None
        self._behind[feed] = None

    def _catch_up(self, until: float) -> bool:
        """Read for those that are behind and have room, each a message's worth at a time; whether some lack more."""
        for feed in list(self._behind):
            while feed.has_room and feed.gathered_bytes < limits.BATCH_BYTES_TARGET:
                if feed.reading is None:
                    feed.reading = self._journal.job_results_after(feed.job_id, feed.reached)
                found = next(feed.reading, None)
                if found is None:
                    feed.live, feed.reading, feed.reached = True, None, self._last
                    del self._behind[feed]
                    self._due[feed] = None
                    break
                feed.take(*found)
                self._due[feed] = None
                if time.monotonic() >= until:
                    return True
        return any(feed.has_room for feed in self._behind)

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
        lost = self._journal.lost_results(feed.job_id)
        message = JobResults(feed.request, feed.job_id, feed.sent, position, blocks, finished, lost)
        if not self._send(feed.peer, message):
            feed.go_to(feed.sent)
            self._behind[feed] = None
            return
        feed.sent_at, feed.sent = now, position
        if size:
            feed.under_way.append((position, size))
            feed.under_way_bytes += size
