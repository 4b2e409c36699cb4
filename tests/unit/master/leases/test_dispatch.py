"""Dispatch as tables: who gets how much of the queue, and from whom unstarted work is taken back."""

import pytest

from cyclone.master.actions import Send
from cyclone.master.leases.dispatch import LEASED_BYTES_MAX, RECALL_AFTER_S, RECALL_RETRY_S
from cyclone.protocol import limits, wire
from cyclone.protocol.messages import Job, JobOptions, Recall, Returned, TaskBatch, Tasks
from cyclone.protocol.states import COMPLETED
from tests.support.job_requests import submit
from tests.support.masters import Master, batch, peer, sent, tasks
from tests.unit.master.conftest import NewMaster

ARGS = b"\x90"


def shares(master: Master) -> list[tuple[str, int, int]]:
    """``(controller, first, count)`` of what a turn leases."""
    return [
        (action.peer.decode(), part.first, len(part.args))
        for action in master.advance()
        if isinstance(action, Send) and isinstance(action.message, Tasks)
        for part in action.message.batches
    ]


@pytest.mark.parametrize(
    ("queued", "controllers", "expected"),
    [
        # controllers: (slots, credit) of c1, c2, c3
        pytest.param(0, [(2, 9)], [], id="nothing waits"),
        pytest.param(5, [(2, 0)], [], id="no credit"),
        pytest.param(5, [(2, 3)], [("c1", 1, 3)], id="no more than the credit"),
        pytest.param(5, [(0, 9)], [], id="no live worker, or a controller that drains: credit alone buys nothing"),
        pytest.param(3, [(2, 9), (2, 9)], [("c1", 1, 2), ("c2", 3, 1)], id="free slots before prefetch"),
        pytest.param(
            8,
            [(2, 9), (2, 9)],
            [("c1", 1, 2), ("c2", 3, 2), ("c1", 5, 2), ("c2", 7, 2)],
            id="then equal shares of what is left",
        ),
        pytest.param(20, [(2, 9), (2, 3)], [("c1", 1, 9), ("c2", 10, 3)], id="with more than enough, each its credit"),
        pytest.param(
            2, [(1, 1), (1, 1), (1, 1)], [("c1", 1, 1), ("c2", 2, 1)], id="first come, first served among controllers"
        ),
    ],
)
def test_given_controllers_with_credit_when_a_turn_ends_then_each_gets_its_share(
    master: Master, queued: int, controllers: list[tuple[int, int]], expected: list[tuple[str, int, int]]
) -> None:
    for number, (slots, credit) in enumerate(controllers, 1):
        session = master.join(f"c{number}", str(number), slots)
        master.state(session, credit, slots=slots)
    if queued:
        master.offer(queued)
    assert shares(master) == expected


def test_given_a_queue_larger_than_a_message_then_messages_stay_within_the_limit_of_tasks(master: Master) -> None:
    session = master.join()
    master.offer(limits.TASKS_PER_BATCH_MAX + 10)
    master.state(session, 2 * limits.TASKS_PER_BATCH_MAX)
    got = shares(master)
    assert sum(count for _, _, count in got) == limits.TASKS_PER_BATCH_MAX + 10
    assert max(count for _, _, count in got) <= limits.TASKS_PER_BATCH_MAX


def test_given_large_arguments_then_messages_stay_near_the_target_of_bytes(master: Master) -> None:
    session = master.join(slots=1)
    master.offer(5, bytes(limits.BATCH_BYTES_TARGET // 2))
    master.state(session, 5, slots=1)
    assert shares(master) == [("c1", 1, 2), ("c1", 3, 2), ("c1", 5, 1)]


def test_given_large_arguments_then_what_is_out_is_bounded_in_bytes_but_free_slots_are_served(master: Master) -> None:
    size = limits.BATCH_BYTES_TARGET
    out_max = LEASED_BYTES_MAX // size
    first, second = master.join("c1", "1"), master.join("c2", "2", slots=3)
    master.offer(2 * out_max, bytes(size))
    master.state(first, 2 * out_max)
    assert sum(count for _, _, count in shares(master)) == out_max
    assert shares(master) == []
    master.state(second, 2 * out_max, slots=3)
    assert shares(master) == [("c2", out_max + 1 + row, 1) for row in range(3)]
    master.results(first, batch(1, *[COMPLETED] * 5))
    assert sum(count for _, _, count in shares(master)) == 2


def test_given_tasks_that_came_back_then_they_go_in_front_each_span_once(master: Master) -> None:
    session = master.join()
    master.offer(10)
    master.lease(session, 8)
    master.handle(Returned(session, 8, [tasks(2, 2), tasks(6, 1)]))
    held = [tasks(1), tasks(4, 2), tasks(7, 2)]
    master.state(session, 12, held, tasks_seq=1)
    assert master.advance() == [
        Send(
            peer("c1"),
            Tasks(
                session,
                2,
                12,
                [],
                [
                    TaskBatch(2, 2, [(1, 2)], [ARGS] * 2),
                    TaskBatch(6, 2, [(1, 1)], [ARGS]),
                    TaskBatch(9, 1, [(1, 1)], [ARGS]),
                ],
            ),
        )
    ]


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        ([1], [(2, 5)]),
        ([6], [(1, 5)]),
        ([3, 4], [(1, 2), (5, 2)]),
        ([1, 2, 5, 6], [(3, 2)]),
        ([1, 2, 3, 4, 5, 6], []),
    ],
)
def test_given_tasks_that_wait_again_when_some_get_a_late_result_then_only_the_rest_is_leased(
    master: Master, done: list[int], expected: list[tuple[int, int]]
) -> None:
    session = master.join(slots=1)
    master.offer(6)
    master.state(session, 6, slots=1)
    master.advance()
    master.handle(Returned(session, 6, [tasks(1, 6)]))
    master.results(session, *(batch(task_id, 0) for task_id in done))
    master.scheduler.check()
    master.state(session, 12 - len(done), [], tasks_seq=1, slots=1)
    assert shares(master) == [("c1", first, count) for first, count in expected]
    master.scheduler.check()


