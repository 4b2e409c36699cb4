"""Masters that start at the same socket file in the same instant, as real processes: one begins, whoever is killed."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

MASTERS = 4
ROUNDS = 12
# Each line that it reads is a target and the moment at which to begin; it listens until the next one comes.
SCRIPT = """
import contextlib, sys, time
import zmq
from cyclone.errors import AlreadyRunning
from cyclone.master.place import alone_at
from cyclone.protocol.sockets import master_socket

def listen(target, stack):
    stack.enter_context(alone_at(target))
    context = zmq.Context()
    stack.callback(context.destroy, linger=0)
    master_socket(context, target, 0)

print("ready", flush=True)
with contextlib.ExitStack() as stack:
    for line in sys.stdin:
        stack.close()
        target, _, moment = line.rpartition(" ")
        while time.monotonic() < float(moment):
            pass
        try:
            listen(target, stack)
            print("listens", flush=True)
        except AlreadyRunning as error:
            print(error, flush=True)
"""


class Master:
    """A process that listens where it is told to, if it can."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        )

    def tell(self, target: str, moment: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{target} {moment}\n")
        self.process.stdin.flush()

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def masters() -> Iterator[list[Master]]:
    started = [Master() for _ in range(MASTERS)]
    try:
        assert [master.says() for master in started] == ["ready"] * MASTERS
        yield started
    finally:
        for master in started:
            master.kill()


def start_at_once(masters: list[Master], target: str) -> list[str]:
    """What they say of a start in the same instant."""
    moment = time.monotonic() + 0.01
    for master in masters:
        master.tell(target, moment)
    return [master.says() for master in masters]


def test_given_masters_that_start_in_the_same_instant_then_one_begins_and_the_others_name_it_also_after_a_kill(
    masters: list[Master], tmp_path: Path
) -> None:
    for number in range(ROUNDS):
        target = f"ipc://{tmp_path}/{number}"
        said = start_at_once(masters, target)
        assert said.count("listens") == 1, said
        first = masters[said.index("listens")]
        assert all(text.startswith(f"{target} is held by ") for text in said if text != "listens")
    late = start_at_once([master for master in masters if master is not first], target)
    assert all(f"{target} is held by pid {first.process.pid} (" in text for text in late)
    first.kill()
    others = [master for master in masters if master is not first]
    assert start_at_once(others, target).count("listens") == 1
