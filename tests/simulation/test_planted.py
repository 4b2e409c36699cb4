"""The simulation is worth as much as the bugs that it finds: each planted one must fall within a few seeds."""

import pytest

from tests.simulation.planted import BUGS, Bug
from tests.simulation.planted_recovery import RECOVERY_BUGS
from tests.simulation.world import SimulationFailure, World

SEEDS_MAX = 60

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("bug", [pytest.param(bug, id=name) for name, bug in (BUGS | RECOVERY_BUGS).items()])
def test_given_a_planted_bug_then_a_seed_finds_it(bug: Bug) -> None:
    with bug():
        for seed in range(SEEDS_MAX):
            for faulty in (True, False):
                try:
                    World(seed, faulty=faulty).run()
                except SimulationFailure:
                    return
    pytest.fail(f"{SEEDS_MAX} seeds did not find it")
