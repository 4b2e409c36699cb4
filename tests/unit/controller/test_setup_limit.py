"""A task that is still being prepared: which limit counts, what becomes of it beyond that, and when the agent looks."""

import pytest

from cyclone.controller.actions import EndTask
from cyclone.controller.outbox import GATHER_LAST_S
from cyclone.controller.watch import LOOK_AT_LIMITS_S
from cyclone.protocol.messages import ErrorRecord, Job, ResultBatch, Results
from cyclone.protocol.states import SETUP_FAILED, TIMED_OUT
from cyclone.results import error_columns
from tests.support.controllers import EPOCH, Node, sent
from tests.unit.controller.conftest import NewNode


def ended(status: int, error: ErrorRecord) -> ResultBatch:
    """The result of the first task."""
    return ResultBatch(1, EPOCH, 1, bytes([status]), error_columns(error))


def results(node: Node) -> list[ResultBatch]:
    return [batch for one in sent(node.advance(GATHER_LAST_S)) if isinstance(one, Results) for batch in one.batches]


@pytest.mark.parametrize(
    ("setup_limit_s", "preparing_s", "is_ended"),
    [
        pytest.param(0.0, 1e6, False, id="no limit at all"),
        pytest.param(60.0, 59.0, False, id="within it, and beyond that of the task"),
        pytest.param(60.0, 61.0, True, id="beyond it"),
    ],
)
@pytest.mark.parametrize("limit_s", [0.0, 2.0])
def test_given_a_task_in_preparation_then_only_the_limit_of_that_counts(
    new_node: NewNode, limit_s: float, setup_limit_s: float, preparing_s: float, is_ended: bool
) -> None:
    node = new_node(worker_count=1, setup_limit_s=setup_limit_s)
    node.open()
    node.lease(1, 1, limit_s)
    node.advance()
    node.executing(0, 1, preparing_s, preparing=True)
    over = EndTask(0, 1, node.now - preparing_s)
    assert [one for one in node.advance() if isinstance(one, EndTask)] == [over] * is_ended


@pytest.mark.parametrize(
    ("limit_s", "within_s"),
    [
        pytest.param(0.5, LOOK_AT_LIMITS_S, id="it may end at any moment, and the clock of the task begin"),
        pytest.param(0.0, 1.01, id="where the task has no limit, that of the preparation is all"),
    ],
)
def test_given_a_task_in_preparation_then_the_agent_wakes_for_its_limits(
    new_node: NewNode, limit_s: float, within_s: float
) -> None:
    node = new_node(worker_count=1, setup_limit_s=60.0)
    node.open()
    node.lease(1, 1, limit_s)
    node.advance()
    node.executing(0, 1, 1.0, preparing=True)
    node.advance()
    assert node.agent.crew.watch.at is not None
    assert node.agent.crew.watch.at <= node.now + within_s


@pytest.mark.parametrize(("retry_on", "retry"), [((), True), (("TaskTimedOut",), False), (("SetupTimedOut",), True)])
def test_given_a_preparation_beyond_its_limit_then_the_set_up_has_failed(
    new_node: NewNode, retry_on: tuple[str, ...], retry: bool
) -> None:
    node = new_node(worker_count=1, setup_limit_s=60.0)
    node.open()
    node.lease_of(Job(1, "tests:Task", 2.0, retry_on=retry_on), 1)
    node.advance()
    node.executing(0, 1, 61.0, preparing=True)
    assert EndTask(0, 1, node.now - 61.0) in node.advance()
    node.agent.task_ending(0, 1, node.now)
    node.agent.worker_exited(0, 1, True, "signal 15", node.now)
    text = "its preparation took longer than [processing] setup_limit, 60 s"
    expected = ended(SETUP_FAILED, ErrorRecord("SetupTimedOut", text, retry=retry))
    assert results(node) == [expected]


def test_given_a_task_that_exceeds_its_limit_after_its_preparation_nearly_did_then_it_is_timed_out(
    new_node: NewNode,
) -> None:
    node = new_node(worker_count=1, setup_limit_s=60.0)
    node.open()
    node.lease(1, 1, 2.0)
    node.advance()
    node.executing(0, 1, 61.0, preparing=True)
    # By the time that it was stopped it had begun: nobody is told that it ends.
    assert EndTask(0, 1, node.now - 61.0) in node.advance()
    node.executing(0, 1, 2.5)
    assert EndTask(0, 1, node.now - 2.5) in node.advance()
    node.agent.task_ending(0, 1, node.now)
    node.agent.worker_exited(0, 1, True, "signal 15", node.now)
    timed_out = ended(TIMED_OUT, ErrorRecord("TaskTimedOut", "exceeded its time limit of 2 s"))
    assert results(node) == [timed_out]
