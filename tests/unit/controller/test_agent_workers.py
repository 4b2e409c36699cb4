"""The agent and its workers: results, deaths, rows taken back, the end, as tables."""

import pytest

from cyclone.controller.actions import (
    EndTask,
    Execute,
    KillWorker,
    RetireWorker,
    Say,
    Send,
    StartWorker,
    TakeBack,
)
from cyclone.controller.crew import LOOK_APART_S, SPARE_AFTER_S, START_WAIT_MAX_S
from cyclone.controller.handout import BATCH_S, SHARED_S
from cyclone.controller.outbox import GATHER_LAST_S, GATHER_S, RESEND_S
from cyclone.controller.slots import Phase
from cyclone.controller.watch import LOOK_S, TAKE_BACK_AFTER_S, Progress
from cyclone.protocol.messages import (
    ErrorRecord,
    Job,
    Recall,
    ResultBatch,
    Results,
    Returned,
    TaskBatch,
    TaskRange,
    Tasks,
)
from cyclone.protocol.states import COMPLETED, CRASHED, FAILED, TIMED_OUT
from cyclone.results import error_columns
from tests.support.controllers import BODY, EPOCH, Node, executed, sent, tasks
from tests.unit.controller.conftest import NewNode

JOB = Job(1, "tests:Task", None)


def result(first: int, *statuses: int) -> ResultBatch:
    """Of rows that took 1 ms each."""
    return ResultBatch(first, EPOCH, 1, bytes(statuses), BODY, 0.001 * len(statuses))


def died(first: int, status: int, kind: str, text: str) -> ResultBatch:
    return ResultBatch(first, EPOCH, 1, bytes([status]), error_columns(ErrorRecord(kind, text)))


def held(node: Node) -> list[TaskRange]:
    return node.agent.held()


class TestResults:
    def test_given_outcomes_with_nothing_left_to_hand_out_then_they_go_at_once(self, node: Node) -> None:
        node.lease(1, 2)
        node.advance()
        node.done(0, 1, COMPLETED)
        node.done(1, 1, FAILED)
        (message,) = [one for one in sent(node.advance()) if isinstance(one, Results)]
        assert (message.number, message.batches) == (1, [result(1, COMPLETED), result(2, FAILED)])
        assert held(node) == [tasks(1, 2)]
        node.recorded(1)
        assert held(node) == []

    @pytest.mark.parametrize(
        ("leased", "done", "wait_s"),
        [
            pytest.param(2, [0, 1], 0.0, id="a worker has nothing to do, the master may be waiting for this"),
            pytest.param(3, [0], GATHER_LAST_S, id="the workers have the last tasks"),
            pytest.param(4, [0], GATHER_S, id="there is more to hand out"),
        ],
    )
    def test_given_results_then_they_are_gathered_as_long_as_nobody_waits(
        self, node: Node, leased: int, done: list[int], wait_s: float
    ) -> None:
        node.warm_up(1.0)
        node.lease(1, leased)
        node.advance()
        for worker in done:
            node.done(worker, 1, COMPLETED)
        assert ([one for one in sent(node.advance()) if isinstance(one, Results)] != []) == (wait_s == 0.0)
        if wait_s:
            assert node.now < node.agent.deadline <= node.now + wait_s
            assert [len(one.batches) for one in sent(node.advance(wait_s)) if isinstance(one, Results)] == [1]

    def test_given_no_answer_then_results_are_sent_again_under_the_same_number(self, node: Node) -> None:
        node.lease(1, 1)
        node.advance()
        node.done(0, 1, COMPLETED)
        node.advance()
        node.pong()
        again = [one for one in sent(node.advance(RESEND_S)) if isinstance(one, Results)]
        assert [(one.number, one.batches) for one in again] == [(1, [result(1, COMPLETED)])]

    def test_given_a_report_in_parts_then_each_part_is_a_result(self, node: Node) -> None:
        node.warm_up(BATCH_S / 4)
        node.lease(1, 6)
        node.advance()
        node.done(0, 1, COMPLETED, ended=False)
        assert held(node) == [tasks(1, 6)]
        assert node.agent.crew.slots[0].unreported == 2
        node.done(0, 2, COMPLETED, ended=False)
        assert node.agent.crew.slots[0].unreported == 1
        assert held(node) == [tasks(1, 6)]

    @pytest.mark.parametrize(
        ("base", "rows"), [(2, 1), (0, 1), (1, 3)], ids=["not the first row", "before the first", "too many rows"]
    )
    def test_given_a_report_that_does_not_fit_then_the_worker_is_killed_and_nothing_counts(
        self, node: Node, base: int, rows: int
    ) -> None:
        node.lease(1, 2)
        node.advance()
        assert node.done(0, base, *[COMPLETED] * rows) == [
            Say("warning", "worker=0 reported rows that it was not given: killed"),
            KillWorker(0),
        ]
        assert not node.agent.outbox

    def test_given_rows_that_met_the_limit_then_an_ended_batch_without_them_gives_them_back(self, node: Node) -> None:
        node.warm_up(BATCH_S / 4)
        node.lease(1, 4)
        node.advance()
        assert sent(node.done(0, 1, COMPLETED)) == [Returned(5, node.agent.link.granted, [tasks(2)])]


