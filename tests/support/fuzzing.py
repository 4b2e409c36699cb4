"""What the fuzz tests share: how much and from which seed, tasks that go on meanwhile, and what a stranger says.

``CYCLONE_FUZZ_MESSAGES`` is how many malformed messages each test sends, ``CYCLONE_FUZZ_SEED`` where they come from.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from cyclone import BaseTask, BaseTaskGenerator, TaskResult
from cyclone.protocol import wire
from tests.support.golden_messages import FROM_CLIENT, FROM_CONTROLLER, FROM_MASTER, FROM_SINK, TO_CLIENT, TO_SINK
from tests.support.malformed import Malformer
from tests.support.workload import FOLDER, note

MESSAGES = int(os.environ.get("CYCLONE_FUZZ_MESSAGES", "100000"))
SEED = os.environ.get("CYCLONE_FUZZ_SEED", "1")
TO_MASTER = [wire.encode(message)[1] for message, _ in (*FROM_CONTROLLER, *FROM_CLIENT)]
TO_CONTROLLER = [wire.encode(message)[1] for message, _ in FROM_MASTER]
TO_CLIENTS = [wire.encode(message)[1] for message, _ in TO_CLIENT]
TO_SINKS = [wire.encode(message)[1] for message, _ in TO_SINK]
OF_SINKS = [wire.encode(message)[1] for message, _ in FROM_SINK]
GENERATOR = "tests.support.fuzzing:SteadyGenerator"
SQUARES = "tests.support.fuzzing:SquareTask"
_IN_FLIGHT = 20


class SquareTask(BaseTask):
    """Takes so little of the processor that the fuzz gets it, and so little time that there is always one under way."""

    def __init__(self, number: int) -> None:
        self.number = number

    def execute(self) -> int:
        time.sleep(0.004)
        return self.number**2


class SteadyGenerator(BaseTaskGenerator):
    """Each result makes the next task, until the file ``enough`` is there."""

    def generate(self) -> Iterator[BaseTask]:
        self.made = _IN_FLIGHT
        yield from map(SquareTask, range(_IN_FLIGHT))

    def on_result(self, result: TaskResult) -> BaseTask | None:
        note("square", task=result.task_id, attempt=result.attempt, number=result.args[0], value=result.value)
        if Path(os.environ[FOLDER], "enough").exists():
            return None
        self.made += 1
        return SquareTask(self.made - 1)


def for_a_master(seed: str = SEED) -> Malformer:
    """What a master gets to hear."""
    return Malformer(TO_MASTER, [*TO_CONTROLLER, *TO_CLIENTS], seed)


def for_a_controller(seed: str = SEED) -> Malformer:
    """What a controller gets to hear."""
    return Malformer(TO_CONTROLLER, [*TO_MASTER, *TO_CLIENTS], seed)


def for_a_client(seed: str = SEED) -> Malformer:
    """What a client gets to hear."""
    return Malformer(TO_CLIENTS, TO_MASTER, seed)


def for_a_sink(seed: str = SEED) -> Malformer:
    """What a sink gets to hear."""
    return Malformer(TO_SINKS, [*OF_SINKS, *TO_MASTER], seed)


def from_a_sink(seed: str = SEED) -> Malformer:
    """What a master gets to hear of a sink."""
    return Malformer(OF_SINKS, [*TO_SINKS, *TO_CONTROLLER], seed)


# ZMTP 3.1 (https://rfc.zeromq.org/spec/37/): signature, version, mechanism, as-server, filler.
SIGNATURE = b"\xff" + bytes(7) + b"\x01\x7f"
_NULL = b"NULL".ljust(20, b"\0")
GREETING = SIGNATURE + b"\x03\x01" + _NULL + bytes(32)


def raw_openings() -> list[bytes]:
    """What may come in on the bare TCP port instead of a handshake."""
    return [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"\0" * 4096,
        b"\xff" * 4096,
        os.urandom(4096),
        SIGNATURE + b"\xff\xff" + _NULL + bytes(32),
        SIGNATURE + b"\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32),
        SIGNATURE + b"\x03\x00" + b"NO-SUCH".ljust(20, b"\xff") + bytes(32),
        GREETING + b"\x04\x05HELLO",
        GREETING + b"\x06" + b"\xff" * 8,
        GREETING + b"\x04\xff" + b"\x05READY" + b"\x0bSocket-Type\xff\xff\xff\xff",
        GREETING + b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x07PUBPUBX",
    ]


def old_peer(version: int, frames: list[bytes]) -> bytes:
    """The bytes of a DEALER without an identity that sends one message in ZMTP 1.0 or 2.0.

    https://rfc.zeromq.org/spec/13/ and https://rfc.zeromq.org/spec/15/.
    """
    last = len(frames) - 1
    if version == 1:
        return b"\x01\x00" + b"".join(
            bytes([len(body) + 1, number < last]) + body for number, body in enumerate(frames)
        )
    return (
        SIGNATURE
        + b"\x01\x05\x00\x00"
        + b"".join(bytes([number < last, len(body)]) + body for number, body in enumerate(frames))
    )
