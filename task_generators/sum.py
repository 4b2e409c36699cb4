"""SumTaskGenerator: the sum of 1..n as a tree of tasks; results become new tasks until one is left.

The section [sum] has:

- ``n``: the last number
- ``numbers_per_task``: at least 2; 1000 by default
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cyclone import BaseTask, BaseTaskGenerator, TaskResult
from cyclone.generator import Config


class SumTask(BaseTask):
    """Returns the sum of its numbers."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers

    def execute(self) -> int:
        return sum(self.numbers)


class SumTaskGenerator(BaseTaskGenerator):
    """Adds up 1..n, so many numbers a task; a task that fails leaves no sum."""

    def __init__(self, config: Config, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        self.n = self.integer_option("sum", "n")
        self.numbers_per_task = self.integer_option("sum", "numbers_per_task", 1000, at_least=2)
        self.next_number = 1
        """Where the next task of ``generate()`` begins."""
        self.open = -(-self.n // self.numbers_per_task)
        """How many tasks have no result yet, those not yet generated included."""
        self.sums: list[int] = [] if self.n else [0]
        self.failed = False

    def generate(self) -> Iterator[BaseTask]:
        while self.next_number <= self.n:
            first = self.next_number
            self.next_number = min(first + self.numbers_per_task, self.n + 1)
            yield SumTask(list(range(first, self.next_number)))

    def on_result(self, result: TaskResult) -> BaseTask | None:
        self.open -= 1
        if result.ok:
            self.sums.append(result.value)
        else:
            self.failed = True
        # The last task of all brings the rest together, however few they are.
        if len(self.sums) < self.numbers_per_task and not (self.open == 0 and len(self.sums) > 1):
            return None
        numbers, self.sums = self.sums, []
        self.open += 1
        return SumTask(numbers)

    def cursor(self) -> list[Any]:
        return [self.next_number, self.open, self.sums, self.failed]

    def resume(self, cursor: list[Any]) -> None:
        self.next_number, self.open, self.sums, self.failed = cursor

    def summary(self) -> Mapping[str, Any]:
        return {"sum": None if self.failed or self.open else self.sums[0]}
