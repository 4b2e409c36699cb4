"""A witness on the wire: notes what master and controllers really said to each other, one JSON line for each message.

Reads the protocol as a stranger would and knows nothing of anybody's state. It notes what a peer *sent*, before the
proxy delays, loses or repeats it. Sealed streams (CURVE) tell it nothing.
"""

import json
from pathlib import Path
from typing import Any

from cyclone.errors import ProtocolError
from cyclone.protocol import messages, wire
from tests.chaos.history import now_ns
from tests.chaos.zmtp import Unit

WIRE = "wire.jsonl"


class Tap:
    """``link`` is the controller's name, ``connection`` the number of its TCP connection."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / WIRE).open("a", encoding="ascii")
        self.messages = 0

    def close(self) -> None:
        self._file.close()

    def from_controller(self, link: str, connection: int, unit: Unit) -> None:
        """What the controller sent."""
        try:
            message = wire.decode_for_master(unit.frames)
        except ProtocolError:
            return
        match message:
            case messages.Hello():
                self._note(link, connection, "hello", incarnation=message.incarnation, held=len(message.held))
            case messages.Results():
                batches = [[b.first, b.epoch, b.attempt, b.statuses.hex()] for b in message.batches]
                self._note(link, connection, "results", number=message.number, batches=batches)

    def from_master(self, link: str, connection: int, unit: Unit) -> None:
        """What the master sent."""
        try:
            message = wire.decode_from_master(unit.frames)
        except ProtocolError:
            return
        match message:
            case messages.Welcome():
                self._note(
                    link,
                    connection,
                    "welcome",
                    incarnation=message.incarnation,
                    epoch=message.epoch,
                    journal=message.journal_id,
                )
            case messages.Tasks():
                leases = [[batch.first, len(batch.args), batch.attempt] for batch in message.batches]
                self._note(link, connection, "tasks", leases=leases)
            case messages.Recorded():
                self._note(link, connection, "recorded", numbers=message.numbers)

    def _note(self, link: str, connection: int, kind: str, **fields: Any) -> None:
        self.messages += 1
        line = {"at": now_ns(), "link": link, "connection": connection, "kind": kind, **fields}
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
