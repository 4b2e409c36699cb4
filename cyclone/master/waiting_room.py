"""Who speaks to a master while it can record nothing: clients are told so at once, everybody else is heard afterwards.

Owns what waits. None of it has reached the scheduler, which has decided things already that are not recorded yet: so no
question is answered from its state. The caller owes: ``listen`` when one of ``readable`` is, and ``leave`` when the
master goes on.
"""

from collections.abc import Callable
from typing import NamedTuple

import zmq

from cyclone.protocol.client_messages import FromClient
from cyclone.protocol.job_messages import AnyFromClient
from cyclone.protocol.messages import UNRECORDED, AnyFromController, Hello, Refused, State
from cyclone.security.gate import PeerGate
from cyclone.security.key_files import PeerEntry

_MESSAGES_PER_TURN = 1000
# Controllers keep what was not acknowledged, and send no more of it than they were leased.
_WAITING_MAX = 100_000


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
        # By peer and type where a later message says all that an earlier one did; else by a number of its own.
        self._waiting: dict[tuple[bytes, object], Waiting] = {}
        self._number = 0

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
        return len(self._waiting) >= _WAITING_MAX

    def leave(self) -> list[Waiting]:
        """What has waited, in its order."""
        waiting, self._waiting = list(self._waiting.values()), {}
        return waiting

    def _let_wait(self, waiting: Waiting) -> None:
        # Said again and again by those who hear nothing: the last one counts, behind what was said before it.
        if isinstance(waiting.message, State | Hello):
            key: tuple[bytes, object] = (waiting.peer, type(waiting.message))
            self._waiting.pop(key, None)
        else:
            self._number += 1
            key = (waiting.peer, self._number)
        self._waiting[key] = waiting
