"""The scheduler when tasks come back, with a result or without, as tables. More of the fence is in test_verdict.py."""

import pytest

from cyclone.master.actions import Deliver, Record, Say, Send
from cyclone.master.events import AttemptsEnded, ResultsRecorded
from cyclone.protocol import limits
from cyclone.protocol.messages import (
    Recorded,
    ResultBatch,
    Returned,
    TaskBatch,
    TaskRange,
    Tasks,
)
from cyclone.protocol.states import COMPLETED, CRASHED, FAILED, FINAL_STATES, QUARANTINED, TIMED_OUT
from cyclone.results import RecordedBlock, row_columns
from tests.support.masters import (
    EPOCH,
    Master,
    batch,
    final_states,
    peer,
    quarantine_body,
    sent,
    tasks,
)
from tests.unit.master.conftest import NewMaster

ARGS = b"\x90"
ENDED = dict.fromkeys(FINAL_STATES, 0)


def joined(held: int = 0) -> Say:
    return Say("info", f"controller=c1 joined host=node slots=2 held={held}")


@pytest.fixture
def leased(master: Master) -> int:
    """A session with the tasks 1 to 4 in attempt 1; 5 and 6 are fresh."""
    session = master.join()
    master.offer(6)
    master.lease(session, 4)
    return session


