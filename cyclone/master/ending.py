"""When the master's loop is over: all is done or somebody stops it, and then the sinks have had their time.

Owns the two deadlines, and decides nothing but that. Durations and moments are monotonic seconds.
"""

import logging
import math
from dataclasses import dataclass, field

from cyclone.master.generator.feed import Feed
from cyclone.master.scheduler import Scheduler
from cyclone.master.sinks.sink_feed import SinkStatus
from cyclone.master.sinks.sink_feeds import SinkFeeds
from cyclone.protocol.messages import ErrorRecord

log = logging.getLogger("cyclone.master")

# How long controllers get to say goodbye after everything is done, and at least sinks to take what there is.
_GOODBYE_S = 2.0
# Most sinks have all by then, and nobody needs to hear of it.
_SAID_AFTER_S = 1.0


@dataclass(slots=True)
class Outcome:
    """How a run of the master ended. ``ended`` counts results by state, ``signal`` is 0 where none stopped it.

    ``behind`` are the sinks that do not have all of them.
    """

    ended: dict[str, int]
    unfinished: int
    failure: ErrorRecord | None = None
    summary: dict[str, object] = field(default_factory=dict)
    signal: int = 0
    behind: list[SinkStatus] = field(default_factory=list)


class Ending:
    """``stop_timeout_s`` bounds a stop, and after everything is done the wait for sinks."""

    def __init__(self, scheduler: Scheduler, sinks: SinkFeeds, stop_timeout_s: float) -> None:
        self._scheduler = scheduler
        self._sinks = sinks
        self._stop_timeout_s = stop_timeout_s
        self._end_at: float | None = None
        self._drain_until: float | None = None
        self._say_at = math.inf

    def finish(self, now: float) -> None:
        """Everything is done."""
        self._end_at = now + _GOODBYE_S

    def stop(self, now: float) -> None:
        """Somebody wants an end."""
        self._end_at = now + self._stop_timeout_s

    @property
    def is_draining(self) -> bool:
        """Whether only the sinks are still waited for."""
        return self._drain_until is not None

    def is_over(self, feed: Feed | None, now: float) -> bool:
        """Once per turn: whether this one is the last. ``feed`` is the generator's."""
        if self._end_at is None:
            return False
        stopping = self._scheduler.stopping
        if self._drain_until is None:
            if not self._all_else_is_over(feed, self._end_at, now):
                return False
            self._drain_until = max(self._end_at, now + _GOODBYE_S) if stopping else now + self._stop_timeout_s
            self._say_at = now + _SAID_AFTER_S
        # Who is stopped does not wait for a sink that is away: the next master on the journal sends it the rest.
        behind = self._sinks.lacking(is_patient=not stopping)
        if not behind or now >= self._drain_until:
            return True
        if self._say_at <= now:
            self._say_at = math.inf
            names = ", ".join(f"{sink.name} lacks {sink.lag} blocks" for sink in behind)
            log.warning("waiting %.3g s more for sinks to take the rest: %s", self._drain_until - now, names)
        return False

    def _all_else_is_over(self, feed: Feed | None, end_at: float, now: float) -> bool:
        if self._scheduler.finished:
            summary_here = not feed or feed.summary is not None or feed.failure is not None
            if summary_here and not self._scheduler.state.sessions:
                return True
            # What the generator makes of its last results may take its time, until somebody stops us.
            if not summary_here and not self._scheduler.stopping:
                return False
        elif not self._scheduler.leased_tasks:
            return True
        return now >= end_at
