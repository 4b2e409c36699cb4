"""Who speaks to a master while it can record nothing: what clients may ask is answered with the reason, at once, and
everything else is heard afterwards.

Owns what waits, and how much of it there may be; the rest stays in the peers' queues. None of it has reached the
scheduler, which has decided things already that are not recorded yet: so no question is answered from its state. The
caller owes: ``listen`` when one of ``readable`` is, and ``leave`` when the master goes on.
"""

from collections.abc import Callable
from typing import NamedTuple

import zmq

from cyclone.protocol.client_messages import FromClient
from cyclone.protocol.job_messages import AnyFromClient
from cyclone.protocol.messages import UNRECORDED, AnyFromController, Hello, Output, Refused, Results, State
from cyclone.security.gate import PeerGate
from cyclone.security.key_files import PeerEntry

_MESSAGES_PER_TURN = 1000
# Of what waits; a message without a body counts as a kibibyte.
_BYTES_MAX = 256 << 20
_MESSAGE_BYTES = 1024


AnyToMaster = AnyFromController | AnyFromClient


class Waiting(NamedTuple):
    """What a peer has said, as the gate lets it in."""

    peer: bytes
    message: AnyToMaster | Refused
    entry: PeerEntry | None


class WaitingRoom:
    """See the module. ``send`` gives a message to a peer."""

    def __init__(
        self, gate: PeerGate[AnyToMaster], socket: "zmq.Socket[bytes]", send: Callable[[bytes, Refused], object]
    ) -> None:
        self._gate = gate
        self._socket = socket
        self._send = send
        # By peer, type, and what tells its messages apart.
        self._waiting: dict[tuple[object, ...], Waiting] = {}
        self._number = self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def readable(self) -> "list[zmq.Socket[bytes]]":
        """What must be polled."""
        return [*self._gate.readable, *([] if self._is_full else [self._socket])]

    def listen(self, reason: str, now: float) -> None:
        """Let new connections in, tell clients why they get no answer, and let all others wait."""
        self._gate.serve(now)
        if self._is_full:
            return
        refused = Refused(UNRECORDED, "", f"nothing can be recorded at the moment: {reason}")
        for peer, message, entry in self._gate.receive(self._socket, _MESSAGES_PER_TURN, now):
            if isinstance(message, FromClient):
                self._send(peer, refused)
            else:
                self._let_wait(Waiting(peer, message, entry))

    @property
    def _is_full(self) -> bool:
        return self._bytes >= _BYTES_MAX

    def leave(self) -> list[Waiting]:
        """What has waited, in its order."""
        waiting, self._waiting, self._bytes = list(self._waiting.values()), {}, 0
        return waiting

    def _let_wait(self, waiting: Waiting) -> None:
        peer, message, _ = waiting
        size = _MESSAGE_BYTES
        match message:
            case State() | Hello() | Refused():
                # Said again and again by those who hear nothing: the last one counts, behind what was said before it.
                key: tuple[object, ...] = peer, type(message)
                size = 0 if self._waiting.pop(key, None) else size
            case Results(session, number, _, batches):
                # What is not acknowledged is repeated, and is the same.
                key = peer, Results, session, number
                if key in self._waiting:
                    return
                size += sum(len(batch.body) + len(batch.statuses) for batch in batches)
            case _:
                self._number += 1
                key = peer, self._number
                size += sum(len(data) for _, data in message.pieces) if isinstance(message, Output) else 0
        self._waiting[key] = waiting
        self._bytes += size
