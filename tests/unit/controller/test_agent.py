"""The agent as tables: what it knows, what it hears, and exactly what it does then. Its invariants are re-derived when
a test is over. What concerns its workers is in test_agent_workers.py."""

import pytest

from cyclone.controller.actions import (
    Execute,
    Exit,
    KillWorker,
    Say,
    Send,
    StartWorker,
)
from cyclone.controller.crew import LONG_TASK_S, PREFETCH_MAX
from cyclone.controller.handout import AHEAD_S, BATCH_S, PREFETCH_S
from cyclone.controller.outbox import GATHER_S
from cyclone.protocol import limits
from cyclone.protocol.messages import (
    Goodbye,
    Hello,
    Job,
    Recall,
    Refused,
    ResultBatch,
    Results,
    Returned,
    State,
    Stop,
    TaskBatch,
    TaskRange,
    Tasks,
)
from cyclone.protocol.states import COMPLETED
from tests.support.controllers import BODY, EPOCH, Node, executed, sent, tasks, welcome
from tests.unit.controller.conftest import NewNode

JOB = Job(1, "tests:Task", None)
HELLO = Hello(limits.PROTOCOL_VERSION, "c1", "1" * 32, "", 1, "node", 11, "1.0", "3.11.2", 0, [])


def result(first: int, *statuses: int) -> ResultBatch:
    """Of rows that took 1 ms each."""
    return ResultBatch(first, EPOCH, 1, bytes(statuses), BODY, 0.001 * len(statuses))


def held(node: Node) -> list[TaskRange]:
    return node.agent.held()


class TestGreeting:
    def test_given_a_start_then_workers_start_and_nothing_is_said_without_a_connection(self, new_node: NewNode) -> None:
        node = new_node()
        assert node.advance() == [StartWorker(0), StartWorker(1)]
        node.agent.connected(node.now)
        assert node.advance() == [Send(HELLO)]
        assert node.advance() == []

    def test_given_workers_when_it_greets_then_it_tells_of_those_that_are_there(self, new_node: NewNode) -> None:
        node = new_node()
        node.advance()
        node.agent.worker_ready(0, node.now)
        node.agent.connected(node.now)
        assert [one.slots for one in sent(node.advance()) if isinstance(one, Hello)] == [1]

    def test_given_a_welcome_then_the_session_opens_with_a_state(self, new_node: NewNode) -> None:
        node = new_node()
        node.agent.connected(node.now)
        node.advance()
        node.agent.worker_ready(0, node.now)
        assert node.handle(welcome()) == [Say("info", "welcomed by the master, session=5 epoch=7")]
        assert node.advance() == [Send(State(5, 1, 0, 1, 1, 0, []))]

    @pytest.mark.parametrize("message", [welcome(), welcome(6), welcome(incarnation="2" * 32)])
    def test_given_a_session_or_another_addressee_then_a_welcome_changes_nothing(
        self, node: Node, message: object
    ) -> None:
        assert node.handle(message) == []  # type: ignore[arg-type]
        assert node.agent.link.session == welcome()

    @pytest.mark.parametrize(
        ("code", "incarnation", "expected"),
        [
            ("superseded", "1" * 32, [Exit(1, "superseded: why")]),
            ("version", "1" * 32, [Exit(1, "version: why")]),
            ("superseded", "2" * 32, []),
            ("draining", "1" * 32, []),
            ("no_session", "", []),
            ("a_code_of_a_later_version", "", []),
        ],
    )
    def test_given_a_refusal_then_only_what_cannot_heal_ends_the_controller(
        self, node: Node, code: str, incarnation: str, expected: list[object]
    ) -> None:
        assert node.handle(Refused(code, incarnation, "why")) == expected

    def test_given_no_session_then_it_says_hello_at_once_with_all_that_it_holds(self, node: Node) -> None:
        node.lease(1, 4)
        node.advance()
        node.done(0, 1, COMPLETED)
        node.handle(Refused("no_session", "", "session 5 is not known here"))
        (hello,) = sent(node.advance())
        assert isinstance(hello, Hello)
        assert (hello.epoch, hello.held) == (EPOCH, [tasks(1, 4)])

    def test_given_a_silent_master_then_it_says_hello_again(self, node: Node) -> None:
        node.pong()
        node.advance(15.0)
        said, hello = node.advance(0.1)
        assert said == Say("warning", "master silent for 15.1 s: saying hello again")
        assert isinstance(hello, Send)
        assert isinstance(hello.message, Hello)

    def test_given_no_answer_after_all_retries_then_it_exits(self, new_node: NewNode) -> None:
        node = new_node(retries_max=2, worker_count=1)
        node.agent.connected(node.now)
        for _ in range(2):
            assert len(sent(node.advance(31.0))) == 1
        assert node.advance(31.0) == [Exit(69, "no answer from the master after 2 retries")]
        assert node.advance() == []

    def test_given_a_welcome_then_what_is_to_be_dropped_goes_and_results_are_sent_again(self, node: Node) -> None:
        node.lease(1, 999)
        node.advance()
        node.done(0, 1, COMPLETED)
        node.advance(GATHER_S)
        node.handle(Refused("no_session", "", ""))
        node.advance()
        assert sent(node.handle(welcome(6, drop=[tasks(900, 999), tasks(2)]))) == [
            Results(6, 1, 0, [result(1, COMPLETED)])
        ]
        assert held(node) == [tasks(1, 899)]

    def test_given_another_journal_then_everything_held_is_forgotten(self, node: Node) -> None:
        node.lease(1, 4)
        node.advance()
        node.done(0, 1, COMPLETED)
        node.handle(Refused("no_session", "", ""))
        said, *killed, _ = node.handle(welcome(6, journal_id="e" * 32))
        assert said == Say("warning", "the master has another journal: everything held for the former one is dropped")
        # Also the one that idles: by the numbers of its jobs it knows those of the former master.
        assert killed == [KillWorker(0), KillWorker(1)]
        assert node.agent.crew.live == 2
        assert held(node) == []
        assert node.done(1, 1, COMPLETED) == []
        assert not node.agent.outbox


