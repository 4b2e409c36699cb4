"""The cost model: what follows from its constants, and that the page shows just that."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks.cost_model import PAGE, Cluster, Costs, load, table

SCALING = Path(__file__).parents[3] / "docs" / "scaling.md"


def test_given_the_page_then_its_table_is_the_one_that_is_printed() -> None:
    page = SCALING.read_text(encoding="utf-8").splitlines()
    missing = [line for line in table(PAGE, Costs()) if line not in page]
    assert not missing, "print it anew: python -m benchmarks.cost_model"


def test_given_the_page_then_it_names_each_constant_with_its_value() -> None:
    page = SCALING.read_text(encoding="utf-8")
    for name, value in dataclasses.asdict(Costs()).items():
        assert f"| `{name}` | {value:,} |" in page, name


@pytest.mark.parametrize(("controllers", "expected"), [(100, 100.0), (4000, 1000.0), (10_000, 10_000 / 9)])
def test_given_more_controllers_then_they_speak_more_seldom(controllers: int, expected: float) -> None:
    assert Cluster(controllers, 0.0, 1.0).heartbeats_per_s == pytest.approx(expected)


def test_given_larger_batches_then_a_message_is_paid_for_once() -> None:
    alone, together = (load(Cluster(100, 10_000.0, batch), Costs()) for batch in (1.0, 100.0))
    assert together.loop_share < alone.loop_share / 10
    assert together.heartbeat_share == alone.heartbeat_share


def test_given_a_journal_then_each_task_costs_more_and_each_message_the_same() -> None:
    costs, cluster = Costs(), Cluster(100, 1_000_000.0, 4096.0)
    more = load(cluster, costs).loop_share - load(cluster, costs, journalled=False).loop_share
    assert more == pytest.approx(costs.journal_task_us)
