"""BenchmarkTaskGenerator: the tasks it was asked for, and a sum that proves each result came once."""

import pytest

from cyclone.errors import ConfigError
from task_generators.benchmark import BenchmarkTaskGenerator, mixed_ms, one_long_ms
from tasks.benchmark import BenchmarkTask, SleepTask
from tests.support.drive import drive
from tests.support.generator_lives import Book, live


def generator(**options: str) -> BenchmarkTaskGenerator:
    return BenchmarkTaskGenerator({"benchmark": options})


def test_given_empty_tasks_then_their_values_are_counted_and_added_up() -> None:
    benchmark = generator(num_tasks="1000")

    results = drive(benchmark, batch=64)

    assert [result.value for result in results] == list(range(1000))
    assert benchmark.summary() == {"returned": 1000, "sum": 499_500}


def test_given_a_file_of_the_original_then_its_number_of_tasks_is_read_and_one_of_ours_comes_first() -> None:
    original = {"control": {"num_tasks": "7", "poll_time_ms": "500"}}

    assert BenchmarkTaskGenerator(original).num_tasks == 7
    assert BenchmarkTaskGenerator(original | {"benchmark": {"task": "busy"}}).num_tasks == 7
    assert BenchmarkTaskGenerator(original | {"benchmark": {"num_tasks": "8"}}).num_tasks == 8
    with pytest.raises(ConfigError, match=r"\[control\] num_tasks = x: expected a whole number"):
        BenchmarkTaskGenerator({"control": {"num_tasks": "x"}})


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


@pytest.mark.parametrize("durations", ["mixed", "one_long"])
def test_given_durations_of_a_seed_then_they_are_the_same_again_and_others_for_another_seed(durations: str) -> None:
    def milliseconds(seed: str) -> list[float]:
        tasks = list(generator(num_tasks="400", task="sleep", durations=durations, seed=seed).generate())
        assert {type(task) for task in tasks} == {SleepTask}
        return [vars(task)["milliseconds"] for task in tasks]

    assert milliseconds("1") == milliseconds("1")
    assert milliseconds("1") != milliseconds("2")


def test_given_mixed_durations_then_a_tenth_of_the_tasks_is_half_of_the_work() -> None:
    durations = sorted(mixed_ms(4000, seed=1))

    assert 10 <= durations[0] <= durations[-1] <= 1000
    assert durations[2000] == pytest.approx(33, rel=0.1)
    assert sum(durations[3600:]) == pytest.approx(sum(durations) / 2, rel=0.1)


@pytest.mark.parametrize("count", [1, 2, 9, 10_001])
def test_given_one_long_among_short_ones_then_most_of_these_come_after_it(count: int) -> None:
    durations = one_long_ms(count, seed=1)

    assert len(durations) == count
    assert [duration for duration in durations if duration > 1] == [10_000]
    assert durations.index(10_000) <= count // 4


@pytest.mark.parametrize("in_flight", ["0", "3"])
def test_given_a_crash_then_tasks_of_mixed_durations_go_on_where_they_were(in_flight: str) -> None:
    for kill_after in range(8):
        book = live(
            Book(kill_after, lambda _properties: None),
            lambda: generator(num_tasks="6", task="sleep", durations="mixed", in_flight=in_flight),
            [kill_after, kill_after],
        )

        assert sorted(book.tasks()) == sorted(mixed_ms(6, seed=1))
        assert book.summary == {"returned": 6, "sum": 0}


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
        ({"num_tasks": "1", "task": "lazy"}, r"\[benchmark\] task = lazy: expected empty, busy, sleep or payload"),
        ({"num_tasks": "1", "milliseconds": "1s"}, r"\[benchmark\] milliseconds = 1s: expected a number from 0"),
        ({"num_tasks": "1", "durations": "odd"}, r"\[benchmark\] durations = odd: expected equal, mixed or one_long"),
        ({"num_tasks": "1", "seed": "x"}, r"\[benchmark\] seed = x: expected a whole number"),
        ({"num_tasks": "1", "milliseconds": "nan"}, r"\[benchmark\] milliseconds = nan: expected a number from 0"),
    ],
)
def test_given_a_bad_option_then_section_and_key_are_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generator(**options)
