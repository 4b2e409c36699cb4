"""The simulation of a master that takes time agrees with the closed model. ``make sim-scale`` does it with 10,000."""

import pytest

from tests.simulation.scale import AGREE_WITHIN, compare

pytestmark = pytest.mark.slow


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("controllers", "tasks_per_s"), [(300, 30.0), (1500, 1000.0)])
def test_given_controllers_then_load_and_latency_are_what_the_model_says(controllers: int, tasks_per_s: float) -> None:
    for name, simulated, predicted in compare(controllers, tasks_per_s, 5.0):
        assert simulated == pytest.approx(predicted, rel=AGREE_WITHIN), name
