"""The consumer of ``cyclone-pushgateway-client``: a thread that takes in what is spooled, and publishes each interval.

Owns the thread, and when it does what; what is done is ``publisher.py``'s.
"""

import logging
import threading
import time
from collections.abc import Callable

from cyclone.errors import CycloneError
from cyclone.sinks.publisher import Publisher, PushCounts

log = logging.getLogger("cyclone.sink")

# What a thread without anything left to do gets to end, so that nobody closes the spool under it.
_END_S = 1.0


class PushgatewayClient:
    """See the module and ``cyclone.sinks.receiver.Consumer``. The publisher belongs to its thread from ``start`` on."""

    def __init__(self, publisher: Publisher, interval_s: float, delete_on_stop: bool) -> None:
        self._publisher = publisher
        self._interval_s = interval_s
        self._delete_on_stop = delete_on_stop
        self._wake: Callable[[], None] = lambda: None
        self._news = threading.Event()
        self._stop_at: float | None = None
        self._failure: CycloneError | None = None
        # A gateway that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="push", daemon=True)

    @property
    def counts(self) -> PushCounts:
        """What there is to count; any thread may read it."""
        return self._publisher.counts

    def start(self, wake: Callable[[], None]) -> None:
        """See ``Consumer``."""
        self._wake = wake
        self._thread.start()

    def stored(self, now: float) -> None:
        """See ``Consumer``."""
        self._news.set()

    def state(self) -> str:
        """See ``Consumer``."""
        if self._failure:
            raise self._failure
        return self._publisher.state

    def stop(self, wait_s: float) -> None:
        """See ``Consumer``. What is published is replaced for the last time, or deleted where that is wanted."""
        self._stop_at = time.monotonic() + wait_s
        self._news.set()
        self._thread.join(max(wait_s, _END_S))
        if self._thread.is_alive():
            log.warning("the Pushgateway has not answered within stop_timeout: it keeps what it was given before")

    def _run(self) -> None:
        try:
            self._work()
        except CycloneError as error:
            self._failure = error
        except Exception as error:
            log.exception("pushing ended by a mistake of ours")
            self._failure = CycloneError(f"pushing ended by a mistake of ours: {type(error).__name__}: {error}")
        finally:
            self._wake()

    def _work(self) -> None:
        publish_at = time.monotonic()
        while self._stop_at is None:
            self._news.clear()
            has_taken = self._publisher.take()
            now = time.monotonic()
            if now >= publish_at:
                self._publisher.publish(self._may_go_on)
                # Not at once again where publishing takes longer than the interval.
                publish_at = max(publish_at, time.monotonic()) + self._interval_s
            elif not has_taken:
                self._news.wait(publish_at - now)
        while self._may_go_on() and self._publisher.take():
            pass
        if self._may_go_on() and self._delete_on_stop:
            self._publisher.withdraw(self._may_go_on)
        elif self._may_go_on():
            self._publisher.publish(self._may_go_on)

    def _may_go_on(self) -> bool:
        return self._stop_at is None or time.monotonic() < self._stop_at
