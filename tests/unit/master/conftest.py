"""Masters whose invariants are re-derived when a test is over."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.masters import Master

NewMaster = Callable[..., Master]


@pytest.fixture
def new_master() -> Iterator[NewMaster]:
    """Makes masters with the options given."""
    made: list[Master] = []

    def make(**options: Any) -> Master:
        made.append(Master(**options))
        return made[-1]

    yield make
    for master in made:
        master.scheduler.check()


@pytest.fixture
def master(new_master: NewMaster) -> Master:
    """A master with the default options."""
    return new_master()
