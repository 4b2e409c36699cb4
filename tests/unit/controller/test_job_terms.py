"""What a job asks of the slots, as tables: the rests after its tasks, several slots for one, time limits of single
tasks, what it is told as its slot; and what the master hears of what runs."""

import pytest

from cyclone.controller.actions import Action, EndTask, Execute, Exit, TakeBack
from cyclone.controller.crew import SPARE_AFTER_S
from cyclone.controller.outbox import GATHER_LAST_S
from cyclone.controller.watch import Progress
from cyclone.protocol.messages import Hello, Job, ResultBatch, Results, Returned, State
from cyclone.protocol.states import COMPLETED, CRASHED, FAILED, SETUP_FAILED
from tests.support.controllers import Node, executed, sent, tasks
from tests.unit.controller.conftest import NewNode

RESTING = Job(3, "tests:Task", waits=(1.0, 2.0, 3.0))
PLAIN = Job(1, "tests:Task")


def wide(cpus: int) -> Job:
    return Job(10 + cpus, "tests:Task", cpus=cpus)


def states(actions: list[Action]) -> list[State]:
    return [message for message in sent(actions) if isinstance(message, State)]


def places(actions: list[Action]) -> list[tuple[int, int]]:
    """``(worker, place)`` of the batches that went to workers."""
    return [(action.worker, action.place) for action in actions if isinstance(action, Execute)]


class TestPlaces:
    """What a task is told as its slot: from it users derive which GPU is theirs."""

    @pytest.fixture
    def spared(self, new_node: NewNode) -> Node:
        """Two workers and a spare one, all of them ready."""
        node = new_node(spare_workers=1)
        node.open()
        node.advance()
        node.advance(by_s=SPARE_AFTER_S)
        node.agent.worker_ready(2, node.now)
        return node

    def test_given_workers_then_each_has_the_place_of_its_number(self, node: Node) -> None:
        node.lease_of(PLAIN, 1, 4)
        assert places(node.advance()) == [(0, 0), (1, 1)]
        node.done(1, 1, COMPLETED)
        assert places(node.advance()) == [(1, 1)]

    def test_given_a_worker_that_dies_then_the_spare_one_has_its_place_until_it_is_idle(self, spared: Node) -> None:
        spared.lease_of(PLAIN, 1, 5)
        assert places(spared.advance()) == [(0, 0), (1, 1)]
        spared.agent.worker_exited(0, 1, True, "signal 9", spared.now)
        assert places(spared.advance()) == [(2, 0)]
        spared.agent.worker_ready(0, spared.now)
        spared.done(1, 1, COMPLETED)
        assert places(spared.advance()) == [(0, 1)], "not that of the spare one, which is busy"
        spared.lease_of(PLAIN, 10)
        spared.done(2, 1, COMPLETED)
        assert places(spared.advance()) == [(1, 0)], "its own is taken by now"

    def test_given_a_slot_at_rest_then_its_place_rests_too(self, spared: Node) -> None:
        spared.lease_of(RESTING, 1)
        assert places(spared.advance()) == [(0, 0)]
        spared.agent.worker_exited(0, 1, True, "signal 9", spared.now)
        spared.lease_of(PLAIN, 10, 2)
        assert places(spared.advance()) == [(1, 1)]
        assert places(spared.advance(4.0)) == [(2, 0)]


