"""A master as a sink sees it: blocks of a journal, sent until they are ``Stored``, and what they are made of.

The blocks hold results of probes as ``tasks/lustre_io.py`` records them, so many that a database gets something to do.
"""

import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import zmq

from cyclone import values
from cyclone.protocol import states, wire
from cyclone.protocol.messages import ErrorRecord, ResultColumns
from cyclone.protocol.sink_messages import Attach, Attached, Blocks, Stored
from cyclone.protocol.sockets import POLLIN, controller_socket
from cyclone.results import RecordedBlock, encode_columns, pack_seconds
from tests.support.procfs import wait_until

JOURNAL = "ab" * 16
STARTED = 1_780_000_000.0
_ANSWER_S = 1.0
_LOOK_MS = 10
_WINDOW = 8


def probe(ost: int, **other: Any) -> dict[str, Any]:
    """The fields of one ``lustre_ost_io`` record."""
    fields = {
        "fs": "lustre",
        "ost": f"OST{ost:04x}",
        "read_timestamp": STARTED + 2.0,
        "write_timestamp": STARTED + 1.25,
        "size_bytes": 1 << 30,
        "read_bytes_per_s": 1.5e9 + ost,
        "write_bytes_per_s": 1.1e9,
        "read_s": 0.715,
        "write_s": 0.976,
        "error": "",
    }
    return fields | other


def block(first: int, records: Sequence[dict[str, Any] | None], name: str = "lustre_ost_io") -> bytes:
    """Consecutive tasks from this id on, each with its one record; a task without one failed."""
    failed = encode_columns(ErrorRecord("OSError", "no such device", "Traceback"))
    body = ResultColumns(
        [failed if record is None else values.encode(None) for record in records],
        pack_seconds([0.5] * len(records)),
        STARTED,
        4711,
        records=[(row, name, values.encode(record)) for row, record in enumerate(records) if record is not None],
    )
    recorded = RecordedBlock(
        first,
        1,
        [("tasks.lustre_io:LustreIO", len(records))],
        [values.encode([first + row]) for row in range(len(records))],
        bytes(states.FAILED if record is None else states.COMPLETED for record in records),
        None,
        encode_columns(body),
        "node-1",
    )
    return msgspec.msgpack.encode(recorded)


class Sender:
    """Sends blocks to the sink at this port from a thread of its own, again where no answer comes.

    It sends as many as it is given by ``send``, from the beginning.
    """

    def __init__(self, port: int, blocks: Sequence[bytes] = (), journal_id: str = JOURNAL) -> None:
        self._port = port
        self._blocks = list(blocks)
        self._journal_id = journal_id
        self._stop = threading.Event()
        self.stored = 0
        self.full = ""
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Sender":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def send(self, blocks: Sequence[bytes]) -> None:
        """These, too."""
        self._blocks += blocks

    def wait(self, deadline_s: float = 20.0) -> None:
        """Until all that there are have been acknowledged."""
        wanted = len(self._blocks)
        wait_until(lambda: self.stored >= wanted, f"{self.stored} of {wanted} blocks are spooled", deadline_s)

    def _run(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        while not self._stop.is_set():
            socket, monitor = controller_socket(context, "127.0.0.1", self._port)
            try:
                self._converse(socket)
            finally:
                socket.disable_monitor()
                monitor.close()
                socket.close(linger=0)
        context.term()

    def _converse(self, socket: "zmq.Socket[bytes]") -> None:
        """Until it has been silent for too long."""
        sent = -1
        self._send(socket, Attach(self._journal_id, "test", "0", True))
        while not self._stop.is_set():
            if 0 <= sent < min(self.stored + _WINDOW, len(self._blocks)):
                self._send(socket, Blocks(self._journal_id, sent + 1, [self._blocks[sent]]))
                sent += 1
                continue
            if not socket.poll(_LOOK_MS if sent == self.stored else int(_ANSWER_S * 1000), POLLIN):
                if self.stored < sent or sent < 0:
                    return
                continue
            answer = wire.decode_from_sink(socket.recv_multipart())
            match answer:
                case Attached(number=number):
                    self.stored = sent = number
                case Stored(number=number, full=full):
                    self.stored, self.full = max(self.stored, number), full

    def _send(self, socket: "zmq.Socket[bytes]", message: Attach | Blocks) -> None:
        if socket.poll(int(_ANSWER_S * 1000), zmq.POLLOUT):
            socket.send_multipart(wire.encode(message))
