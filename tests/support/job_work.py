"""What jobs of tests do, and a client in a process of its own that submits and takes in results, to be killed.

``python -m tests.support.job_work submit KEY COUNT`` submits so many tasks under a key and says ``job N`` when it is
answered; ``follow JOB`` prints ``index value`` for each result. ``$CYCLONE_SERVER`` names the master.
"""

import hashlib
import sys
import time
from collections.abc import Iterator

import msgspec

from cyclone import BaseTask
from cyclone.client.client import Client
from cyclone.protocol.job_spec import JobSpec
from tests.support.workload import await_file, note

WORK = "tests.support.job_work:Work"
SQUARE = "tests.support.job_work:Square"
# Longer than a master is away in any test.
TIMEOUT_S = 30.0
# Whoever submits comes no further before this file is there.
GATE, GATE_AT = "enough", 0.8
_PAUSE_EVERY, _PAUSE_S = 200, 0.002


class Square(BaseTask):
    """Leaves no note: there may be very many."""

    def __init__(self, number: int) -> None:
        self.number = number

    def execute(self) -> int:
        return self.number**2


class Work(BaseTask):
    """Notes when it starts and when it ends, by the clock that all processes of a host share."""

    def __init__(self, job: str, number: int, seconds: float = 0.0, fails: bool = False) -> None:
        self.job = job
        self.number = number
        self.seconds = seconds
        self.fails = fails

    def execute(self) -> int:
        note("start", job=self.job, number=self.number, attempt=self.attempt, at=time.monotonic())
        if self.seconds:
            time.sleep(self.seconds)
        note("end", job=self.job, number=self.number, attempt=self.attempt, at=time.monotonic())
        if self.fails:
            raise ValueError(f"task {self.number} fails")
        return self.number


def key_of(name: str) -> bytes:
    """The key of a submission that has this name."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def work(job: str, count: int, seconds: float = 0.0, fails: bool = False) -> list[bytes]:
    """The tasks of a job of ``Work``."""
    return [msgspec.msgpack.encode([job, number, seconds, fails]) for number in range(count)]


def _squares(count: int) -> Iterator[bytes]:
    """Slowly enough that whoever submits them can be met in the middle, and not to their end before the gate opens."""
    for number in range(count):
        if number == int(count * GATE_AT):
            await_file(GATE)
        if number % _PAUSE_EVERY == 0:
            time.sleep(_PAUSE_S)
        yield msgspec.msgpack.encode([number])


def main() -> int:
    """See the module."""
    verb, *words = sys.argv[1:]
    with Client(timeout_s=TIMEOUT_S) as client:
        if verb == "submit":
            key, count = key_of(words[0]), int(words[1])
            print(f"job {client.submit(JobSpec(task_class=SQUARE), _squares(count), key=key)}", flush=True)
        else:
            for result in client.results(int(words[0])):
                print(result.index, result.value, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
