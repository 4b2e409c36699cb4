"""BenchmarkTaskGenerator: the tasks it was asked for, and a sum that proves each result came once."""

import pytest

from cyclone.errors import ConfigError
from task_generators.benchmark import BenchmarkTaskGenerator
from tasks.benchmark import BenchmarkTask
from tests.support.drive import drive
from tests.support.generator_lives import Book, live


def generator(**options: str) -> BenchmarkTaskGenerator:
    return BenchmarkTaskGenerator({"benchmark": options})


def test_given_empty_tasks_then_their_values_are_counted_and_added_up() -> None:
    benchmark = generator(num_tasks="1000")

    results = drive(benchmark, batch=64)

    assert [result.value for result in results] == list(range(1000))
    assert benchmark.summary() == {"returned": 1000, "sum": 499_500}


def test_given_busy_tasks_then_each_takes_the_time_asked_for() -> None:
    benchmark = generator(num_tasks="3", task="busy", milliseconds="0.5")

    results = drive(benchmark)

    assert {result.task_class for result in results} == {"tasks.benchmark:BenchmarkTask"}
    assert [result.args for result in results] == [[0.5]] * 3
    assert benchmark.summary() == {"returned": 3, "sum": 0}


def test_given_no_length_then_a_busy_task_takes_a_millisecond() -> None:
    task = next(generator(num_tasks="1", task="busy").generate())

    assert isinstance(task, BenchmarkTask)
    assert task.milliseconds == 1.0


@pytest.mark.parametrize("in_flight", [1, 2, 20])
def test_given_a_bound_then_so_many_tasks_are_made_at_first_and_each_result_makes_the_next(in_flight: int) -> None:
    benchmark = generator(num_tasks="10", in_flight=str(in_flight))

    assert len(list(benchmark.generate())) == min(in_flight, 10)

    benchmark = generator(num_tasks="10", in_flight=str(in_flight))
    assert [result.value for result in drive(benchmark)] == list(range(10))
    assert benchmark.summary() == {"returned": 10, "sum": 45}


@pytest.mark.parametrize("in_flight", ["0", "1", "4", "20"])
def test_given_a_crash_at_any_time_then_there_are_the_same_tasks_and_the_same_sum(in_flight: str) -> None:
    for kill_after in range(20):
        book = live(Book(kill_after), lambda: generator(num_tasks="12", in_flight=in_flight), [kill_after, kill_after])

        assert sorted(book.tasks()) == list(range(12))
        assert book.summary == {"returned": 12, "sum": 66}


def test_given_a_cursor_then_what_follows_goes_on_there() -> None:
    first = generator(num_tasks="5")
    source = first.generate()
    assert [vars(next(source)) for _ in range(2)] == [{"value": 0}, {"value": 1}]

    second = generator(num_tasks="5")
    second.resume(first.cursor())

    assert [vars(task) for task in second.generate()] == [{"value": number} for number in (2, 3, 4)]


def test_given_no_tasks_then_the_sum_is_0() -> None:
    benchmark = generator(num_tasks="0")

    assert drive(benchmark) == []
    assert benchmark.summary() == {"returned": 0, "sum": 0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"\[benchmark\] num_tasks is missing"),
        ({"num_tasks": "many"}, r"\[benchmark\] num_tasks = many: expected a whole number"),
        ({"num_tasks": "-1"}, r"\[benchmark\] num_tasks = -1: expected a whole number of at least 0"),
        ({"num_tasks": "1", "task": "lazy"}, r"\[benchmark\] task = lazy: expected empty or busy"),
        ({"num_tasks": "1", "milliseconds": "1s"}, r"\[benchmark\] milliseconds = 1s: expected a number from 0"),
        ({"num_tasks": "1", "milliseconds": "nan"}, r"\[benchmark\] milliseconds = nan: expected a number from 0"),
    ],
)
def test_given_a_bad_option_then_section_and_key_are_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generator(**options)
