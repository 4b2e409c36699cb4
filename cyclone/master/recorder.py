"""Recording, however long that takes: as long as nothing is recorded, nobody hears more than that.

Owns the wait for a journal that has no room. The caller owes the main thread, and gives up where this raises.
"""

import logging
import time
from collections.abc import Callable, Sequence

import zmq

from cyclone.errors import CycloneError
from cyclone.logs import RateLimit
from cyclone.master.events import Recorded
from cyclone.master.journal import Journal, JournalFull
from cyclone.master.waiting_room import WaitingRoom
from cyclone.notify import Notifier
from cyclone.protocol.sockets import POLLIN

log = logging.getLogger("cyclone.master")

# How long a journal that cannot be written is left alone.
_RETRY_S = 1.0


class Recorder:
    """``wakeup`` is readable when a signal has come, ``failing`` is called while nothing can be recorded, and whoever
    speaks meanwhile is received in ``room``.
    """

    def __init__(
        self, journal: Journal, room: WaitingRoom, notifier: Notifier, wakeup: int, failing: Callable[[], None]
    ) -> None:
        self._journal = journal
        self._room = room
        self._notifier = notifier
        self._wakeup = wakeup
        self._failing = failing
        self._log_limit = RateLimit()

    def append(self, events: Sequence[Recorded]) -> None:
        """Returns when they are recorded. CycloneError when a signal comes first."""
        while True:
            try:
                self._journal.append(events)
                return
            except JournalFull as error:
                now = time.monotonic()
                if self._log_limit.allow("journal", now):
                    log.error("nothing can be recorded, so nothing is answered; trying again: %s", error)
                self._notifier.status(f"waiting: {error}")
                self._notifier.watchdog(now)
                self._failing()
                self._wait_for_space(str(error), now + _RETRY_S)

    def _wait_for_space(self, reason: str, until: float) -> None:
        """A moment; a signal ends the master, which then has promised nothing that it did not keep."""
        while (now := time.monotonic()) < until:
            poller = zmq.Poller()
            for one in (self._wakeup, *self._room.readable):
                poller.register(one, POLLIN)
            ready = dict(poller.poll(int((until - now) * 1000) + 1))
            if self._wakeup in ready:
                raise CycloneError(
                    "stopped by a signal while nothing could be recorded; what was acknowledged is recorded"
                )
            if ready:
                self._room.listen(reason, time.monotonic())
