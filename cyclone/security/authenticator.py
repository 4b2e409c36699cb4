"""Who is at the other end of a connection: the master's ZAP handler (https://rfc.zeromq.org/spec/27/).

ZeroMQ asks it about each new connection to the master's socket; it lets in the keys of the registry and nobody else,
and gives each connection its public key as ``User-Id``. ``identify`` tells afterwards whose key that is *now*: the
registry is looked at again all the time, so that a new key works and a revoked one ends without a restart.

Runs in the master's loop, without a thread of its own. The caller owes: made before the socket is bound, ``serve``
whenever ``socket`` is readable, ``close`` before the context ends.
"""

import logging

import zmq

from cyclone.errors import ConfigError
from cyclone.logs import RateLimit
from cyclone.protocol.sockets import POLLIN, ZAP_DOMAIN, authenticator_socket
from cyclone.security.key_files import PeerEntry
from cyclone.security.registry import Reading, Registry

log = logging.getLogger("cyclone.security")

# How old the knowledge of who is let in may be. A look costs about 2 us for each key.
LOOK_EVERY_S = 0.5
# So that a flood of connections does not keep the loop from everything else.
_REQUESTS_PER_TURN = 256
_ZAP_VERSION = b"1.0"


class Authenticator:
    """See the module. Raises ConfigError where a file of the registry cannot be used: a start is the time to say so.

    ``refused`` counts the connections that were not let in.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", registry: Registry) -> None:
        self._registry = registry
        self._signature = registry.signature()
        self._known = registry.peers()
        if self._known.faults:
            raise ConfigError("; ".join(self._known.faults))
        self._looked_at = float("-inf")
        self._log_limit = RateLimit()
        self.generation = self.refused = 0
        self.socket = authenticator_socket(context)

    def close(self) -> None:
        """Nobody is let in any more."""
        self.socket.close()

    def serve(self, now: float) -> None:
        """Answer ZeroMQ's questions."""
        for _ in range(_REQUESTS_PER_TURN):
            if not int(self.socket.get(zmq.EVENTS)) & POLLIN:
                return
            self.socket.send_multipart(self._answer(self.socket.recv_multipart(zmq.DONTWAIT), now), zmq.DONTWAIT)

    def identify(self, user_id: str, now: float) -> PeerEntry | None:
        """Whose key a connection has; None for one that was revoked since."""
        self.refresh(now)
        return self._known.by_public.get(user_id)

    def refresh(self, now: float) -> None:
        """Look again whom the registry lets in, where the last look is too old. ``generation`` rises with a change."""
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        try:
            signature = self._registry.signature()
            if signature == self._signature:
                return
            reading = self._registry.peers()
        except (OSError, ConfigError) as error:
            # Cutting everybody off for a disk that hiccups would be worse than a revocation that comes late.
            if self._log_limit.allow("registry", now):
                log.error("the keys cannot be read again, those known before remain: %s", error)
            return
        self._tell(reading)
        self._signature, self._known = signature, reading
        self.generation += 1

    def _tell(self, reading: Reading) -> None:
        for fault in reading.faults:
            log.error("this key is not let in: %s", fault)
        old, new = self._known.by_public, reading.by_public
        for public in new.keys() - old.keys():
            log.info("key added: %s %s", new[public].role, new[public].name)
        for public in old.keys() - new.keys():
            log.warning("key revoked: %s %s", old[public].role, old[public].name)

    def _answer(self, request: list[bytes], now: float) -> list[bytes]:
        """The reply to one request. It comes from libzmq itself, so that what is wrong with it is no peer's doing."""
        version, request_id, domain, address, _, mechanism, *credentials = request
        assert version == _ZAP_VERSION and domain == ZAP_DOMAIN, request
        public = credentials[0].hex() if mechanism == b"CURVE" and len(credentials) == 1 else ""
        entry = self.identify(public, now)
        if entry:
            return [_ZAP_VERSION, request_id, b"200", b"OK", public.encode(), b""]
        self.refused += 1
        if self._log_limit.allow(address, now):
            log.warning("refused a connection from %s: its key %s is not known", address.decode("ascii"), public[:16])
        return [_ZAP_VERSION, request_id, b"400", b"this key is not known", b"", b""]
