"""SumTaskGenerator: a tree of tasks with exactly one result at its top, whatever its shape and order."""

from unittest.mock import Mock

import pytest

from cyclone.errors import ConfigError
from task_generators.sum import SumTask, SumTaskGenerator
from tests.support.drive import drive
from tests.support.generator_lives import Book, live


def generator(n: int, numbers_per_task: int) -> SumTaskGenerator:
    return SumTaskGenerator({"sum": {"n": str(n), "numbers_per_task": str(numbers_per_task)}})


@pytest.mark.parametrize("numbers_per_task", [2, 3, 10, 1000])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 9, 10, 11, 99, 100, 101, 1000])
@pytest.mark.parametrize("batch", [1, 7, 10_000])
def test_given_numbers_then_their_sum_is_found(n: int, numbers_per_task: int, batch: int) -> None:
    tree = generator(n, numbers_per_task)

    results = drive(tree, batch=batch)

    assert tree.summary() == {"sum": n * (n + 1) // 2}
    assert all(len(result.args[0]) <= numbers_per_task for result in results)
    assert not results or results[-1].value == n * (n + 1) // 2


@pytest.mark.parametrize("n", [0, 1, 10, 31])
def test_given_a_crash_at_any_time_then_there_are_as_many_tasks_and_the_same_sum(n: int) -> None:
    tasks = len(drive(generator(n, 3)))
    for kill_after in range(20):
        book = live(
            Book(kill_after, value_of=lambda numbers: sum(numbers[0])), lambda: generator(n, 3), [kill_after] * 2
        )

        assert len(book.tasks()) == tasks
        assert book.summary == {"sum": n * (n + 1) // 2}


def test_given_fewer_numbers_than_a_task_takes_then_there_is_one_task() -> None:
    assert len(drive(generator(10, 10))) == 1


def test_given_a_task_that_fails_then_there_is_no_sum() -> None:
    tree = generator(4, 2)

    tree.on_result(Mock(ok=True, value=3))
    tree.on_result(Mock(ok=False, value=None))

    assert tree.summary() == {"sum": None}


def test_given_a_tree_that_is_not_done_then_there_is_no_sum_yet() -> None:
    tree = generator(4, 2)

    tree.on_result(Mock(ok=True, value=3))

    assert tree.summary() == {"sum": None}


def test_given_that_the_last_tasks_result_comes_before_the_end_is_known_then_the_rest_is_still_added() -> None:
    tree = generator(5, 2)
    source = tree.generate()
    added = []
    for _ in range(3):
        task = next(source)
        added.append(tree.on_result(Mock(ok=True, value=task.execute())))

    assert next(source, None) is None
    assert [None if task is None else vars(task) for task in added] == [None, {"numbers": [3, 7]}, None]
    last = tree.on_result(Mock(ok=True, value=10))
    assert isinstance(last, SumTask)
    assert last.numbers == [5, 10]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"\[sum\] n is missing"),
        ({"n": "x"}, r"\[sum\] n = x: expected a whole number of at least 0"),
        ({"n": "1", "numbers_per_task": "1"}, r"\[sum\] numbers_per_task = 1: expected a whole number of at least 2"),
    ],
)
def test_given_a_bad_option_then_section_and_key_are_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SumTaskGenerator({"sum": options})
