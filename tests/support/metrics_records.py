"""Records that become metrics: as tasks make them, in blocks as they are recorded, and sent as a master does."""

import json
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import zmq

from cyclone import BaseTask, BaseTaskGenerator
from cyclone.protocol import states, wire
from cyclone.protocol.messages import ResultColumns
from cyclone.protocol.sink_messages import Blocks, Stored
from cyclone.results import RecordedBlock, encode_columns, pack_seconds
from cyclone.values import encode

Record = tuple[str, dict[str, Any]]
MEASURING = {"class": "tests.support.metrics_records:MeasuringGenerator"}
_JOURNAL = "f" * 32
_ANSWER_MS = 10_000


def check(mdt: int, ost: int, outcome: str = "OK", target: str = "hebe", error: str = "") -> Record:
    """What the file creation check of an MDT and OST makes."""
    fields = {"target": target, "mdt_index": mdt, "ost_index": ost, "outcome": outcome, "error": error}
    return "lustre_file_creation_check", fields


def probe(
    ost: str, write: float | None = 1.5e9, read: float | None = 2.5e9, target: str = "hebe", error: str = ""
) -> Record:
    """What the measurement of an OST makes."""
    speeds = {"write_bytes_per_s": write, "read_bytes_per_s": read}
    return "lustre_ost_io", {"fs": target, "ost": ost, "size_bytes": 1000, "error": error, **speeds}


def block(*records: Record, started: float, seconds: float = 1.0, first: int = 1) -> bytes:
    """One completed task with these records."""
    columns = ResultColumns(
        [b"\xc0"],
        pack_seconds([seconds]),
        started,
        42,
        records=[(0, name, encode(fields)) for name, fields in records],
    )
    recorded = RecordedBlock(
        first,
        1,
        [("tasks.lustre:Task", 1)],
        [b"\x90"],
        bytes([states.COMPLETED]),
        None,
        encode_columns(columns),
        "node1",
    )
    return msgspec.msgpack.encode(recorded)


class MeasuringTask(BaseTask):
    """Makes these records."""

    def __init__(self, records: list[Any]) -> None:
        self.records = records

    def execute(self) -> None:
        for name, fields in self.records:
            self.record(name, **fields)


class MeasuringGenerator(BaseTaskGenerator):
    """A task for each of the ``records`` of ``[measuring]``, which are JSON."""

    def generate(self) -> Iterator[BaseTask]:
        for record in json.loads(self.option("measuring", "records")):
            yield MeasuringTask([record])


class Feeder:
    """Stands for a master: sends a block at a time to a sink, which may come and go, and waits until it is stored."""

    def __init__(self, port: int) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self._socket.connect(f"tcp://127.0.0.1:{port}")
        self._number = 0

    def send(self, *records: Record) -> None:
        """They are on the sink's disk when it returns."""
        self._number += 1
        measured = block(*records, started=time.time() - 1.0, first=self._number)
        self._socket.send_multipart(wire.encode(Blocks(_JOURNAL, self._number, [measured])))
        assert self._socket.poll(_ANSWER_MS), "the sink does not answer"
        answer = wire.decode_from_sink(self._socket.recv_multipart())
        assert answer == Stored(_JOURNAL, self._number, "")

    def close(self) -> None:
        self._context.destroy()
