"""How the handshakes of a client's connection go, as the monitor of its socket tells.

Owns when a refusal is final, and when to connect anew where ZeroMQ would not. Knows no other socket than the monitor.
The caller owes ``read`` when the monitor is readable, and to connect anew at ``reconnect_at``.
"""

import math
import struct

import zmq

from cyclone.protocol.sockets import handshake_fault

# zmq_socket_monitor(3): the event, and a number that belongs to it.
_EVENT = struct.Struct("=HI")
# The master looks twice a second which keys there are: with one that was added just now we try once more.
_TRY_AGAIN_S = 0.6
# ZeroMQ does not always see what was wrong.
_BROKEN_OFF = "the connection ends in the handshake: what listens there wants a key, is overloaded, or is no master"


class Handshakes:
    """Those of one socket. ``fault`` is what was wrong with the last one, as far as it is known; ``refusals`` is how
    often in a row the other end would not have our key, or wanted one. ``away_since`` is when the last connection was
    lost, infinite while one stands, and ``reconnect_at`` as the module says; both are monotonic seconds, as ``now`` is.
    """

    def __init__(self, with_keys: bool, now: float) -> None:
        self._with_keys = with_keys
        self.away_since = now
        self.fault = ""
        self.refusals = 0
        self.succeeded = 0
        self.reconnect_at = math.inf

    @property
    def are_refused(self) -> bool:
        """Whether trying on is of no use: the right to come in is not there, and was not given just now."""
        return self.refusals > 1

    def read(self, monitor: "zmq.Socket[bytes]", now: float) -> bool:
        """What the monitor tells next; whether it is a connection that stands.

        pyzmq's own way to read it imports asyncio, which takes 25 ms.
        """
        event, number = _EVENT.unpack(monitor.recv_multipart(zmq.DONTWAIT)[0])
        # A retry follows a loss at once, or never: then there is no right, no master, or one that has lost its mind.
        self.reconnect_at = now + _TRY_AGAIN_S if event == zmq.EVENT_DISCONNECTED else math.inf
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.fault, self.refusals = "", 0
            self.succeeded += 1
            self.away_since = math.inf
            return True
        if event == zmq.EVENT_DISCONNECTED:
            self.away_since = min(self.away_since, now)
        vague = _BROKEN_OFF if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL else ""
        self.fault = handshake_fault(event, self._with_keys) or self.fault or vague
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self.refusals += 1
        elif number == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH and not self._with_keys:
            # There is nothing to try again with.
            self.refusals = 2
        return False

    def is_reconnect_due(self, now: float) -> bool:
        """Whether to connect anew at this moment; said once."""
        if now < self.reconnect_at:
            return False
        self.reconnect_at = math.inf
        return True

    def forgive(self, now: float) -> None:
        """Begin anew: a right may have been given since."""
        self.fault = ""
        if self.are_refused:
            self.refusals, self.reconnect_at = 0, now
