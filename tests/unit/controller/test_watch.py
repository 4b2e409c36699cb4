"""The watch: when it interferes with a running task, and when it wants to look again. Times in seconds."""

import pytest

from cyclone.controller.actions import Action, EndTask, Flush, TakeBack
from cyclone.controller.watch import FLUSH_AFTER_S, LOOK_AT_LIMITS_S, TAKE_BACK_AFTER_S
from tests.support.controllers import Node
from tests.unit.controller.conftest import NewNode


def interventions(actions: list[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, EndTask | Flush | TakeBack)]


@pytest.mark.parametrize(
    ("limit_s", "default_s", "running_s", "expected"),
    [
        pytest.param(None, 0.0, 1e6, [], id="no limit at all"),
        pytest.param(None, 2.0, 1.9, [], id="within the controller's limit"),
        pytest.param(None, 2.0, 2.1, [EndTask(0, 1)], id="beyond the controller's limit"),
        pytest.param(5.0, 2.0, 4.9, [], id="its own limit counts"),
        pytest.param(5.0, 2.0, 5.1, [EndTask(0, 1)], id="beyond its own"),
        pytest.param(0.0, 2.0, 9.0, [], id="its own limit is none"),
    ],
)
def test_given_a_running_task_then_it_is_ended_beyond_its_limit(
    new_node: NewNode, limit_s: float | None, default_s: float, running_s: float, expected: list[Action]
) -> None:
    node = new_node(worker_count=1, task_time_limit_s=default_s)
    node.open()
    node.lease(1, 1, limit_s)
    node.advance()
    node.executing(0, 1, running_s)
    assert interventions(node.advance()) == expected


def test_given_a_time_limit_then_the_agent_wakes_for_it(new_node: NewNode) -> None:
    node = new_node(worker_count=1, task_time_limit_s=0.5)
    node.open()
    node.lease(1, 1)
    node.advance()
    node.executing(0, 1)
    node.advance()
    assert node.agent.deadline <= node.now + LOOK_AT_LIMITS_S


@pytest.mark.parametrize(
    ("seq", "running_s", "expected"),
    [
        pytest.param(1, 9.0, [], id="in the first row nothing is finished"),
        pytest.param(3, FLUSH_AFTER_S / 2, [], id="it will report soon by itself"),
        pytest.param(3, 2 * FLUSH_AFTER_S, [Flush(0)], id="two rows wait behind a long one"),
    ],
)
def test_given_a_long_task_then_what_was_finished_before_is_reported(
    new_node: NewNode, seq: int, running_s: float, expected: list[Action]
) -> None:
    node = new_node(worker_count=1)
    node.open()
    node.warm_up(0.001)
    node.lease(1, 4)
    node.advance()
    node.executing(0, seq, running_s)
    assert interventions(node.advance()) == expected
    assert interventions(node.advance()) == []


@pytest.mark.parametrize(
    ("mean_s", "running_s", "expected"),
    [
        pytest.param(0.0001, 0.0, [], id="the rest will be done sooner than a take-back"),
        pytest.param(0.001, 0.0, [TakeBack(0)], id="the rest takes longer"),
        pytest.param(0.0001, 2 * TAKE_BACK_AFTER_S, [TakeBack(0)], id="the rest waits behind a long task"),
    ],
)
def test_given_an_idle_worker_then_rows_are_taken_back_from_a_busy_one_when_it_pays(
    node: Node, mean_s: float, running_s: float, expected: list[Action]
) -> None:
    node.warm_up(mean_s)
    node.agent.worker_exited(1, 0, False, "", node.now)
    node.lease(1, 4)
    node.advance()
    node.agent.worker_ready(1, node.now)
    node.executing(0, 1, running_s)
    assert interventions(node.advance()) == expected
    assert interventions(node.advance()) == []
