"""BenchmarkTaskGenerator: many equal tasks, to measure a cluster.

The section [benchmark] has:

- ``num_tasks``: how many
- ``task``: ``empty``, which is the default, or ``busy``
- ``milliseconds``: how long a busy task takes; 1 by default
- ``in_flight``: how many tasks there may be at a time, each result making the next one; 0, the default, is no bound
"""

from collections.abc import Callable, Iterator, Mapping
from operator import length_hint
from pathlib import Path
from typing import Any

from cyclone import BaseTask, BaseTaskGenerator, TaskResult
from cyclone.errors import ConfigError
from cyclone.generator import Config
from tasks.benchmark import BenchmarkTask
from tasks.empty import EmptyTask

_MILLISECONDS_MAX = 3_600_000.0


class BenchmarkTaskGenerator(BaseTaskGenerator):
    """Yields ``EmptyTask(0)``, ``EmptyTask(1)``... or busy tasks; counts the results and adds up their values."""

    def __init__(self, config: Config, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        self.num_tasks = self.integer_option("benchmark", "num_tasks")
        self.task = self.option("benchmark", "task", "empty")
        if self.task not in ("empty", "busy"):
            raise ConfigError(f"[benchmark] task = {self.task}: expected empty or busy")
        milliseconds = self._milliseconds()
        self._task: Callable[[int], BaseTask] = (
            EmptyTask if self.task == "empty" else lambda _number: BenchmarkTask(milliseconds)
        )
        self.in_flight = self.integer_option("benchmark", "in_flight", 0)
        self.results = 0
        self.sum = 0
        # The first tasks are generate()'s; the others come one by one from the results.
        self.first_tasks = min(self.in_flight or self.num_tasks, self.num_tasks)
        self._numbers = iter(range(self.first_tasks))

    def generate(self) -> Iterator[BaseTask]:
        return map(self._task, self._numbers)

    def on_result(self, result: TaskResult) -> BaseTask | None:
        number = self.first_tasks + self.results
        self.results += 1
        value = result.value
        if value is not None:
            self.sum += value
        return self._task(number) if number < self.num_tasks else None

    def cursor(self) -> list[int]:
        return [self.first_tasks - length_hint(self._numbers), self.results, self.sum]

    def resume(self, cursor: list[int]) -> None:
        yielded, self.results, self.sum = cursor
        self._numbers = iter(range(yielded, self.first_tasks))

    def summary(self) -> Mapping[str, Any]:
        return {"returned": self.results, "sum": self.sum}

    def _milliseconds(self) -> float:
        text = self.option("benchmark", "milliseconds", "1")
        try:
            milliseconds = float(text)
        except ValueError:
            milliseconds = -1.0
        if not 0 <= milliseconds <= _MILLISECONDS_MAX:
            raise ConfigError(f"[benchmark] milliseconds = {text}: expected a number from 0 to {_MILLISECONDS_MAX:.0f}")
        return milliseconds
