"""Who is cut off, when, and for how long."""

import pytest

from cyclone.security.strikes import Strikes


@pytest.mark.parametrize(
    ("limit", "times", "cut"),
    [
        (5, [0, 1, 2, 3], False),
        (5, [0, 1, 2, 3, 4], True),
        (5, [0, 0, 0, 0, 0], True),
        (5, [0, 1, 2, 3, 59.9], True),
        (5, [0, 1, 2, 3, 60], False),
        (5, [0, 15, 30, 45, 60, 75, 90], False),
        (1, [0], True),
        (0, [0] * 1000, False),
    ],
)
def test_given_strikes_at_these_times_then_the_peer_is_cut_or_not(limit: int, times: list[float], cut: bool) -> None:
    strikes = Strikes(limit)
    began = [strikes.strike("a", now) for now in times]
    assert any(began) == began[-1] == cut
    assert strikes.is_cut("a", times[-1]) == cut
    assert not strikes.is_cut("b", times[-1])


def test_given_a_cut_peer_when_its_minute_is_over_then_it_starts_anew() -> None:
    strikes = Strikes(2)
    assert [strikes.strike("a", 10.0), strikes.strike("a", 20.0)] == [False, True]
    assert strikes.is_cut("a", 79.9)
    assert not strikes.is_cut("a", 80.0)
    assert [strikes.strike("a", 80.0), strikes.strike("a", 81.0)] == [False, True]


def test_given_more_peers_than_it_remembers_then_the_oldest_are_forgotten_and_the_busiest_are_not() -> None:
    strikes = Strikes(3, peers_max=10)
    strikes.strike("constant", 0.0)
    for number in range(9):
        strikes.strike(number, 0.0)
    strikes.strike("constant", 1.0)
    for number in range(9, 18):
        strikes.strike(number, 1.0)
    assert strikes.strike("constant", 2.0)
    assert not strikes.strike(0, 2.0)
    for number in range(100):
        for _ in range(3):
            strikes.strike(("cut", number), 3.0)
    assert sum(strikes.is_cut(("cut", number), 3.0) for number in range(100)) == 10