class TestResults:
    def test_given_success_then_it_is_recorded_delivered_and_acknowledged_in_this_order(
        self, master: Master, leased: int
    ) -> None:
        done = batch(2, COMPLETED, COMPLETED)
        block = RecordedBlock(2, 1, [("tests:Task", 2)], [ARGS] * 2, done.statuses, None, done.body, "c1")
        assert master.results(leased, done) == [
            Record(ResultsRecorded(1, done, None, "c1")),
            Deliver(1, block),
            Send(peer("c1"), Recorded(leased, [1])),
        ]

    def test_given_a_result_that_came_before_then_it_is_acknowledged_and_nothing_else(
        self, master: Master, leased: int
    ) -> None:
        master.results(leased, batch(1, COMPLETED))
        assert master.results(leased, batch(1, COMPLETED)) == [Send(peer("c1"), Recorded(leased, [2]))]

    def test_given_a_batch_of_which_a_part_is_done_then_the_rest_is_accepted_by_row(
        self, master: Master, leased: int
    ) -> None:
        master.results(leased, batch(2, COMPLETED))
        done = batch(1, COMPLETED, FAILED, TIMED_OUT)
        assert master.results(leased, done) == [
            Record(ResultsRecorded(2, done, b"\1\0\1", "c1")),
            Deliver(2, RecordedBlock(1, 1, [("tests:Task", 3)], [ARGS] * 3, done.statuses, b"\1\0\1", done.body, "c1")),
            Send(peer("c1"), Recorded(leased, [2])),
        ]
        assert master.scheduler.state.ended == ENDED | {"completed": 2, "timed_out": 1}

    @pytest.mark.parametrize(
        "result",
        [
            pytest.param(batch(1, COMPLETED, epoch=6), id="an earlier epoch"),
            pytest.param(batch(1, COMPLETED, epoch=8), id="a later epoch"),
            pytest.param(batch(1, COMPLETED, attempt=2), id="an attempt that was not leased"),
            pytest.param(batch(5, COMPLETED), id="a task that was never leased"),
            pytest.param(batch(4, COMPLETED, COMPLETED), id="a batch that runs into tasks never leased"),
            pytest.param(batch(limits.ID_MAX, COMPLETED), id="a task that does not exist"),
        ],
    )
    def test_given_a_result_that_cannot_be_then_it_is_acknowledged_and_changes_nothing(
        self, master: Master, leased: int, result: ResultBatch
    ) -> None:
        assert master.results(leased, result) == [Send(peer("c1"), Recorded(leased, [1]))]
        assert (master.scheduler.done_tasks, master.scheduler.leased_tasks) == (0, 4)

    def test_given_a_late_success_of_an_earlier_attempt_then_it_wins_and_the_later_one_is_late(
        self, master: Master, leased: int
    ) -> None:
        master.handle(Returned(leased, 0, [tasks(1)]))
        other = master.join("c2", "2")
        master.lease(other, 1)
        assert final_states(master.results(leased, batch(1, COMPLETED))) == {1: "completed"}
        assert final_states(master.results(other, batch(1, COMPLETED, attempt=2))) == {}

    def test_given_a_failure_of_an_earlier_attempt_then_it_does_not_count(self, master: Master, leased: int) -> None:
        master.handle(Returned(leased, 0, [tasks(1)]))
        other = master.join("c2", "2")
        master.lease(other, 1)
        assert final_states(master.results(leased, batch(1, FAILED))) == {}
        assert final_states(master.results(other, batch(1, FAILED, attempt=2))) == {1: "failed"}

    def test_given_a_crash_then_it_is_charged_once_and_the_task_waits_in_front(
        self, master: Master, leased: int
    ) -> None:
        crash = batch(2, CRASHED)
        assert master.results(leased, crash) == [
            Record(AttemptsEnded(2, 1, EPOCH, 1, CRASHED, "c1", row_columns(crash.body, 0))),
            Send(peer("c1"), Recorded(leased, [1])),
        ]
        assert master.results(leased, crash) == [Send(peer("c1"), Recorded(leased, [2]))]
        assert master.scheduler.state.crashes == {2: 1}
        (tasks_sent,) = sent(master.lease(leased, 1))
        assert isinstance(tasks_sent, Tasks)
        assert tasks_sent.batches == [TaskBatch(2, 2, [(1, 1)], [ARGS])]

    def test_given_one_crash_too_many_then_the_task_is_quarantined_with_the_cause(self, new_master: NewMaster) -> None:
        master = new_master(crash_limit=2)
        session = master.join()
        master.offer(1)
        master.lease(session, 1)
        master.results(session, batch(1, CRASHED))
        master.lease(session, 1)
        crash = batch(1, CRASHED, attempt=2, cause="exit code 3")
        final = ResultBatch(1, EPOCH, 2, bytes([QUARANTINED]), quarantine_body(2, "exit code 3"))
        assert master.results(session, crash) == [
            Record(AttemptsEnded(1, 1, EPOCH, 2, CRASHED, "c1", row_columns(crash.body, 0))),
            Say("warning", "task=1 quarantined: it killed 2 workers, the last on controller=c1"),
            Record(ResultsRecorded(1, final, None, "c1")),
            Deliver(1, RecordedBlock(1, 2, [("tests:Task", 1)], [ARGS], final.statuses, None, final.body, "c1")),
            Send(peer("c1"), Recorded(session, [2])),
        ]
        assert master.scheduler.state.crashes == {}

    def test_given_a_crash_report_whose_columns_make_no_sense_then_the_cause_is_unknown(
        self, new_master: NewMaster
    ) -> None:
        master = new_master(crash_limit=1)
        session = master.join()
        master.offer(1)
        master.lease(session, 1)
        nested = b"\x91" * 5000 + b"\x90"
        actions = master.results(session, ResultBatch(1, EPOCH, 1, bytes([CRASHED]), b"\x98\x90\xc4\0" + nested))
        delivered = [action.block for action in actions if isinstance(action, Deliver)]
        assert b"the last one: unknown" in delivered[0].body

    def test_given_crashes_when_the_task_completes_then_the_charge_is_forgotten(
        self, master: Master, leased: int
    ) -> None:
        master.results(leased, batch(1, CRASHED))
        master.results(leased, batch(1, COMPLETED))
        assert master.scheduler.state.crashes == {}


class TestReturned:
    @pytest.mark.parametrize(
        ("ranges", "waiting"),
        [
            pytest.param([tasks(2, 2)], [2, 3], id="a part"),
            pytest.param([tasks(1, 99)], [1, 2, 3, 4], id="more than it holds"),
            pytest.param([tasks(2, 2, attempt=2)], [], id="another attempt"),
            pytest.param([tasks(2, 2, epoch=6)], [], id="another epoch"),
            pytest.param([tasks(1, 2), tasks(1, 2)], [1, 2], id="twice"),
        ],
    )
    def test_given_tasks_handed_back_then_those_of_the_lease_wait(
        self, master: Master, leased: int, ranges: list[TaskRange], waiting: list[int]
    ) -> None:
        assert master.handle(Returned(leased, 0, ranges)) == []
        found = [i for span in master.scheduler.state.index if span.holder is None for i in span.open_ids()]
        assert sorted(found) == waiting

    def test_given_tasks_of_another_controller_then_they_stay_where_they_are(self, master: Master, leased: int) -> None:
        other = master.join("c2", "2")
        master.handle(Returned(other, 0, [tasks(1, 4)]))
        assert master.scheduler.leased_tasks == 4
