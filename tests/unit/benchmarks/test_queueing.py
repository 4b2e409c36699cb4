"""The closed model of the master's loop, against what is known of such servers, and against a plain simulation."""

import random

import pytest

from benchmarks.queueing import Loop


def simulated(loop: Loop, seconds: float) -> tuple[float, list[float]]:
    """The load, and the waits of messages of the second kind, by playing it through."""
    rng, now, busy_s, waits = random.Random(1), 0.0, 0.0, list[float]()
    coming = [rng.expovariate(loop.first_per_s), rng.expovariate(loop.second_per_s)]
    while now < seconds:
        now = max(now, min(coming))
        taken: list[list[float]] = [[], []]
        for kind, rate in enumerate((loop.first_per_s, loop.second_per_s)):
            while coming[kind] <= now:
                taken[kind].append(coming[kind])
                coming[kind] += rng.expovariate(rate)
        length_s = loop.length_s((len(taken[0]), len(taken[1])))
        now += length_s
        busy_s += length_s
        waits += [now - at for at in taken[1]]
    return busy_s / now, sorted(waits)


def test_given_next_to_no_load_then_a_message_waits_for_its_own_turn_alone() -> None:
    loop = Loop(0.001, 0.002, 0.004, 0.01, 0.01)
    assert loop.wait_s(0.5) == pytest.approx(0.005)
    assert loop.utilisation == pytest.approx(0.01 * (0.003 + 0.005), rel=0.01)


def test_given_turns_that_cost_nothing_then_the_load_is_what_the_messages_take() -> None:
    loop = Loop(0.0, 0.001, 0.002, 100.0, 150.0)
    assert loop.utilisation == pytest.approx(100 * 0.001 + 150 * 0.002, rel=0.01)


@pytest.mark.parametrize("second_per_s", [500.0, 2500.0])
def test_given_a_load_then_the_model_agrees_with_a_simulation(second_per_s: float) -> None:
    loop = Loop(12e-6, 38e-6, 120e-6, 1667.0, second_per_s)
    load, waits = simulated(loop, 3.0)
    assert loop.utilisation == pytest.approx(load, rel=0.05)
    for quantile in (0.5, 0.9, 0.99):
        assert loop.wait_s(quantile) == pytest.approx(waits[int(len(waits) * quantile)], rel=0.1)
