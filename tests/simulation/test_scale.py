"""Thousands of controllers, and a flood of no-ops, in one process."""

import random

import pytest

from tests.simulation.settings import Settings, Work, draw
from tests.simulation.world import World

pytestmark = pytest.mark.slow

NO_OP = (1.0, "sim:NoOp", None, 0.000001, 0.000002)


def settings_with(work: Work, controllers: int, workers_max: int) -> Settings:
    settings = draw(random.Random(1), False)
    settings.work, settings.controllers, settings.workers_max = work, controllers, workers_max
    settings.latency_s, settings.turn_s = (0.0005, 0.005), 0.001
    settings.worker_max_tasks, settings.master_stops_at, settings.check_every = 0, None, 200
    settings.durable, settings.master_dies_at = True, []
    settings.window_tasks, settings.ahead_bytes_max = 32768, 4 << 20
    settings.page_tasks, settings.load_below, settings.load_blocks = 65536, 16384, 8
    return settings


@pytest.mark.timeout(300)
def test_given_three_thousand_controllers_then_every_task_ends_once_and_work_is_spread() -> None:
    work = Work(6000, 500, 0.0, classes=[(1.0, "sim:Medium", None, 0.5, 1.5)])
    settings = settings_with(work, 3000, 1)
    settings.heartbeat_s = 2.0
    world = World(1, faulty=False, settings=settings).run()
    assert len(world.ledger.recorded) == 6000
    assert len({number for number, *_ in world.ledger.controllers.accepted_by}) >= 3000


def test_given_a_flood_of_no_ops_then_they_travel_in_batches_without_a_double() -> None:
    work = Work(40_000, 1000, 0.0, classes=[NO_OP])
    world = World(2, faulty=False, settings=settings_with(work, 3, 2)).run()
    assert len(world.ledger.recorded) == 40_000
    # With a message per task there would be 120,000.
    assert world.network.messages < 4000, f"{world.network.messages} messages"
