"""Fill levels asked beside the work, and the list of what failed."""

import threading
from pathlib import Path

import pytest

from cyclone.lustre.failed_list import FailedList
from cyclone.lustre.fill_levels import FillLevels, levels
from cyclone.lustre.lfs import LfsError, Target
from cyclone.lustre.migration_plan import Level
from tests.support.migrations import target


def answer_of(fill: FillLevels) -> object:
    while (answer := fill.take()) is None:
        pass
    return answer


def test_given_a_file_system_that_hangs_then_nobody_waits_for_it() -> None:
    released = threading.Event()

    def hangs() -> list[Target]:
        released.wait(10)
        return [target(1, 0.5)]

    fill = FillLevels(hangs)
    assert fill.take() is None
    fill.ask()
    assert fill.take() is None
    released.set()
    assert answer_of(fill) == [target(1, 0.5)]
    assert not fill.asking
    assert fill.take() is None


def test_given_an_error_then_that_is_the_answer() -> None:
    def fails() -> list[Target]:
        raise LfsError("no lfs here")

    fill = FillLevels(fails)
    for _ in range(2):
        fill.ask()
        assert str(answer_of(fill)) == "no lfs here"


@pytest.mark.parametrize(
    ("flags", "gives", "takes"),
    [
        ((), True, True),
        (("read_only",), True, False),
        (("degraded",), True, False),
        (("no_create",), True, False),
        (("no_space",), True, False),
        (("no_inodes",), True, False),
        (("inactive",), False, False),
        (("unavailable",), False, False),
        (("flash",), True, True),
    ],
)
def test_given_flags_then_they_say_what_an_ost_is_good_for(flags: tuple[str, ...], gives: bool, takes: bool) -> None:
    assert levels([target(7, 0.25, 1000, flags)]) == {7: Level(250, 1000, gives, takes)}


def test_given_an_mdt_then_it_is_no_ost() -> None:
    assert levels([Target("MDT", 0, "MDT0000", 10, 5, 5)]) == {}


def test_given_failed_paths_then_their_list_is_an_input_again_and_a_crash_lists_none_twice(tmp_path: Path) -> None:
    path = tmp_path / "migration.failed"
    path.write_bytes(b"1 /lustre/of another day\n")
    first = FailedList(path)
    first.begin()
    first.add(2, "/lustre/caf\udce9")
    size = first.size
    first.add(3, "/lustre/two\nlines")
    first.add(4, "/lustre/forgotten")
    again = FailedList(path)
    again.resume(size)
    again.add(5, "/lustre/b")
    assert path.read_bytes() == b"1 /lustre/of another day\n2 /lustre/caf\xe9\n5 /lustre/b\n"
