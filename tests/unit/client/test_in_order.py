"""Results by index, each as soon as those before it are there."""

from types import SimpleNamespace
from typing import Any

import pytest

from cyclone.client.job_results import in_order


def results(*indexes: int) -> Any:
    return iter([SimpleNamespace(index=index) for index in indexes])


@pytest.mark.parametrize(
    ("come", "start", "told"),
    [
        ((0, 1, 2), 0, [0, 1, 2]),
        ((2, 0, 1), 0, [0, 1, 2]),
        ((5, 3, 4), 3, [3, 4, 5]),
        # Where one is missing, nobody is told of what comes behind it.
        ((0, 2, 3), 0, [0]),
        ((), 0, []),
    ],
)
def test_given_results_as_they_come_then_they_are_told_in_order(
    come: tuple[int, ...], start: int, told: list[int]
) -> None:
    assert [result.index for result in in_order(results(*come), start)] == told


def test_given_the_next_result_then_it_is_told_before_another_one_is_asked_for() -> None:
    coming = results(1, 0, 3, 2)
    assert next(in_order(coming)).index == 0
    assert next(coming).index == 3