def test_given_mixed_jobs_then_a_batch_carries_them_and_each_is_announced_once_a_session(master: Master) -> None:
    session = master.join(slots=1)
    master.scheduler.offer(
        [JobOptions("tests:A"), JobOptions("tests:B", 5.0)], [(0, 1), (1, 2), (0, 1)], [b"a", b"b", b"c", b"d"], 0.0
    )
    master.state(session, 3, slots=1)
    jobs = [Job(1, "tests:A", None), Job(2, "tests:B", 5.0)]
    assert sent(master.advance()) == [
        Tasks(session, 1, 3, jobs, [TaskBatch(1, 1, [(1, 1), (2, 2)], [b"a", b"b", b"c"])])
    ]
    master.state(session, 4, [tasks(1, 3)], tasks_seq=1, slots=1)
    assert sent(master.advance()) == [Tasks(session, 2, 4, [], [TaskBatch(4, 1, [(1, 1)], [b"d"])])]


class TestRecall:
    """c1 holds eight tasks on two slots, c2 has two idle slots."""

    @pytest.fixture
    def master(self, new_master: NewMaster) -> Master:
        master = new_master()
        self.busy = master.join("c1", "1")
        master.offer(8)
        master.lease(self.busy, 8)
        self.idle = master.join("c2", "2")
        master.state(self.idle, 4)
        return master

    def test_given_idle_slots_when_nothing_waits_for_a_while_then_a_fair_share_is_recalled(
        self, master: Master
    ) -> None:
        assert master.advance() == []
        assert master.scheduler.deadline == pytest.approx(master.now + RECALL_AFTER_S)
        assert master.advance(RECALL_AFTER_S) == [Send(peer("c1"), Recall(self.busy, 3))]

    def test_given_a_recall_without_an_answer_then_it_is_repeated_only_after_a_while(self, master: Master) -> None:
        master.advance()
        assert len(master.advance(RECALL_AFTER_S)) == 1
        assert master.advance(RECALL_AFTER_S) == []
        assert master.advance(RECALL_RETRY_S) == [Send(peer("c1"), Recall(self.busy, 3))]

    def test_given_tasks_handed_back_then_they_go_to_the_idle_one_and_the_next_recall_may_follow(
        self, master: Master
    ) -> None:
        master.advance()
        master.advance(RECALL_AFTER_S)
        assert master.handle(Returned(self.busy, 8, [tasks(6, 3)])) == []
        assert shares(master) == [("c2", 6, 2), ("c2", 8, 1)]
        master.state(self.idle, 9, [tasks(6, 3, attempt=2)], tasks_seq=2, slots=8)
        master.advance()
        assert sent(master.advance(RECALL_AFTER_S)) == [Recall(self.busy, 2)]

    def test_given_nothing_to_hand_back_then_the_next_recall_waits_a_moment(self, master: Master) -> None:
        master.advance()
        master.advance(RECALL_AFTER_S)
        master.handle(Returned(self.busy, 8, []))
        assert master.advance(RECALL_AFTER_S) == []
        assert sent(master.advance(0.1)) == [Recall(self.busy, 3)]

    @pytest.mark.parametrize("change", ["work waits", "nobody idles", "the busy one is unreachable", "all is started"])
    def test_given_no_reason_then_nothing_is_recalled(self, master: Master, change: str) -> None:
        if change == "work waits":
            master.state(self.idle, 0)
            master.scheduler.unreachable(peer("c2"))
            master.offer(1)
        elif change == "nobody idles":
            master.state(self.idle, 4, slots=0)
        elif change == "the busy one is unreachable":
            master.scheduler.unreachable(peer("c1"))
        else:
            master.results(self.busy, batch(1, *[0] * 6))
        master.advance()
        assert master.advance(RECALL_AFTER_S) == []


def test_given_jobs_that_share_much_then_what_announces_them_still_fits_a_frame(master: Master) -> None:
    shared = b"\xc4" + bytes(limits.VALUE_BYTES_MAX - 5)
    for number in range(6):
        submit(master, 1, f"k{number}", shared=b"\x91" + shared)
    session = master.join(slots=8)
    messages = []
    for _ in range(9):
        messages += [message for message in sent(master.lease(session, 8)) if isinstance(message, Tasks)]
    assert [len(message.jobs) for message in messages] == [1] * 6
    assert all(sum(map(len, wire.encode(message))) <= limits.MESSAGE_BYTES_MAX for message in messages)