class TestRests:
    def test_given_a_job_with_rests_then_its_rows_go_one_by_one_whatever_their_pace(self, node: Node) -> None:
        node.warm_up(0.0001)
        node.lease_of(RESTING, 1, 10)
        assert executed(node.advance()) == [(0, 1, 1, 1), (1, 1, 2, 1)]
        assert executed(node.advance(0.1)) == []

    @pytest.mark.parametrize(("status", "rest_s"), [(COMPLETED, 1.0), (SETUP_FAILED, 2.0), (FAILED, 3.0)])
    def test_given_an_outcome_then_its_slot_rests_so_long_while_the_result_goes_at_once(
        self, node: Node, status: int, rest_s: float
    ) -> None:
        node.lease_of(RESTING, 1, 4)
        node.advance()
        node.done(0, 1, status)
        actions = node.advance(0.1)
        assert executed(actions) == []
        assert [message.batches for message in sent(actions) if isinstance(message, Results)] != []
        assert (node.agent.crew.busy, node.agent.crew.resting) == (2, 1)
        assert node.agent.deadline <= node.now + rest_s
        assert executed(node.advance(rest_s - 0.2)) == []
        assert executed(node.advance(0.2)) == [(0, 2, 3, 1)]
        assert node.agent.crew.resting == 0

    def test_given_slots_at_rest_then_the_master_is_told_how_many_these_are(self, node: Node) -> None:
        node.lease_of(RESTING, 1, 2)
        node.advance()
        node.done(0, 1, FAILED)
        for passed_s, busy, resting in ((1.0, 2, 1), (3.0, 1, 0)):
            [told] = [message for message in sent(node.advance(passed_s)) if isinstance(message, State)]
            assert (told.busy, told.resting) == (busy, resting)

    def test_given_a_slot_at_rest_then_rows_of_other_jobs_do_not_come_to_it_either(self, node: Node) -> None:
        node.lease_of(RESTING, 1)
        node.advance()
        node.done(0, 1, COMPLETED)
        node.lease_of(PLAIN, 10, 3)
        assert executed(node.advance()) == [(1, 1, 10, 1)]
        assert executed(node.advance(1.0)) == [(0, 2, 11, 1)]

    def test_given_a_slot_at_rest_then_rows_are_not_taken_back_on_its_behalf(self, new_node: NewNode) -> None:
        node = new_node(worker_count=3)
        node.open()
        node.lease_of(RESTING, 1)
        node.advance()
        node.done(0, 1, COMPLETED)
        node.agent.worker_exited(2, 0, False, "", node.now)
        node.advance()
        for _ in range(40):
            node.warm_up(0.001)
        node.lease_of(PLAIN, 10, 40)
        assert [(worker, rows > 1) for worker, _, _, rows in executed(node.advance())] == [(1, True)]
        node.agent.crew.queue.clear()
        node.executing(1, 1, 0.01)
        assert not [action for action in node.advance() if isinstance(action, TakeBack)]
        assert [action for action in node.advance(1.0) if isinstance(action, TakeBack)] == [TakeBack(1)]

    def test_given_a_slot_at_rest_then_no_credit_is_granted_for_it(self, node: Node) -> None:
        node.lease_of(RESTING, 1)
        node.advance()
        node.done(0, 1, COMPLETED)
        assert node.agent.crew.room() == 1
        node.agent.worker_exited(1, 0, False, "", node.now)
        assert node.agent.crew.room() == 0
        node.agent.worker_ready(1, node.now)
        node.advance(1.0)
        node.agent.worker_ready(1, node.now)
        assert node.agent.crew.room() == 2

    def test_given_a_rest_then_the_agent_wakes_at_its_end(self, node: Node) -> None:
        node.lease_of(Job(4, "tests:Task", waits=(0.25, 0.0, 0.0)), 1)
        node.advance()
        node.done(0, 1, COMPLETED)
        node.advance()
        assert node.now < node.agent.deadline <= node.now + 0.25

    def test_given_rests_then_they_count_as_work_of_which_a_worker_needs_no_more(self, node: Node) -> None:
        """Or a controller would gather hundreds of tasks of a millisecond, each with a second of rest behind it."""
        node.lease_of(RESTING, 1)
        node.advance()
        node.done(0, 1, COMPLETED)
        assert node.agent.crew.pace.overall_s == pytest.approx(1.001)

    def test_given_a_worker_that_died_in_the_task_then_its_slot_rests_too(self, new_node: NewNode) -> None:
        node = new_node(worker_count=1)
        node.open()
        node.lease_of(RESTING, 1, 2)
        node.advance()
        node.agent.worker_exited(0, 1, True, "killed by SIGSEGV", node.now)
        node.advance()
        node.agent.worker_ready(0, node.now)
        assert executed(node.advance(2.9)) == []
        assert executed(node.advance(0.2)) == [(0, 1, 2, 1)]

    def test_given_a_spare_worker_then_it_does_not_take_the_place_of_one_at_rest(self, new_node: NewNode) -> None:
        node = new_node(worker_count=1, spare_workers=1)
        node.open()
        node.lease_of(RESTING, 1, 2)
        assert len(executed(node.advance())) == 1
        node.done(0, 1, COMPLETED)
        assert executed(node.advance(0.5)) == []
        assert len(executed(node.advance(0.6))) == 1

    def test_given_a_stop_then_nobody_waits_for_a_rest(self, node: Node) -> None:
        node.lease_of(RESTING, 1)
        node.advance()
        node.done(0, 1, FAILED)
        node.advance()
        node.recorded(1)
        node.agent.stop(node.now)
        assert [action.code for action in node.advance() if isinstance(action, Exit)] == [0]