class TestTasks:
    def test_given_leases_then_each_worker_gets_one_task_of_an_unknown_job(self, node: Node) -> None:
        assert node.lease(1, 4) == []
        actions = node.advance()
        assert executed(actions) == [(0, 1, 1, 1), (1, 1, 2, 1)]
        assert all(action.jobs == [JOB] for action in actions if isinstance(action, Execute))
        assert held(node) == [tasks(1, 4)]

    def test_given_short_tasks_then_a_worker_gets_its_next_batch_in_time_and_a_job_is_announced_once(
        self, node: Node
    ) -> None:
        node.warm_up(BATCH_S / 4)
        node.lease(1, 12)
        actions = node.advance()
        assert executed(actions) == [(0, 1, 1, 4), (1, 1, 5, 4)]
        node.executing(0, 4)
        node.executing(1, 1)
        assert node.agent.deadline <= node.now + BATCH_S - AHEAD_S / 2
        actions += node.advance(BATCH_S - AHEAD_S)
        assert executed(actions)[2:] == [(0, 5, 9, 2)]
        assert [action.jobs for action in actions if isinstance(action, Execute)] == [[JOB], [JOB], []]

    def test_given_a_single_task_to_a_batch_then_the_next_one_waits_behind_it_at_once(self, node: Node) -> None:
        node.warm_up(BATCH_S)
        node.lease(1, 4)
        assert executed(node.advance()) == [(0, 1, 1, 1), (1, 1, 2, 1), (0, 2, 3, 1), (1, 2, 4, 1)]

    @pytest.mark.parametrize(
        ("mean_s", "granted"),
        [
            pytest.param(None, 2, id="nothing known: one a worker"),
            pytest.param(2 * LONG_TASK_S, 2, id="long tasks: one a worker"),
            pytest.param(0.8 * PREFETCH_S, 4, id="at least two a worker"),
            pytest.param(0.01 * PREFETCH_S, 200, id="so much work a worker"),
            pytest.param(1e-7, 2 * PREFETCH_MAX, id="never more than the bound"),
        ],
    )
    def test_given_the_mean_time_of_tasks_then_the_credit_covers_a_round_trip(
        self, node: Node, mean_s: float | None, granted: int
    ) -> None:
        if mean_s:
            node.warm_up(mean_s)
        node.advance()
        assert node.agent.link.granted == granted

    def test_given_leases_beyond_the_credit_then_they_count_as_lost(self, node: Node) -> None:
        batch = TaskBatch(1, 1, [(1, 3)], [b"\x90"] * 3)
        node.handle(Tasks(5, 1, 3, [JOB], [batch]))
        assert held(node) == []

    def test_given_leases_twice_then_they_are_taken_once(self, node: Node) -> None:
        message = Tasks(5, 1, 2, [JOB], [TaskBatch(1, 1, [(1, 2)], [b"\x90"] * 2)])
        node.handle(message)
        node.handle(message)
        assert held(node) == [tasks(1, 2)]

    def test_given_another_session_then_its_messages_change_nothing(self, node: Node) -> None:
        node.handle(Tasks(4, 1, 2, [JOB], [TaskBatch(1, 1, [(1, 2)], [b"\x90"] * 2)]))
        assert node.handle(Recall(4, 1)) == []
        assert held(node) == []

    def test_given_a_job_that_was_never_announced_then_a_new_session_will_announce_it(self, node: Node) -> None:
        node.handle(Tasks(5, 1, 1, [], [TaskBatch(1, 1, [(9, 1)], [b"\x90"])]))
        assert held(node) == []
        assert [type(message) for message in sent(node.advance())] == [Hello]


