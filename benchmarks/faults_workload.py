"""What the master of benchmarks/faults.py has to hand out: plug-ins of real processes, as a user writes them.

``[faults]`` of the configuration holds what a generator asks for. Whatever runs writes its own history into the folder
of the benchmark, by which it is judged.
"""

import mmap
import os
import struct
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cyclone import BaseTask, BaseTaskGenerator, TaskResult
from cyclone.generator import Config
from tests.support.workload import FOLDER, note

HISTORY = "starts"
ENOUGH = "enough"
_COUNT = struct.Struct("q")


@cache
def _history() -> int:
    return os.open(Path(os.environ[FOLDER], HISTORY), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


class Noted(BaseTask):
    """Appends its number to the history, and takes a moment."""

    def __init__(self, number: int) -> None:
        self.number = number

    def execute(self) -> None:
        os.write(_history(), b"%d\n" % self.number)
        time.sleep(0.001)


class NumbersUntilEnough(BaseTaskGenerator):
    """Yields them until the benchmark has had enough, and notes how many there were. Goes on from its cursor."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._next = 0

    def generate(self) -> Iterator[BaseTask]:
        enough = Path(os.environ[FOLDER], ENOUGH)
        while not enough.exists():
            self._next += 1
            yield Noted(self._next - 1)
        note("yielded", count=self._next)

    def cursor(self) -> int:
        return self._next

    def resume(self, cursor: int) -> None:
        self._next = cursor


class Held(BaseTask):
    """Notes when it starts, and stays until its controller is gone; the second attempt ends at once."""

    def execute(self) -> None:
        note("start", task=self.task_id, attempt=self.attempt, controller=os.getppid(), at_ns=time.monotonic_ns())
        while self.attempt == 1:
            time.sleep(60)


class OneByOne(BaseTaskGenerator):
    """``[faults] tasks`` of them, each when the one before has ended."""

    def generate(self) -> Iterator[BaseTask]:
        self._left = self.integer_option("faults", "tasks") - 1
        yield Held()

    def on_result(self, result: TaskResult) -> BaseTask | None:
        if not self._left:
            return None
        self._left -= 1
        return Held()


@cache
def _counter() -> mmap.mmap:
    """Of this worker, in a file that is named after its controller."""
    folder = Path(os.environ[FOLDER])
    new = folder / f"new.{os.getpid()}"
    new.write_bytes(bytes(_COUNT.size))
    # Whole from the first moment at which it can be seen.
    path = new.rename(folder / f"count.{os.getppid()}.{os.getpid()}")
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), _COUNT.size)


def counted(folder: Path, controller: int) -> int:
    """How many tasks the workers of the controller with this pid have executed."""
    return sum(int(_COUNT.unpack(path.read_bytes())[0]) for path in folder.glob(f"count.{controller}.*"))


class Counted(BaseTask):
    """Counts itself, which costs next to nothing, and carries some weight over the network."""

    def __init__(self, milliseconds: float, weight: str) -> None:
        self.milliseconds = milliseconds
        self.weight = weight

    def execute(self) -> None:
        if self.milliseconds:
            time.sleep(self.milliseconds / 1000)
        counter = _counter()
        _COUNT.pack_into(counter, 0, _COUNT.unpack_from(counter)[0] + 1)


class Endless(BaseTaskGenerator):
    """Never stops by itself; each task takes ``[faults] milliseconds`` and weighs ``bytes``."""

    def generate(self) -> Iterator[BaseTask]:
        milliseconds = float(self.option("faults", "milliseconds"))
        weight = "x" * self.integer_option("faults", "bytes")
        while True:
            yield Counted(milliseconds, weight)


class Slow(BaseTask):
    """One of very many; takes a tenth of a second."""

    def __init__(self, number: int) -> None:
        self.number = number

    def execute(self) -> None:
        time.sleep(0.1)


class Flood(BaseTaskGenerator):
    """``[faults] tasks`` as fast as it can."""

    def generate(self) -> Iterator[BaseTask]:
        return map(Slow, range(self.integer_option("faults", "tasks")))


class FloodOfResults(BaseTaskGenerator):
    """The same in one go, as what the first result makes: these nobody can hold back."""

    def generate(self) -> Iterator[BaseTask]:
        yield Slow(0)

    def on_result(self, result: TaskResult) -> Iterator[BaseTask]:
        if result.args == [0]:
            yield from map(Slow, range(1, self.integer_option("faults", "tasks")))
