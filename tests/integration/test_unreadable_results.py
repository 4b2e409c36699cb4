"""A controller that reports what nobody can read, beside an honest one: every task still has exactly one record."""

from typing import TypeVar

import msgspec
import psutil
import pytest
import zmq

from cyclone import values
from cyclone.protocol import limits, states, wire
from cyclone.protocol.messages import (
    AnyFromController,
    ErrorRecord,
    Goodbye,
    Recorded,
    ResultBatch,
    ResultColumns,
    Results,
    State,
    Tasks,
    Welcome,
)
from cyclone.results import encode_columns, pack_seconds
from tests.support import masters
from tests.support.lab import Lab, Started
from tests.support.procfs import wait_until
from tests.unit.test_results_file import read

M = TypeVar("M")

_WAIT_MS = 20_000
_TASKS = 24
_ODD_SHARE = 10
_GOOD = ResultColumns([values.encode("odd")], pack_seconds([0.5]), 1_790_000_000.0, 4711)
_ERROR = encode_columns(ErrorRecord("Odd", "said by an odd controller"))


def good(**changes: object) -> bytes:
    """A body that can be read, but for the changes."""
    return encode_columns(msgspec.structs.replace(_GOOD, **changes))


def target_of(run: Started) -> str:
    """Where the master of a ``cyclone run`` listens."""

    def listening() -> set[str]:
        return {str(one.laddr) for one in psutil.Process(run.pid).net_connections("unix") if one.laddr}

    (path,) = wait_until(listening, "a socket file")
    return f"ipc://{path}"


class OddController:
    """In session, with credit for ``_ODD_SHARE`` tasks; ``tasks`` are the ids of those it got."""

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

    def send(self, message: AnyFromController) -> None:
        self._socket.send_multipart(wire.encode(message))

    def receive(self, kind: type[M]) -> M:
        while True:
            assert self._socket.poll(_WAIT_MS), f"no {kind.__name__}"
            message = wire.decode_from_master(self._socket.recv_multipart())
            if isinstance(message, kind):
                return message

    def report(self, task_id: int, status: int, body: bytes, attempt: int = 1, epoch: int | None = None) -> None:
        """One result in a message of its own; it is recorded, or seen to be of no interest, when this returns."""
        self._number += 1
        batch = ResultBatch(task_id, epoch or self.welcome.epoch, attempt, bytes([status]), body)
        self.send(Results(self.welcome.session, self._number, 0, [batch]))
        while self._number not in self.receive(Recorded).numbers:
            continue


# What it says of its tasks, one after the other, and what the records must say.
REPORTS = [
    (states.COMPLETED, good(), "completed", None),
    (states.COMPLETED, b"", "failed", "UnreadableResult"),
    (states.COMPLETED, b"\xc1", "failed", "UnreadableResult"),
    (states.COMPLETED, good(values=[b"\xc1"]), "failed", "UnreadableResult"),
    (states.COMPLETED, good(values=[b"\x01", b"\x02"]), "failed", "UnreadableResult"),
    (states.COMPLETED, good(seconds=b"torn"), "failed", "UnreadableResult"),
    (states.COMPLETED, good(worker_pid=1 << 63), "failed", "UnreadableResult"),
    (states.COMPLETED, good(started=float("nan")), "completed", None),
    (states.FAILED, good(values=[b"\x91" * 100_000]), "failed", "UnreadableResult"),
    (states.TIMED_OUT, good(values=[_ERROR]), "timed_out", "Odd"),
]


@pytest.mark.parametrize("ending", ["jsonl", "csv", "sqlite"])
def test_given_results_that_nobody_can_read_then_master_generator_and_records_survive_and_agree(
    lab: Lab, ending: str
) -> None:
    results = lab.folder / f"results.{ending}"
    config = lab.script({"what": "gate", "value": "gate", "times": _TASKS})
    run = lab.run(config, "--results", results)
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        lab.noted("start", 2)
        socket.connect(target_of(run))
        odd = OddController(socket)
        for (status, body, _, _), task_id in zip(REPORTS, odd.tasks, strict=True):
            odd.report(task_id, status, body)
        others = sorted({*range(1, _TASKS + 1)}.difference(odd.tasks))
        # Of another attempt, of another epoch, already recorded, never leased, never made.
        odd.report(others[0], states.COMPLETED, good(), attempt=2)
        odd.report(others[0], states.FAILED, good(), epoch=odd.welcome.epoch + 1)
        odd.report(odd.tasks[1], states.COMPLETED, good())
        odd.report(others[-1], states.CRASHED, b"\xc1")
        odd.report(limits.ID_MAX, states.COMPLETED, good())
        odd.send(Goodbye(odd.welcome.session, "enough"))
        lab.open("gate")
        assert run.exits() == 1, run.stderr()
    expected: dict[int, tuple[str, str | None, str | None]]
    expected = {task_id: ("completed", None, "gate") for task_id in others}
    for (_, _, state, error), task_id in zip(REPORTS, odd.tasks, strict=True):
        expected[task_id] = (state, error, "odd" if state == "completed" else None)
    assert {
        r["task_id"]: (r["state"], r["error"] and r["error"]["type"], r["value"]) for r in read(results)
    } == expected
    noted = lab.notes("result")
    assert len(noted) == _TASKS
    assert {n["task"]: (n["state"], n["error"] and n["error"].partition(":")[0], n["value"]) for n in noted} == expected
    assert "UnreadableResult" in run.stderr()
