"""FunctionTask: a call by name, alone or as one of a job; by value only where the job says so."""

from collections.abc import Sequence
from typing import Any

import pytest

from cyclone import BaseTask
from cyclone.client import byvalue
from cyclone.errors import ClassRefused
from tasks.function import FunctionTask

JOIN = "tests.unit.tasks.test_function_task:join"


def join(*words: str, end: str = "") -> str:
    """A function with all kinds of arguments."""
    return "-".join(words) + end


CALLS: list[tuple[str, Sequence[Any], str]] = [
    (JOIN, (), ""),
    (JOIN, (["a", "b"],), "a-b"),
    (JOIN, (["a"], {"end": "!"}), "a!"),
    (JOIN, ([], {"end": "!"}), "!"),
    (JOIN, (["a"], {}), "a"),
    (JOIN, (["a"], None), "a"),
]


@pytest.mark.parametrize(("function", "properties", "value"), CALLS)
@pytest.mark.parametrize("shared", [0, 1, 2, 3])
def test_given_a_function_by_name_then_it_is_called_however_much_of_it_the_job_shares(
    function: str, properties: Sequence[Any], value: str, shared: int
) -> None:
    everything = (function, *properties)
    build = FunctionTask.prepared(tuple(everything[:shared]))

    assert build(*everything[shared:]).execute() == value


def test_given_a_function_that_cannot_be_called_like_that_then_the_error_is_its_own() -> None:
    build = FunctionTask.prepared(("math:factorial",))

    with pytest.raises(TypeError, match="argument"):
        build([1, 2, 3]).execute()


def test_given_a_function_by_value_in_a_job_that_is_not_then_it_is_refused_unopened() -> None:
    with pytest.raises(ClassRefused, match="a function by value in a job that is not by value"):
        FunctionTask.prepared((b"no pickle at all",))


def test_given_a_function_by_value_then_it_is_opened_once_for_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaseTask.current, "by_value", True)
    build = FunctionTask.prepared((byvalue.dumps(join),))

    assert [build("a", "b").execute(), build().execute()] == ["a-b", ""]
