"""EmptyTask gives back what it was made with."""

from typing import Any

import pytest

from tasks.empty import EmptyTask
from tests.support.drive import rebuilt


@pytest.mark.parametrize("value", [None, 0, "text", [1, {"a": b"\0"}]])
def test_given_a_value_then_it_is_returned(value: Any) -> None:
    assert rebuilt(EmptyTask(value)).execute() == value


def test_given_no_value_then_none_is_returned() -> None:
    assert rebuilt(EmptyTask()).execute() is None
