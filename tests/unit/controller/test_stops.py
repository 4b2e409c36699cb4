"""Tasks that must stop: queued, unstarted, running, finished; and exclusive ones whose lease has run out."""

from collections.abc import Sequence

from cyclone.controller.actions import Action, EndTask, KillWorker, TakeBack
from cyclone.controller.crew import Obituary
from cyclone.protocol.messages import Cancel, Job, Pong, Returned, State, Stopped, TaskBatch, TaskRange, Tasks
from cyclone.protocol.states import COMPLETED
from tests.support.controllers import Node, executed, sent, tasks, welcome

SESSION = 5


def given_back(actions: Sequence[Action]) -> list[TaskRange]:
    return [part for message in sent(actions) if isinstance(message, Returned) for part in message.ranges]


def test_given_queued_tasks_then_they_are_handed_back_at_once(node: Node) -> None:
    node.lease(1, 40)
    node.advance()
    node.handle(Cancel(SESSION, [tasks(30, 5)]))
    assert given_back(node.advance()) == [tasks(30, 5)]
    assert node.agent.crew.queue


def test_given_a_running_task_then_its_worker_is_ended_and_the_task_is_handed_back_uncharged(node: Node) -> None:
    node.lease(1, 2)
    ((worker, base, first, count), *_) = executed(node.advance())
    assert (first, count) == (1, 1)
    node.executing(worker, base)
    node.handle(Cancel(SESSION, [tasks(1)]))
    assert EndTask(worker, base) in node.advance()
    node.agent.task_ending(worker, base, node.now)
    obituary = Obituary(99, 1000.0, 2.5)
    actions = node.agent.worker_exited(worker, base, True, "signal 15", node.now, obituary)
    assert given_back(actions) == [tasks(1)]
    run = Stopped(1, tasks(1).epoch, 1, 99, 1000.0, 2.5)
    assert [message.stopped for message in sent(actions) if isinstance(message, Returned)] == [[run]]
    assert not node.agent.outbox
    assert not node.agent.crew.stopped


def test_given_rows_that_a_worker_has_not_started_then_they_are_taken_back_first(node: Node) -> None:
    node.warm_up(0.001)
    node.lease(1, 20)
    ((worker, base, first, count), *_) = executed(node.advance())
    assert count > 3
    node.executing(worker, base)
    node.handle(Cancel(SESSION, [tasks(first + 2)]))
    assert TakeBack(worker) in node.advance()
    node.agent.taken_back(worker, base, node.now)
    assert tasks(first + 2) in given_back(node.advance())


def test_given_a_task_that_is_finished_then_its_result_is_what_counts(node: Node) -> None:
    node.lease(1, 2)
    ((worker, base, _, _), *_) = executed(node.advance())
    node.done(worker, base, COMPLETED)
    assert given_back(node.handle(Cancel(SESSION, [tasks(1)]))) == []
    assert node.agent.outbox


def test_given_a_task_that_is_not_here_then_the_answer_says_so(node: Node) -> None:
    assert given_back(node.handle(Cancel(SESSION, [tasks(77)]))) == [tasks(77)]


class TestExclusive:
    def lease(self, node: Node) -> None:
        node.agent.link.granted = 2
        jobs = [Job(1, "tests:Task", exclusive=True)]
        node.handle(Tasks(SESSION, 1, 1, jobs, [TaskBatch(1, 1, [(1, 1)], [b"\x90"])]))

    def test_given_a_master_that_does_not_answer_then_what_is_exclusive_ends_when_the_lease_does(
        self, node: Node
    ) -> None:
        self.lease(node)
        ((worker, base, _, _), *_) = executed(node.advance())
        node.executing(worker, base)
        assert EndTask(worker, base) not in node.advance(by_s=14.0)
        assert EndTask(worker, base) in node.advance(by_s=2.0)

    def test_given_answers_then_the_lease_goes_on(self, node: Node) -> None:
        self.lease(node)
        ((worker, base, _, _), *_) = executed(node.advance())
        node.executing(worker, base)
        for _ in range(40):
            for message in sent(node.advance(by_s=1.0)):
                if isinstance(message, State):
                    node.handle(Pong(SESSION, message.seq, 1, 1))
            assert EndTask(worker, base) not in node.advance()

    def test_given_the_end_of_the_lease_then_there_is_no_grace(self, node: Node) -> None:
        self.lease(node)
        ((worker, base, _, _), *_) = executed(node.advance())
        node.executing(worker, base)
        assert EndTask(worker, base) in node.advance(by_s=16.0)
        assert KillWorker(worker) in node.agent.task_ending(worker, base, node.now)

    def test_given_a_running_one_that_the_master_has_given_away_then_it_ends(self, node: Node) -> None:
        self.lease(node)
        ((worker, base, _, _), *_) = executed(node.advance())
        node.executing(worker, base)
        node.agent.connected(node.now)
        node.advance(by_s=1.0)
        node.handle(welcome(6, drop=[tasks(1)]))
        assert EndTask(worker, base) in node.advance()
