"""The watch: when it interferes with a running task, and when it wants to look again. Times in seconds."""

import pytest

from cyclone.controller.actions import Action, EndTask, Flush, TakeBack
from cyclone.controller.handout import PREFETCH_S
from cyclone.controller.watch import (
    FLUSH_AFTER_S,
    HELD_UP_AFTER_S,
    LOOK_AT_LIMITS_S,
    STUCK_AFTER_S,
    TAKE_BACK_AFTER_S,
    UNUSUAL_MEANS,
    Progress,
)
from cyclone.protocol.messages import Returned
from cyclone.protocol.states import COMPLETED
from tests.support.controllers import Node, sent
from tests.unit.controller.conftest import NewNode


def interventions(actions: list[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, EndTask | Flush | TakeBack)]


@pytest.mark.parametrize(
    ("limit_s", "default_s", "running_s", "is_ended"),
    [
        pytest.param(None, 0.0, 1e6, False, id="no limit at all"),
        pytest.param(None, 2.0, 1.9, False, id="within the controller's limit"),
        pytest.param(None, 2.0, 2.1, True, id="beyond the controller's limit"),
        pytest.param(5.0, 2.0, 4.9, False, id="its own limit counts"),
        pytest.param(5.0, 2.0, 5.1, True, id="beyond its own"),
        pytest.param(0.0, 2.0, 9.0, False, id="its own limit is none"),
    ],
)
def test_given_a_running_task_then_it_is_ended_beyond_its_limit(
    new_node: NewNode, limit_s: float | None, default_s: float, running_s: float, is_ended: bool
) -> None:
    node = new_node(worker_count=1, task_time_limit_s=default_s, setup_limit_s=1.0)
    node.open()
    node.lease(1, 1, limit_s)
    node.advance()
    node.executing(0, 1, running_s)
    assert interventions(node.advance()) == [EndTask(0, 1, node.now - running_s)] * is_ended


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
        pytest.param(1, 2 * FLUSH_AFTER_S, [], id="in the first row nothing is finished"),
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


@pytest.mark.parametrize(
    ("mean_s", "rows", "running_s", "expected"),
    [
        pytest.param(0.001, 40, 0.9 * STUCK_AFTER_S, [], id="it may only wait for a processor"),
        pytest.param(0.001, 40, 1.1 * STUCK_AFTER_S, [TakeBack(0)], id="a long one among short ones"),
        pytest.param(0.001, 2, 1.1 * STUCK_AFTER_S, [], id="nothing waits behind it"),
        pytest.param(STUCK_AFTER_S, 40, 0.9 * UNUSUAL_MEANS * STUCK_AFTER_S, [], id="as long as others"),
        pytest.param(STUCK_AFTER_S, 40, 1.1 * UNUSUAL_MEANS * STUCK_AFTER_S, [TakeBack(0)], id="longer than others"),
    ],
)
def test_given_a_long_task_then_rows_behind_it_are_taken_back_although_nobody_idles(
    node: Node, mean_s: float, rows: int, running_s: float, expected: list[Action]
) -> None:
    node.warm_up(mean_s)
    node.lease(1, rows)
    node.advance()
    node.executing(0, 1, running_s)
    node.executing(1, 1)
    assert [action for action in node.advance() if isinstance(action, TakeBack)] == expected
    assert not [action for action in node.advance() if isinstance(action, TakeBack)]


def test_given_rows_behind_a_task_then_the_agent_wakes_when_it_is_long(node: Node) -> None:
    node.warm_up(0.001)
    node.lease(1, 40)
    node.advance()
    node.executing(0, 1, STUCK_AFTER_S / 2)
    node.executing(1, 1)
    node.advance()
    assert node.agent.deadline <= node.now + STUCK_AFTER_S / 2


class TestHeldUp:
    """Short tasks, and long ones among them."""

    MEAN_S = 0.001

    def hold_up(self, node: Node, *workers: int) -> list[Action]:
        """These workers are in their first row for long; what is taken back from them comes."""
        for slot in node.agent.crew.slots:
            node.executing(slot.worker, 1, 2 * HELD_UP_AFTER_S if slot.worker in workers else 0.0)
        actions = node.advance()
        for action in actions:
            if isinstance(action, TakeBack):
                actions += node.agent.taken_back(action.worker, 1, node.now)
        return actions + node.advance()

    def returned(self, actions: list[Action]) -> int:
        """How many tasks go back to the master."""
        answers = [message for message in sent(actions) if isinstance(message, Returned)]
        return sum(part.count for answer in answers for part in answer.ranges)

    def test_given_a_lonely_worker_then_its_rows_stay_where_they_are(self, new_node: NewNode) -> None:
        node = new_node(worker_count=1)
        node.open()
        node.warm_up(self.MEAN_S)
        node.lease(1, 100)
        node.advance()
        assert not [action for action in self.hold_up(node, 0) if isinstance(action, TakeBack)]

    def test_given_all_workers_in_long_tasks_then_no_credit_is_granted_and_nothing_goes_round(self, node: Node) -> None:
        node.warm_up(self.MEAN_S)
        node.lease(1, 300)
        node.advance()
        granted = node.agent.link.granted
        assert self.returned(self.hold_up(node, 0, 1)) == 0
        assert node.agent.link.granted == granted
        assert node.agent.crew.room() < 0

    def test_given_one_of_two_then_there_is_room_for_the_other_one_only(self, node: Node) -> None:
        node.warm_up(self.MEAN_S)
        node.lease(1, 100)
        node.advance()
        self.hold_up(node, 0)
        assert node.agent.crew.room() == 1 + int(PREFETCH_S / self.MEAN_S) - 100

    def test_given_its_end_then_there_is_credit_again(self, node: Node) -> None:
        node.warm_up(self.MEAN_S)
        node.lease(1, 300)
        node.advance()
        self.hold_up(node, 0, 1)
        for slot in node.agent.crew.slots:
            node.progress[slot.worker] = Progress(1, node.now, executing=False)
            node.done(slot.worker, 1, COMPLETED)
        node.advance()
        assert node.agent.crew.room() > 2
