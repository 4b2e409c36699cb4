"""BenchmarkTaskGenerator: many equal tasks, to measure a cluster.

The section [benchmark] has:

- ``num_tasks``: how many
- ``task``: ``empty``, which is the default, or ``busy``
- ``milliseconds``: how long a busy task takes; 1 by default
- ``in_flight``: how many tasks there may be at a time, each result making the next one; 0, the default, is no bound
"""

from collections.abc import Iterator, Mapping
from itertools import islice
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
        self.milliseconds = self._milliseconds()
        self.in_flight = self.integer_option("benchmark", "in_flight", 0)
        self.results = 0
        self.sum = 0
        self._tasks = self._all_tasks()

    def generate(self) -> Iterator[BaseTask]:
        return islice(self._tasks, self.in_flight) if self.in_flight else self._tasks

    def on_result(self, result: TaskResult) -> BaseTask | None:
        self.results += 1
        value = result.value
        if value is not None:
            self.sum += value
        return next(self._tasks, None) if self.in_flight else None

    def _all_tasks(self) -> Iterator[BaseTask]:
        if self.task == "empty":
            return map(EmptyTask, range(self.num_tasks))
        return (BenchmarkTask(self.milliseconds) for _ in range(self.num_tasks))

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
