"""BenchmarkTask: work of a known length, to measure how well the workers are kept busy."""

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
