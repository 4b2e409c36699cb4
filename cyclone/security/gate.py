"""The door of a master or a sink: which messages come in, and whose they are.

Owns everything between the socket and who decides: the authenticator, the decoding, the rights of a key, the strikes
of those who keep sending rubbish. Whatever a peer sends costs a count and at most a log line a minute, and nothing
gets through but what the peer's key may say. Decides nothing about tasks.

The caller owes: made before the ROUTER socket, ``serve`` whenever ``readable`` is, ``close`` before the context ends.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
import zmq

from cyclone.errors import ProtocolError
from cyclone.logs import RateLimit
from cyclone.protocol import limits, messages
from cyclone.protocol.client_messages import FromClient
from cyclone.protocol.messages import Hello, Refused
from cyclone.protocol.sink_messages import ToSink
from cyclone.protocol.sockets import ServerKeys, receive_all, receive_with_keys
from cyclone.protocol.traffic import Traffic
from cyclone.security.authenticator import Authenticator
from cyclone.security.key_files import PeerEntry
from cyclone.security.policy import server_keys
from cyclone.security.registry import Registry
from cyclone.security.roles import objection
from cyclone.security.strikes import Strikes

log = logging.getLogger("cyclone.security")

M = TypeVar("M", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class GateOptions:
    """``registry`` is None where nobody is asked for a key; ``strike_limit`` 0 is for no limit."""

    registry: Registry | None = None
    strike_limit: int = limits.STRIKES_MAX


class PeerGate(Generic[M]):
    """See the module. ``decode`` makes a message of the frames behind a routing id, or raises ProtocolError.

    ConfigError where the keys cannot be used.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        options: GateOptions,
        decode: Callable[[Sequence[bytes]], M],
    ) -> None:
        self._decode = decode
        registry = options.registry
        self.keys: ServerKeys | None = server_keys(registry) if registry else None
        self._authenticator = Authenticator(context, registry) if registry else None
        self._strikes = Strikes(options.strike_limit)
        self._log_limit = RateLimit()
        self.bad_messages = 0
        self.traffic = Traffic()

    @property
    def readable(self) -> "list[zmq.Socket[bytes]]":
        """What must be polled."""
        return [self._authenticator.socket] if self._authenticator else []

    @property
    def refused_connections(self) -> int:
        """Connections whose key is not known; 0 where nobody is asked for one."""
        return self._authenticator.refused if self._authenticator else 0

    def serve(self, now: float) -> None:
        """Let new connections in, or not."""
        if self._authenticator:
            self._authenticator.serve(now)

    def close(self) -> None:
        """Nobody comes in any more."""
        if self._authenticator:
            self._authenticator.close()

    def receive(
        self, socket: "zmq.Socket[bytes]", messages_max: int, now: float
    ) -> Iterator[tuple[bytes, M | Refused, PeerEntry | None]]:
        """What the peers say, each with its routing id and the entry of its key; None where nobody is asked for one.

        A ``Refused`` is the answer that is owed to that peer instead, which has no right to a session any more.
        """
        authenticator = self._authenticator
        if authenticator is None:
            for peer, *frames in receive_all(socket, messages_max):
                self.traffic.on_received(frames)
                if not self._strikes.is_cut(peer, now):
                    message = self._decoded(frames, peer, f"peer {peer.hex()}", now)
                    if message:
                        yield peer, message, None
            return
        for user_id, (peer, *frames) in receive_with_keys(socket, messages_max):
            self.traffic.on_received(frames)
            if self._strikes.is_cut(user_id, now):
                continue
            entry = authenticator.identify(user_id, now)
            if entry is None:
                self._strike(user_id, f"peer {user_id[:16]}", "its key was revoked", now)
                yield peer, Refused(messages.FORBIDDEN, "", "this key was revoked"), entry
                continue
            message = self._decoded(frames, user_id, f"{entry.role} {entry.name}", now)
            if message is None:
                continue
            wrong = objection(entry.name, entry.role, message)
            if not wrong:
                yield peer, message, entry
                continue
            who = f"{entry.role} {entry.name}"
            if isinstance(message, FromClient):
                # It is answered like any other: a user who tries what he may not is not to lose what he may.
                self._count(user_id, who, wrong, now)
            else:
                self._strike(user_id, who, wrong, now)
            if isinstance(message, Hello | FromClient | ToSink):
                incarnation = message.incarnation if isinstance(message, Hello) else ""
                yield peer, Refused(messages.FORBIDDEN, incarnation, wrong), entry

    def _decoded(self, frames: list[bytes], who: str | bytes, name: str, now: float) -> M | None:
        try:
            return self._decode(frames)
        except ProtocolError as error:
            self._strike(who, name, str(error), now)
            return None

    def _count(self, who: str | bytes, name: str, reason: str, now: float) -> None:
        self.bad_messages += 1
        if self._log_limit.allow(who, now):
            log.warning("dropped a bad message of %s (%d in all): %s", name, self.bad_messages, reason)

    def _strike(self, who: str | bytes, name: str, reason: str, now: float) -> None:
        self._count(who, name, reason, now)
        if self._strikes.strike(who, now) and self._log_limit.allow((who, "cut"), now):
            log.warning("%s is ignored for %g s: too many bad messages", name, limits.STRIKE_PERIOD_S)
