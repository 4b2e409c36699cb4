"""BenchmarkTask and SleepTask: work of a known length, to measure how well the workers are kept at it."""

import time

from cyclone import BaseTask


class BenchmarkTask(BaseTask):
    """Keeps a CPU busy until so many milliseconds of wall time have passed.

    It returns None: how long it really took is in its result's ``seconds`` already.
    """

    def __init__(self, milliseconds: float = 1.0) -> None:
        self.milliseconds = milliseconds

    def execute(self) -> None:
        end_s = time.perf_counter() + self.milliseconds / 1000
        while time.perf_counter() < end_s:
            pass


class SleepTask(BaseTask):
    """Lets so many milliseconds pass and leaves the CPU alone, so that there may be more workers than processors."""

    def __init__(self, milliseconds: float = 1.0) -> None:
        self.milliseconds = milliseconds

    def execute(self) -> None:
        time.sleep(self.milliseconds / 1000)