class TestTheEnd:
    def test_given_a_stop_then_the_queue_goes_back_and_the_controller_leaves_when_its_tasks_are_recorded(
        self, node: Node
    ) -> None:
        node.lease(1, 3)
        node.advance()
        node.executing(0, 1)
        node.executing(1, 1)
        node.advance()
        assert sent(node.agent.stop(node.now)) == [Returned(5, node.agent.link.granted, [tasks(3)])]
        node.done(0, 1, COMPLETED)
        node.done(1, 1, COMPLETED)
        assert not any(isinstance(action, Exit) for action in node.advance())
        node.recorded(1)
        assert node.advance()[-2:] == [Send(Goodbye(5, "stopped by a signal")), Exit(0, "stopped by a signal")]

    def test_given_a_stop_then_tasks_that_arrive_go_back_unstarted(self, node: Node) -> None:
        node.agent.stop(node.now)
        assert sent(node.lease(1, 2)) == [Returned(5, node.agent.link.granted, [tasks(1, 2)])]

    def test_given_a_stop_when_a_worker_dies_then_what_it_had_not_started_goes_back_too(self, node: Node) -> None:
        node.warm_up(BATCH_S / 4)
        node.lease(1, 4)
        node.advance()
        node.agent.stop(node.now)
        returned = sent(node.agent.worker_exited(0, 1, True, "signal 11", node.now))
        assert [one.ranges for one in returned if isinstance(one, Returned)] == [[tasks(2)]]

    def test_given_tasks_that_do_not_end_then_the_stop_is_bounded(self, node: Node) -> None:
        node.lease(1, 2)
        node.advance()
        node.agent.stop(node.now)
        text = "stop_timeout passed with 2 tasks unfinished"
        for _ in range(2):
            assert not any(isinstance(action, Exit) for action in node.advance(14.9))
            node.pong()
        # The master leases what is exclusive again at once when it hears the goodbye.
        assert node.advance(0.3)[-4:] == [KillWorker(0), KillWorker(1), Send(Goodbye(5, text)), Exit(0, text)]

    def test_given_the_master_says_stop_then_the_controller_says_goodbye_and_exits(self, node: Node) -> None:
        node.handle(Stop(5, "all work is done"))
        assert node.advance()[-2:] == [Send(Goodbye(5, "all work is done")), Exit(0, "all work is done")]

    def test_given_no_master_and_no_work_then_a_stop_is_quiet(self, new_node: NewNode) -> None:
        node = new_node()
        node.agent.stop(node.now)
        assert node.advance()[-1] == Exit(0, "stopped by a signal")
