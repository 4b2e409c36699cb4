"""A controller that reports what nobody can read, in a run with an honest one: every task still has exactly one record."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import psutil
import pytest
import zmq

from cyclone import values
from cyclone.protocol import limits, states, wire
from cyclone.protocol.messages import (
    ErrorRecord,
    ResultBatch,
    ResultColumns,
    Results,
    Returned,
    State,
    TaskRange,
    Tasks,
    Welcome,
)
from cyclone.results import encode_columns, pack_seconds
from tests.support import masters
from tests.support.lab import Lab, Started, read_records
from tests.support.procfs import wait_until

_WAIT_MS = 20_000
_TASKS = 24
_ODD_SHARE = 10
_GOOD = ResultColumns([values.encode("odd")], pack_seconds([0.5]), 1_790_000_000.0, 4711)
_ERROR = encode_columns(ErrorRecord("Odd", "said by an odd controller"))


def good(**changes: object) -> bytes:
    """A body that can be read, but for the changes."""
    return encode_columns(msgspec.structs.replace(_GOOD, **changes))


def port_of(run: Started) -> int:
    """Where the master of a ``cyclone run`` listens."""

    def listening() -> list[int]:
        connections = psutil.Process(run.pid).net_connections("tcp")
        return [c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN]

    (port,) = wait_until(listening, "a port")
    return port


class OddController:
    """In session, with one slot and credit for ``_ODD_SHARE`` tasks; the ids of those it got are ``tasks``."""

    def __init__(self, socket: "zmq.Socket[bytes]") -> None:
        self._socket = socket
        self._number = 0
        self.send(masters.hello("odd", slots=1))
        self.welcome = self.receive(Welcome)
        self.send(State(self.welcome.session, 1, 0, _ODD_SHARE, 1, 0, []))
        self.tasks: list[int] = []
        while len(self.tasks) < _ODD_SHARE:
            for batch in self.receive(Tasks).batches:
                self.tasks += range(batch.first, batch.first + len(batch.args))

    def send(self, message: wire.AnyFromController) -> None:
        self._socket.send_multipart(wire.encode(message))

    def receive[M](self, kind: type[M]) -> M:
        while True:
            assert self._socket.poll(_WAIT_MS), f"no {kind.__name__}"
            message = wire.decode_from_master(self._socket.recv_multipart())
            if isinstance(message, kind):
                return message