class TestSeveralSlots:
    @pytest.fixture
    def node(self, new_node: NewNode) -> Node:
        """Four workers, and plain tasks that take a while."""
        node = new_node(worker_count=4)
        node.open()
        node.warm_up(10.0)
        return node

    def test_given_a_task_of_three_slots_then_one_is_left_for_others(self, node: Node) -> None:
        node.lease_of(wide(3), 1)
        node.lease_of(PLAIN, 2, 2)
        assert executed(node.advance()) == [(0, 1, 1, 1), (1, 1, 2, 1)]
        assert node.agent.crew.busy == 4
        node.done(0, 1, COMPLETED)
        assert node.agent.crew.busy == 1
        assert executed(node.advance()) == [(0, 2, 3, 1)]

    def test_given_too_few_free_slots_then_it_waits_at_the_head_and_nothing_passes_it(self, node: Node) -> None:
        node.lease_of(PLAIN, 1, 3)
        node.advance()
        node.lease_of(wide(3), 4)
        node.lease_of(PLAIN, 5, 9)
        assert executed(node.advance()) == []
        node.done(0, 1, COMPLETED)
        assert executed(node.advance()) == []
        node.done(1, 1, COMPLETED)
        assert executed(node.advance()) == [(0, 2, 4, 1)]
        node.done(2, 1, COMPLETED)
        assert executed(node.advance()) == [(1, 2, 5, 1)]

    def test_given_short_tasks_then_no_second_batch_goes_past_it_nor_behind_it(self, new_node: NewNode) -> None:
        node = new_node(worker_count=4)
        node.open()
        node.warm_up(0.001)
        node.lease_of(PLAIN, 1, 40)
        node.advance()
        node.lease_of(wide(2), 41, 9)
        node.executing(0, 1)
        assert executed(node.advance(0.01)) == []
        for worker in (0, 1):
            node.done(worker, 1, *[COMPLETED] * 10)
        assert [(worker, first) for worker, _, first, _ in executed(node.advance())] == [(0, 41)]
        assert executed(node.advance(0.05)) == []

    def test_given_its_slots_then_nothing_is_held_behind_it_nor_taken_back_for_those_that_stay_idle(
        self, new_node: NewNode
    ) -> None:
        node = new_node(worker_count=4)
        node.open()
        node.warm_up(0.001)
        node.lease_of(wide(3), 1)
        node.advance()
        node.lease_of(PLAIN, 2, 100)
        assert [worker for worker, *_ in executed(node.advance())] == [1]
        node.agent.crew.queue.clear()
        node.executing(0, 1, 0.01)
        node.executing(1, 1, 0.01)
        assert not [action for action in node.advance() if isinstance(action, TakeBack)]

    @pytest.mark.parametrize("cpus", [4, 5, 4096])
    def test_given_all_slots_or_more_than_there_are_then_it_runs_alone(self, node: Node, cpus: int) -> None:
        node.lease_of(PLAIN, 1)
        node.advance()
        node.lease_of(wide(cpus), 2)
        assert executed(node.advance()) == []
        node.done(0, 1, COMPLETED)
        assert executed(node.advance()) == [(0, 2, 2, 1)]
        assert node.agent.crew.busy == 4
        assert node.agent.crew.room() == 0

    def test_given_its_worker_dies_then_its_slots_are_free(self, node: Node) -> None:
        node.lease_of(wide(4), 1)
        node.lease_of(PLAIN, 2, 3)
        node.advance()
        node.agent.worker_exited(0, 1, True, "killed by SIGKILL", node.now)
        assert [first for _, _, first, _ in executed(node.advance())] == [2, 3, 4]

    def test_given_a_rest_after_it_then_all_its_slots_rest(self, node: Node) -> None:
        node.lease_of(Job(20, "tests:Task", cpus=3, waits=(1.0, 0.0, 0.0)), 1)
        node.lease_of(PLAIN, 2, 4)
        node.advance()
        node.done(0, 1, COMPLETED)
        assert executed(node.advance()) == []
        assert (node.agent.crew.busy, node.agent.crew.resting) == (4, 3)
        assert len(executed(node.advance(1.0))) == 3

    def test_given_a_stop_then_what_waits_for_slots_goes_back(self, node: Node) -> None:
        node.lease_of(PLAIN, 1)
        node.advance()
        node.lease_of(wide(4), 2)
        returned = [message for message in sent(node.agent.stop(node.now)) if isinstance(message, Returned)]
        assert [message.ranges for message in returned] == [[tasks(2)]]


