"""Why there is no session with the master, in words for the log.

ZeroMQ says nothing to a peer whose key is refused, nor a master to one that it ignores: without this, such a
controller would look as if its master were down. Owns the guesses alone; the caller logs what it gets.
"""

import zmq

from cyclone.logs import RateLimit
from cyclone.protocol.sockets import handshake_fault

# A master answers a greeting within a turn of its loop.
SILENCE_S = 10.0


class Diagnosis:
    """See the module. Each text comes at most once a minute; '' is nothing to say. ``now`` is monotonic seconds."""

    def __init__(self, with_keys: bool) -> None:
        self._with_keys = with_keys
        self._limit = RateLimit()
        self._waiting_since: float | None = None

    def event(self, event: int, now: float) -> str:
        """What the socket's monitor has told."""
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._waiting_since = now
            return ""
        self._waiting_since = None
        return self._say(handshake_fault(event, self._with_keys), now)

    def heard(self) -> None:
        """The master has said something, whatever it was."""
        self._waiting_since = None

    def look(self, now: float) -> str:
        """Once per turn: whether the silence of a master that we are connected to is strange by now."""
        if self._waiting_since is None or now - self._waiting_since < SILENCE_S:
            return ""
        self._waiting_since = now
        return self._say(
            f"connected for {SILENCE_S:g} s, and no answer to our greeting: the master is stopped or very busy, or it "
            "ignores us for a minute after too many wrong messages, or it is no Cyclone master",
            now,
        )

    def _say(self, text: str, now: float) -> str:
        return text if text and self._limit.allow(text, now) else ""
