"""BenchmarkTask takes the time it was told, and keeps the processor busy meanwhile."""

import time

from tasks.benchmark import BenchmarkTask
from tests.support.drive import rebuilt


def test_given_milliseconds_then_so_many_pass_and_nothing_is_returned() -> None:
    began_s = time.perf_counter()

    assert rebuilt(BenchmarkTask(20)).execute() is None

    assert time.perf_counter() - began_s >= 0.02


def test_given_a_busy_task_then_the_time_passes_on_a_processor() -> None:
    wall_s, cpu_s = time.perf_counter(), time.process_time()

    BenchmarkTask(50).execute()

    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    # Another process may have been on this processor meanwhile, but a task that slept would have used nearly nothing.
    assert cpu_s > 0.1 * wall_s


def test_given_no_time_then_it_ends_at_once() -> None:
    BenchmarkTask(0).execute()
