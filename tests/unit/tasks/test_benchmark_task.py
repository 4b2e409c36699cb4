"""Both tasks take the time they were told: one keeps the processor busy meanwhile, the other leaves it alone."""

import time

from tasks.benchmark import BenchmarkTask, SleepTask
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


def test_given_a_sleeping_task_then_the_time_passes_without_a_processor() -> None:
    wall_s, cpu_s = time.perf_counter(), time.process_time()

    rebuilt(SleepTask(50)).execute()

    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    assert wall_s >= 0.05
    assert cpu_s < 0.5 * wall_s