class TestTheEndOfAWorker:
    @pytest.fixture
    def node(self, new_node: NewNode) -> Node:
        """One worker with the tasks 1 to 4 in one batch; 5 and 6 are queued."""
        node = new_node(worker_count=1)
        node.open()
        node.warm_up(BATCH_S / 4)
        node.lease(1, 4)
        assert executed(node.advance()) == [(0, 1, 1, 4)]
        node.agent.crew.slots[0].taking_back = True
        node.lease(5, 2)
        node.advance()
        return node

    @pytest.mark.parametrize(
        ("reported", "seq", "executing", "crashed", "returned", "queued"),
        [
            pytest.param(0, 1, True, 1, [], [2, 3, 4, 5, 6], id="in its first row"),
            pytest.param(0, 3, True, 3, [tasks(1, 2)], [4, 5, 6], id="in its third, with two that nobody heard of"),
            pytest.param(2, 3, True, 3, [], [4, 5, 6], id="in its third, with two reported"),
            pytest.param(2, 3, False, None, [tasks(3)], [4, 5, 6], id="behind its third"),
            pytest.param(0, 0, False, None, [], [1, 2, 3, 4, 5, 6], id="before its first"),
        ],
    )
    def test_given_its_death_then_only_the_task_it_was_in_is_charged(
        self,
        node: Node,
        reported: int,
        seq: int,
        executing: bool,
        crashed: int | None,
        returned: list[TaskRange],
        queued: list[int],
    ) -> None:
        if reported:
            node.done(0, 1, *[COMPLETED] * reported, ended=False)
            node.advance(GATHER_S)
            node.recorded(1)
        actions = node.agent.worker_exited(0, seq, executing, "signal 11", node.now)
        assert [part for one in sent(actions) if isinstance(one, Returned) for part in one.ranges] == returned
        waiting = [piece.first + row for piece in node.agent.crew.queue for row in range(len(piece))]
        assert waiting == queued
        results = [one.batches for one in sent(node.advance(GATHER_S)) if isinstance(one, Results)]
        expected = died(crashed, CRASHED, "WorkerDied", "signal 11") if crashed else None
        assert results == ([[expected]] if expected else [])

    def test_given_its_death_then_another_takes_its_place_with_jobs_and_rows_from_the_start(self, node: Node) -> None:
        node.agent.worker_exited(0, 1, True, "signal 11", node.now)
        assert StartWorker(0) in node.advance()
        node.agent.worker_ready(0, node.now)
        actions = node.advance()
        assert executed(actions)[0] == (0, 1, 2, 3)
        assert next(action.jobs for action in actions if isinstance(action, Execute)) == [JOB]

    def test_given_a_time_limit_then_the_task_is_timed_out_and_the_rest_stays(self, node: Node) -> None:
        node.handle(Tasks(5, 9, 6, [Job(1, "tests:Task", 2.0)], [TaskBatch(90, 1, [(1, 1)], [b"\x90"])]))
        node.executing(0, 2, 2.5)
        assert EndTask(0, 2, node.now - 2.5) in node.advance()
        node.agent.task_ending(0, 2, node.now)
        assert node.agent.crew.slots[0].phase is Phase.ENDING
        assert KillWorker(0) not in node.advance(4.9)
        assert KillWorker(0) in node.advance(0.2)
        node.agent.worker_exited(0, 2, True, "signal 9", node.now)
        timed_out = died(2, TIMED_OUT, "TaskTimedOut", "exceeded its time limit of 2 s")
        assert [one.batches for one in sent(node.advance(GATHER_S)) if isinstance(one, Results)] == [[timed_out]]

    def test_given_a_worker_that_is_being_ended_when_it_says_ready_then_it_gets_nothing(self, node: Node) -> None:
        node.executing(0, 2, 0.0)
        node.agent.task_ending(0, 2, node.now)
        node.agent.worker_ready(0, node.now)
        assert node.agent.crew.slots[0].phase is Phase.ENDING

    def test_given_workers_that_cannot_start_then_the_waits_grow_up_to_a_bound(self, new_node: NewNode) -> None:
        node = new_node(worker_count=1)
        waits = []
        for _ in range(1100):
            node.advance(START_WAIT_MAX_S)
            node.agent.worker_exited(0, 0, False, "exit code 1", node.now)
            waits.append(node.agent.crew.slots[0].start_at - node.now)
        assert waits[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
        assert waits[-1] == pytest.approx(START_WAIT_MAX_S)

    def test_given_a_worn_worker_then_it_is_replaced_between_batches(self, new_node: NewNode) -> None:
        node = new_node(worker_count=1, worker_max_tasks=2)
        node.open()
        node.lease(1, 1)
        node.advance()
        node.done(0, 1, COMPLETED)
        node.lease(2, 1)
        assert executed(node.advance()) == [(0, 2, 2, 1)]
        node.done(0, 2, COMPLETED)
        node.lease(3, 1)
        assert RetireWorker(0) in node.advance()
        node.agent.worker_exited(0, 2, False, "exit code 0", node.now)
        assert StartWorker(0) in node.advance()


class TestHandingOut:
    @pytest.mark.parametrize(
        ("mean_s", "leases", "batches"),
        [
            pytest.param(None, [9], [(0, 1), (1, 1)], id="nothing known: one each"),
            pytest.param(0.001, [9], [(0, 5), (1, 4)], id="all of it, in equal parts"),
            pytest.param(0.001, [400], [(0, 50), (1, 50)], id="no more than a batch has"),
            pytest.param(0.001, [4, 20], [(0, 2), (1, 2), (0, 10), (1, 10)], id="another batch, in equal parts"),
            pytest.param(SHARED_S / 8, [9], [(0, 8), (1, 1)], id="what is not worth to be shared"),
        ],
    )
    def test_given_tasks_then_all_workers_are_through_at_the_same_moment(
        self, node: Node, mean_s: float | None, leases: list[int], batches: list[tuple[int, int]]
    ) -> None:
        if mean_s:
            node.warm_up(mean_s)
        given = []
        for number, count in enumerate(leases):
            node.lease(1 + 1000 * number, count)
            given += executed(node.advance())
        assert [(worker, count) for worker, _, _, count in given] == batches

    def test_given_workers_with_much_and_with_little_then_the_rest_makes_up_for_it(self, node: Node) -> None:
        node.warm_up(0.001)
        node.lease(1, 16)
        node.advance()
        node.done(0, 1, *[COMPLETED] * 6, ended=False)
        node.executing(0, 7)
        node.executing(1, 1)
        node.lease(17, 8)
        # 2 and 8 rows are out, 8 wait: 9 for each.
        assert [(worker, count) for worker, _, _, count in executed(node.advance())] == [(0, 7), (1, 1)]

    def test_given_many_busy_workers_then_not_every_turn_looks_at_their_tasks(self, new_node: NewNode) -> None:
        node = new_node(worker_count=32)
        node.open()
        node.warm_up(0.001)
        node.lease(1, 32 * 100)
        node.advance()
        node.progress = Reads({worker: Progress(1, node.now, executing=True) for worker in range(32)})
        reads = []
        for later_s in (2 * LOOK_APART_S, LOOK_APART_S, LOOK_APART_S):
            node.progress.count = 0
            node.advance(later_s)
            reads.append(node.progress.count > 0)
        assert reads == [True, False, True]
        assert node.agent.deadline <= node.now + LOOK_S


class Reads(dict[int, Progress]):
    """What workers publish, and how often it is read."""

    count = 0

    def get(self, worker: int, /) -> Progress | None:  # type: ignore[override]
        self.count += 1
        return super().get(worker)


class TestRecall:
    def test_given_queued_tasks_then_the_last_ones_go_back(self, node: Node) -> None:
        node.lease(1, 6)
        node.advance()
        assert node.handle(Recall(5, 3)) == [Send(Returned(5, node.agent.link.granted, [tasks(4, 3)]))]
        assert held(node) == [tasks(1, 3)]

    def test_given_too_few_queued_then_workers_are_asked_for_what_they_have_not_started(self, node: Node) -> None:
        node.warm_up(BATCH_S / 4)
        node.lease(1, 8)
        node.advance()
        node.executing(0, 1)
        node.executing(1, 1)
        node.advance()
        assert node.handle(Recall(5, 2)) == [TakeBack(0), TakeBack(1)]
        node.agent.taken_back(0, 1, node.now)
        node.agent.taken_back(1, 1, node.now)
        returned = [one for one in sent(node.advance()) if isinstance(one, Returned)]
        assert sum(part.count for one in returned for part in one.ranges) == 2

    def test_given_nothing_that_has_not_started_then_it_says_so(self, node: Node) -> None:
        node.lease(1, 2)
        node.advance()
        node.executing(0, 1)
        node.executing(1, 1)
        node.advance()
        assert sent(node.handle(Recall(5, 2))) == [Returned(5, node.agent.link.granted, [])]

    def test_given_a_worker_that_could_not_be_stopped_then_its_rows_stay(self, node: Node) -> None:
        node.warm_up(BATCH_S / 4)
        node.lease(1, 8)
        node.advance()
        before = held(node)
        node.agent.taken_back(0, None, node.now)
        assert held(node) == before
        assert not node.agent.crew.slots[0].taking_back


class TestSpareWorkers:
    """Started besides those that work, used in the place of one that is gone."""

    @pytest.fixture
    def spared(self, new_node: NewNode) -> Node:
        """Two workers and a spare one, all of them ready."""
        node = new_node(spare_workers=1)
        node.open()
        node.advance()
        node.advance(by_s=SPARE_AFTER_S)
        return node

    def test_given_a_start_then_the_spare_worker_is_started_behind_the_others(self, new_node: NewNode) -> None:
        node = new_node(spare_workers=1)
        assert [a.worker for a in node.advance() if isinstance(a, StartWorker)] == [0, 1]
        assert node.agent.deadline > node.now
        node.agent.worker_ready(0, node.now)
        node.agent.worker_ready(1, node.now)
        assert not any(isinstance(action, StartWorker) for action in node.advance())
        assert node.now < node.agent.deadline <= node.now + SPARE_AFTER_S
        assert [a.worker for a in node.advance(by_s=SPARE_AFTER_S) if isinstance(a, StartWorker)] == [2]

    def test_given_more_work_than_workers_then_the_spare_one_gets_none(self, spared: Node) -> None:
        spared.agent.worker_ready(2, spared.now)
        spared.lease(1, 5)
        assert [worker for worker, *_ in executed(spared.advance())] == [0, 1]
        assert spared.agent.crew.room() <= 0

    def test_given_a_worker_that_dies_then_the_spare_one_works_at_once(self, spared: Node) -> None:
        spared.agent.worker_ready(2, spared.now)
        spared.lease(1, 5)
        spared.advance()
        spared.executing(0, 1)
        spared.agent.worker_exited(0, 1, True, "signal 9", spared.now)
        actions = spared.advance()
        assert [worker for worker, *_ in executed(actions)] == [2]
        assert StartWorker(0) in actions
        spared.agent.worker_ready(0, spared.now)
        assert executed(spared.advance()) == []

    def test_given_an_idle_spare_worker_then_nothing_is_taken_back_for_it(self, spared: Node) -> None:
        spared.agent.worker_ready(2, spared.now)
        spared.warm_up(0.001)
        spared.lease(1, 40)
        spared.advance()
        spared.executing(0, 1, for_s=2 * TAKE_BACK_AFTER_S)
        spared.executing(1, 1, for_s=2 * TAKE_BACK_AFTER_S)
        assert not [action for action in spared.advance() if isinstance(action, TakeBack)]