@pytest.mark.parametrize(
    ("row", "running_s", "ended"),
    [
        pytest.param(1, 6.0, True, id="of the job"),
        pytest.param(2, 6.0, False, id="longer than that of the job"),
        pytest.param(2, 11.0, True, id="exceeded, too"),
        pytest.param(3, 1e6, False, id="none"),
        pytest.param(4, 2.0, True, id="shorter than that of the job"),
    ],
)
def test_given_time_limits_of_single_tasks_then_each_has_its_own(
    new_node: NewNode, row: int, running_s: float, ended: bool
) -> None:
    node = new_node(worker_count=1)
    node.open()
    node.warm_up(0.001)
    limited = Job(1, "tests:Task", 5.0)
    node.lease_of(limited, 1, 2, limits_s=[(1, 10.0)])
    node.lease_of(limited, 3, 2, limits_s=[(0, 0.0), (1, 1.0)])
    ((_, _, _, rows),) = executed(node.advance())
    assert rows == 4
    node.executing(0, row, running_s)
    over = EndTask(0, row, node.now - running_s)
    assert [action for action in node.advance() if isinstance(action, EndTask)] == [over] * ended


def test_given_a_task_over_its_own_limit_then_its_error_names_that(new_node: NewNode) -> None:
    node = new_node(worker_count=1)
    node.open()
    node.lease_of(Job(1, "tests:Task", 5.0), 1, limits_s=[(0, 0.25)])
    node.advance()
    node.executing(0, 1, 0.5)
    node.advance()
    node.agent.task_ending(0, 1, node.now)
    node.agent.worker_exited(0, 1, True, "ended", node.now)
    (message,) = [message for message in sent(node.advance(GATHER_LAST_S)) if isinstance(message, Results)]
    assert b"exceeded its time limit of 0.25 s" in message.batches[0].body


class TestWhatTheMasterHears:
    def test_given_workers_in_rows_then_a_heartbeat_names_their_tasks(self, node: Node) -> None:
        node.warm_up(0.001)
        node.lease(1, 8)
        node.advance()
        node.executing(0, 2)
        node.executing(1, 1)
        (state,) = states(node.advance(1.0))
        assert state.held == [tasks(1, 8)]
        second = node.agent.crew.slots[1].batches[0].piece.first
        assert state.running == sorted([tasks(2), tasks(second)], key=lambda part: part.first)

    def test_given_workers_between_rows_then_nothing_runs(self, node: Node) -> None:
        node.lease(1, 1)
        node.advance()
        node.progress[0] = Progress(1, node.now, executing=False)
        (state,) = states(node.advance(1.0))
        assert (state.held, state.running) == ([tasks(1)], [])

    def test_given_a_report_then_the_result_says_how_long_the_worker_was_busy(self, node: Node) -> None:
        node.warm_up(0.001)
        node.lease(1, 4)
        node.advance()
        node.done(0, 1, COMPLETED, COMPLETED)
        (batch,) = (batch for batch in batches_of(node) if batch.first == 1)
        assert batch.busy_s == pytest.approx(0.002)

    def test_given_a_job_that_was_forgotten_then_the_agent_greets_to_be_told_again(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cyclone.controller.job_book.JOBS_MAX", 2)
        for first, job_id in enumerate((5, 6, 7), 1):
            node.lease_of(Job(job_id, "tests:Task"), first)
            node.advance()
            node.done(0, node.agent.crew.slots[0].next_seq - 1, COMPLETED)
        assert 5 not in node.agent.crew.jobs
        node.lease_of(Job(5, "tests:Task"), 9, announced=False)
        assert [message for message in sent(node.advance()) if isinstance(message, Hello)]


def batches_of(node: Node) -> list[ResultBatch]:
    node.done(1, 1, CRASHED)
    return [batch for message in sent(node.advance()) if isinstance(message, Results) for batch in message.batches]
