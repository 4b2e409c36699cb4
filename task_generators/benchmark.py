"""BenchmarkTaskGenerator: many tasks of known length, to measure a cluster.

The section [benchmark] has:

- ``num_tasks``: how many
- ``task``: ``empty``, which is the default, ``busy``, ``sleep``, or ``payload``: empty tasks with large values
- ``payload_bytes``: the size of such a value, which is both argument and result; 100,000 by default
- ``durations``: how long busy and sleeping tasks take: ``equal``, which is the default, ``mixed`` or ``one_long``
- ``milliseconds``: each of the equal durations; 1 by default
- ``seed``: of the other durations; 1 by default
- ``in_flight``: how many tasks there may be at a time, each result making the next one; 0, the default, is no bound

A ``config_file`` of the original's is read too: its section [control] has ``num_tasks``, and ``poll_time_ms``, which is
of no use any more.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from operator import length_hint
from pathlib import Path
from typing import Any

from cyclone import BaseTask, BaseTaskGenerator, TaskResult
from cyclone.errors import ConfigError
from cyclone.generator import Config
from tasks.benchmark import BenchmarkTask, SleepTask
from tasks.empty import EmptyTask

_MILLISECONDS_MAX = 3_600_000.0
_TIMED_TASKS: Mapping[str, type[BenchmarkTask | SleepTask]] = {"busy": BenchmarkTask, "sleep": SleepTask}
# Mixed durations reach over two orders of magnitude: the median is a thirtieth of the longest, the mean a tenth.
_MIXED_MS = (10.0, 1000.0)
_SHORT_MS_MAX = 1.0
_LONG_MS = 10_000.0


def mixed_ms(count: int, seed: int) -> list[float]:
    """Durations with a heavy tail in random order: a Pareto distribution with exponent 1/2, cut off at 1 s."""
    shortest, longest = _MIXED_MS
    top = 1 - (shortest / longest) ** 0.5
    rng = random.Random(seed)
    # The inverse of the distribution function.
    return [shortest / (1 - top * rng.random()) ** 2 for _ in range(count)]


def one_long_ms(count: int, seed: int) -> list[float]:
    """One task of 10 s among short ones of 0 to 1 ms; most of these come after it."""
    rng = random.Random(seed)
    durations = [rng.uniform(0.0, _SHORT_MS_MAX) for _ in range(count)]
    if durations:
        durations[rng.randrange(count // 8, count // 4 + 1)] = _LONG_MS
    return durations


class BenchmarkTaskGenerator(BaseTaskGenerator):
    """Yields ``EmptyTask(0)``, ``EmptyTask(1)``... or timed tasks; counts the results and adds up their values or
    their sizes.
    """

    def __init__(self, config: Config, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        former = bool(config.get("control", {}).get("num_tasks")) and not config.get("benchmark", {}).get("num_tasks")
        self.num_tasks = self.integer_option("control" if former else "benchmark", "num_tasks")
        self._task = self._make_task()
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
        if type(value) is int:
            self.sum += value
        elif value is not None:
            self.sum += len(value)
        return self._task(number) if number < self.num_tasks else None

    def cursor(self) -> list[int]:
        return [self.first_tasks - length_hint(self._numbers), self.results, self.sum]

    def resume(self, cursor: list[int]) -> None:
        yielded, self.results, self.sum = cursor
        self._numbers = iter(range(yielded, self.first_tasks))

    def summary(self) -> Mapping[str, Any]:
        return {"returned": self.results, "sum": self.sum}

    def _make_task(self) -> Callable[[int], BaseTask]:
        """What makes the task of a number."""
        kind = self.option("benchmark", "task", "empty")
        if kind not in ("empty", "payload", *_TIMED_TASKS):
            raise ConfigError(f"[benchmark] task = {kind}: expected empty, busy, sleep or payload")
        equal_ms, durations_ms = self._milliseconds(), self._durations_ms()
        if kind == "empty":
            return EmptyTask
        if kind == "payload":
            payload = bytes(self.integer_option("benchmark", "payload_bytes", 100_000))
            return lambda _number: EmptyTask(payload)
        timed = _TIMED_TASKS[kind]
        if durations_ms is None:
            return lambda _number: timed(equal_ms)
        return lambda number: timed(durations_ms[number])

    def _durations_ms(self) -> list[float] | None:
        """How long each task takes, None where all take the same time."""
        text = self.option("benchmark", "durations", "equal")
        seed = self.integer_option("benchmark", "seed", 1)
        match text:
            case "equal":
                return None
            case "mixed":
                return mixed_ms(self.num_tasks, seed)
            case "one_long":
                return one_long_ms(self.num_tasks, seed)
        raise ConfigError(f"[benchmark] durations = {text}: expected equal, mixed or one_long")

    def _milliseconds(self) -> float:
        text = self.option("benchmark", "milliseconds", "1")
        try:
            milliseconds = float(text)
        except ValueError:
            milliseconds = -1.0
        if not 0 <= milliseconds <= _MILLISECONDS_MAX:
            raise ConfigError(f"[benchmark] milliseconds = {text}: expected a number from 0 to {_MILLISECONDS_MAX:.0f}")
        return milliseconds
