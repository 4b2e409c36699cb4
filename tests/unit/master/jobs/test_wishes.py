"""Wishes that are not fulfilled: which tasks of a batch they are about."""

import pytest

from cyclone.master.events import CancelWanted
from cyclone.master.jobs.wishes import Wishes
from cyclone.protocol.states import EXPIRED

OF_JOB = CancelWanted(10, 19, "", 3, reason="of the job")
OF_CLASS = CancelWanted(1, 99, "m:A", None, reason="of the class")
OTHER_JOB = CancelWanted(1, 99, "", 4)
OVERLAPPING = CancelWanted(15, 29, "", 3, reason="more of the job")
OUT_OF_TIME = CancelWanted(1, 99, "", 3, EXPIRED)


@pytest.mark.parametrize(
    ("wishes", "found"),
    [
        pytest.param([], [], id="none"),
        pytest.param([OF_JOB], [(10, 20, "of the job")], id="of the job"),
        pytest.param([OTHER_JOB], [], id="of another job"),
        pytest.param([OF_CLASS], [(5, 25, "of the class")], id="of the class"),
        pytest.param([OUT_OF_TIME], [], id="expired: what runs goes on"),
        pytest.param([OUT_OF_TIME, OF_JOB], [(10, 20, "of the job")], id="expired, then cancelled"),
        pytest.param([OVERLAPPING, OF_JOB], [(10, 20, "of the job"), (20, 25, "more of the job")], id="overlapping"),
        pytest.param([OF_JOB, OF_CLASS], [(5, 25, "of the class")], id="one within another"),
        pytest.param([CancelWanted(1, 99, "m:B", None)], [], id="of another class"),
        pytest.param([CancelWanted(25, 99, "", 3), CancelWanted(1, 4, "", 3)], [], id="beside it"),
    ],
)
def test_given_wishes_then_the_tasks_of_a_stretch_that_they_are_about_are_told_in_order(
    wishes: list[CancelWanted], found: list[tuple[int, int, str]]
) -> None:
    asked = Wishes()
    for wish in wishes:
        asked.append(wish)
    assert [(low, high, wish.reason) for low, high, wish in asked.covering(3, "m:A", 5, 25)] == found


def test_given_a_wish_that_is_repeated_then_it_is_kept_once_and_goes_when_it_is_fulfilled() -> None:
    wishes = Wishes()
    for _ in range(3):
        wishes.append(OF_JOB)
    wishes.append(OVERLAPPING)
    assert len(wishes) == 2
    for wish in wishes:
        wishes.remove(wish)
    assert not wishes
    assert list(wishes) == []
