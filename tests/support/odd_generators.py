"""Generators that behave in every way that the engine must put up with."""

import itertools
import sys
import threading
from collections.abc import Iterator
from typing import Any

from cyclone import BaseTask, BaseTaskGenerator, TaskResult
from tests.support.workload import Act, await_file, note


class WithProperty(BaseTask):
    """A property that may have no form."""

    def __init__(self, good: int, bad: Any) -> None:
        self.good = good
        self.bad = bad


class Noting(BaseTaskGenerator):
    """Notes its results."""

    def on_result(self, result: TaskResult) -> Any:
        note("result", task=result.task_id, state=result.state)


class Raises(Noting):
    """Raises while its first task runs."""

    def generate(self) -> Iterator[BaseTask]:
        note("generator")
        yield Act("gate", "gate")
        await_file("go")
        raise ValueError("the generator's own trouble")


class Exits(Noting):
    """Calls sys.exit while its first task runs."""

    def generate(self) -> Iterator[BaseTask]:
        note("generator")
        yield Act("gate", "gate")
        await_file("go")
        sys.exit("enough")


class Slow(Noting):
    """Yields two tasks, and does not come back before it may."""

    def generate(self) -> Iterator[BaseTask]:
        note("generator")
        yield Act("quick", 1)
        yield Act("quick", 2)
        await_file("go")
        yield Act("quick", 3)


class Endless(BaseTaskGenerator):
    """Never stops by itself."""

    def generate(self) -> Iterator[BaseTask]:
        for number in itertools.count():
            if number % 10_000 == 0:
                note("yielded", number=number)
            yield Act("return", number)


class YieldsText(Noting):
    """What it yields is not a task."""

    def generate(self) -> Any:
        yield Act("quick", 1)
        yield "a task"


class YieldsUnserialisable(Noting):
    """One of the properties of its task has no form."""

    def generate(self) -> Iterator[BaseTask]:
        yield Act("quick", 1)
        yield WithProperty(1, {1, 2})


class FailsOnResult(BaseTaskGenerator):
    """Cannot stand a result."""

    def generate(self) -> Iterator[BaseTask]:
        yield Act("gate", "gate")
        await_file("go")
        yield Act("quick", 1)

    def on_result(self, result: TaskResult) -> None:
        note("result", task=result.task_id)
        raise LookupError("the generator cannot stand results")


class Monitor(BaseTaskGenerator):
    """Makes rounds: the next one begins when wait() has served the results of the one before."""

    rounds = 3

    def generate(self) -> Iterator[BaseTask]:
        self.open = 0
        self.inside = False
        for number in range(self.rounds):
            self.open += 2
            yield Act("quick", number)
            yield Act("quick", number)
            while self.open:
                self.inside = True
                self.wait(0.05)
                self.inside = False
            note("round", number=number)

    def on_result(self, result: TaskResult) -> None:
        self.open -= 1
        note(
            "result",
            task=result.task_id,
            inside=self.inside,
            thread=threading.get_ident() == threading.main_thread().ident,
        )


class Descriptors(BaseTaskGenerator):
    """Tells in the end what it has inherited."""

    def generate(self) -> Iterator[BaseTask]:
        self.found = Act("descriptors").do_descriptors()
        yield from ()

    def summary(self) -> dict[str, Any]:
        return {"descriptors": sorted(self.found.values())}


class BadConstructor(BaseTaskGenerator):
    """Fails before it exists."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.option("odd", "missing")


class Counter(BaseTaskGenerator):
    """Yields numbers, of which each result makes two more tasks; without a cursor. Notes when it begins."""

    limit = 2000

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.yielded = 0
        self.seen = 0
        self.sum = 0

    def generate(self) -> Iterator[BaseTask]:
        note("generator", yielded=self.yielded, seen=self.seen)
        while self.yielded < self.limit:
            self.yielded += 1
            yield Act("return", self.yielded)

    def on_result(self, result: TaskResult) -> Iterator[BaseTask]:
        self.seen += 1
        self.sum += result.value
        if 0 < result.value <= self.limit:
            yield Act("return", -result.value)
            yield Act("return", self.limit + result.value)

    def summary(self) -> dict[str, Any]:
        return {"seen": self.seen, "sum": self.sum}


class CursorCounter(Counter):
    """The same with a cursor."""

    def cursor(self) -> list[int]:
        return [self.yielded, self.seen, self.sum]

    def resume(self, cursor: list[int]) -> None:
        self.yielded, self.seen, self.sum = cursor


class Breeder(BaseTaskGenerator):
    """Each result makes two tasks, by any of the ways that there are, until there are enough."""

    limit = 30

    def generate(self) -> Iterator[BaseTask]:
        self.made = 1
        yield Act("quick", 1)

    def on_result(self, result: TaskResult) -> Any:
        note("result", task=result.task_id, value=result.value)
        if self.made >= self.limit:
            return None
        self.made += 2
        children = [Act("quick", 2 * result.value), Act("quick", 2 * result.value + 1)]
        return children if result.value % 2 else iter(children)


class Ponderer(Noting):
    """Makes its summary in more time than controllers get for their goodbye."""

    def generate(self) -> Iterator[BaseTask]:
        yield Act("quick")

    def summary(self) -> dict[str, Any]:
        threading.Event().wait(2.5)
        return {"pondered": "well"}
