"""One job on the wire, on a clock of the test's own: what it sends, what it sends again, and when it is over."""

import math

import pytest

from cyclone.client.job_stream import RESEND_S
from cyclone.errors import NoSuchJob, QuotaExceeded, SubmitRefused
from cyclone.protocol import job_messages as codes
from cyclone.protocol.job_messages import (
    FOLLOW_S,
    AddRequest,
    FollowRequest,
    SubmitRequest,
    Submitted,
)
from cyclone.protocol.limits import TASKS_PER_BATCH_MAX
from tests.support.client_wire import NOW, Wire, kinds


def test_given_rows_then_the_first_block_makes_the_job_and_the_others_wait_for_its_number() -> None:
    wire = Wire(3 * TASKS_PER_BATCH_MAX)
    (first,) = wire.advance()
    assert isinstance(first, SubmitRequest)
    assert first.block is not None
    assert (first.block.offset, len(first.block.args), first.sealed) == (0, TASKS_PER_BATCH_MAX, False)
    assert wire.advance() == []
    wire.answer(TASKS_PER_BATCH_MAX)
    second, third, follow = wire.advance()
    assert [(request.block.offset, request.sealed) for request in (second, third)] == [(4096, False), (8192, True)]
    assert isinstance(follow, FollowRequest)
    assert (follow.job_id, follow.position, follow.consume) == (5, 3, True)


def test_given_one_block_then_it_is_sealed_with_it_and_over_with_the_last_result() -> None:
    wire = Wire(2)
    (first,) = wire.advance()
    assert first.sealed
    wire.answer(2, sealed=True)
    assert kinds(wire.advance()) == ["FollowRequest"]
    assert wire.job.open_results == 2
    wire.results(3, 4, 2)
    assert wire.job.is_over
    assert wire.rows.delivered == 2


def test_given_nothing_at_all_then_nothing_is_sent_and_it_is_over() -> None:
    wire = Wire(0)
    assert wire.advance() == []
    assert wire.job.is_over


def test_given_a_job_that_is_closed_later_then_a_request_of_its_own_seals_it() -> None:
    wire = Wire(1, closed=False)
    wire.advance()
    wire.answer(1)
    wire.results(3, 4, 1)
    wire.advance(NOW + FOLLOW_S)
    assert not wire.job.is_over
    wire.rows.close()
    (seal,) = wire.advance(NOW + 2)
    assert (seal.block, seal.sealed) == (None, True)
    assert wire.advance(NOW + 2) == []
    wire.answer(1, sealed=True)
    assert wire.job.is_over


def test_given_a_job_without_work_then_the_master_hears_now_and_then_that_somebody_is_there() -> None:
    wire = Wire(1, closed=False)
    wire.advance()
    wire.answer(1)
    wire.results(3, 4, 1)
    wire.advance(NOW + FOLLOW_S)
    due = wire.job.deadline
    assert 60 < due - NOW < 3600
    (said,) = wire.advance(due)
    assert (kinds([said]), said.block, said.sealed) == (["AddRequest"], None, False)
    assert wire.job.deadline == due + RESEND_S


def test_given_no_answer_then_it_is_sent_again_with_the_same_key() -> None:
    wire = Wire(1)
    (first,) = wire.advance()
    assert wire.job.deadline == NOW + RESEND_S
    (again,) = wire.advance(NOW + RESEND_S)
    assert again.key == first.key
    assert again.block == first.block


def test_given_that_nothing_can_be_sent_then_nothing_counts_as_sent() -> None:
    wire = Wire(1)
    wire.open = False
    wire.advance()
    assert wire.job.deadline == math.inf
    wire.open = True
    assert kinds(wire.advance()) == ["SubmitRequest"]


@pytest.mark.parametrize("code", [codes.BUSY, codes.QUOTA])
def test_given_a_busy_master_then_the_same_block_goes_again_after_a_pause(code: str) -> None:
    wire = Wire(3 * TASKS_PER_BATCH_MAX)
    wire.advance()
    wire.answer(TASKS_PER_BATCH_MAX)
    wire.advance()
    late = wire.number - 1
    wire.answer(TASKS_PER_BATCH_MAX, code, request=late - 1)
    assert wire.job.deadline == pytest.approx(NOW + 0.01)
    assert wire.advance(NOW + 0.005) == []
    again = wire.advance(NOW + 0.02)
    assert [request.block.offset for request in again if type(request) is AddRequest and request.block] == [4096, 8192]
    # A refusal of what was sent before is known already.
    wire.answer(TASKS_PER_BATCH_MAX, codes.GAP, request=late)
    assert wire.advance(NOW + 0.02) == []


def test_given_a_gap_then_it_goes_on_behind_the_count() -> None:
    wire = Wire(3 * TASKS_PER_BATCH_MAX)
    wire.advance()
    wire.answer(TASKS_PER_BATCH_MAX)
    wire.advance()
    wire.answer(TASKS_PER_BATCH_MAX, codes.GAP)
    assert [request.block.offset for request in wire.advance()] == [4096, 8192]


def test_given_a_part_that_was_taken_then_only_the_rest_goes_again() -> None:
    wire = Wire(10)
    wire.advance()
    wire.answer(4, codes.BUSY)
    (again, *_) = wire.advance(NOW + 1)
    assert isinstance(again, AddRequest)
    assert again.block is not None
    assert (again.block.offset, len(again.block.args)) == (4, 6)


@pytest.mark.parametrize(
    ("code", "kind"), [(codes.QUOTA, QuotaExceeded), (codes.INVALID, SubmitRefused), (codes.NO_JOB, NoSuchJob)]
)
def test_given_a_refusal_at_the_start_then_all_is_refused_and_it_is_over(code: str, kind: type[Exception]) -> None:
    wire = Wire(2)
    wire.advance()
    wire.job.on_submitted(Submitted(1, 0, 0, sealed=False, room=0, code=code), NOW)
    assert wire.rows.refusal is not None
    assert wire.rows.refusal[0] == 0
    assert isinstance(wire.rows.refusal[1], kind)
    assert wire.job.is_over


def test_given_a_refusal_later_then_what_was_taken_is_waited_for() -> None:
    wire = Wire(5, closed=False)
    wire.advance()
    wire.answer(5)
    wire.rows.rows = [b"more"]
    wire.advance()
    wire.answer(5, codes.SEALED)
    assert wire.rows.refusal is not None
    assert wire.rows.refusal[0] == 5
    assert not wire.job.is_over
    wire.results(3, 4, 5)
    assert wire.job.is_over


def test_given_a_connection_that_was_lost_then_the_job_is_asked_for_and_all_that_is_open_goes_again() -> None:
    wire = Wire(2 * TASKS_PER_BATCH_MAX)
    (first,) = wire.advance()
    wire.answer(TASKS_PER_BATCH_MAX)
    wire.advance()
    assert wire.advance() == []
    wire.job.reconnected()
    (asked,) = wire.advance()
    assert (asked.key, asked.block, asked.sealed) == (first.key, None, False)
    assert wire.advance() == []
    (asked,) = wire.advance(NOW + RESEND_S)
    assert isinstance(asked, SubmitRequest)
    wire.answer(TASKS_PER_BATCH_MAX)
    add, follow = wire.advance()
    assert add.block.offset == TASKS_PER_BATCH_MAX
    assert follow.resume


def test_given_a_job_that_ended_while_the_connection_was_lost_then_its_results_are_still_read() -> None:
    wire = Wire(3)
    wire.advance()
    wire.answer(3, sealed=True)
    wire.job.reconnected()
    wire.advance()
    wire.answer(0, sealed=True)
    assert kinds(wire.advance()) == ["FollowRequest"]
    wire.results(3, 4, 3, finished=True)
    assert wire.rows.delivered == 3
    assert wire.rows.error is None


@pytest.mark.parametrize("job_id", [5, 1])
def test_given_a_master_that_does_not_know_the_job_then_it_is_given_up_and_nothing_is_left_there(job_id: int) -> None:
    wire = Wire(3, closed=False)
    wire.advance()
    wire.answer(3)
    wire.job.reconnected()
    wire.advance()
    answer = Submitted(wire.number, job_id, 0, sealed=False, room=9)
    wire.job.on_submitted(answer, NOW)
    assert "does not know job 5 any more" in str(wire.rows.error)
    wire.job.leave(wire._send)
    assert isinstance(wire.sent[-1], AddRequest)
    assert (wire.sent[-1].job_id, wire.sent[-1].block, wire.sent[-1].sealed) == (job_id, None, True)


def test_given_a_job_that_is_over_then_the_master_hears_how_far_it_was_read_and_that_nobody_follows() -> None:
    wire = Wire(3)
    wire.advance()
    wire.answer(3, sealed=True)
    wire.advance()
    wire.results(3, 4, 3)
    wire.sent = []
    wire.job.leave(wire._send)
    assert [(request.position, bool(request.window_bytes)) for request in wire.sent] == [(4, True), (4, False)]  # type: ignore[union-attr]


def test_given_results_with_a_gap_then_they_are_asked_for_again_and_known_ones_are_passed_over() -> None:
    wire = Wire(9)
    wire.advance()
    wire.answer(9, sealed=True)
    wire.advance()
    wire.results(3, 5, 2)
    wire.results(7, 8, 2)
    wire.results(8, 9, 2)
    (follow,) = wire.advance()
    assert (follow.position, follow.resume) == (5, True)
    assert wire.advance() == []
    wire.results(3, 5, 2)
    wire.results(4, 6, 2)
    assert wire.rows.delivered == 2
    wire.results(5, 7, 7)
    assert wire.rows.delivered == 9
    assert wire.job.is_over


def test_given_results_then_how_far_it_is_is_told_by_and_by() -> None:
    wire = Wire(9)
    wire.advance()
    wire.answer(9, sealed=True)
    (first,) = wire.advance()
    wire.results(3, 5, 2)
    assert wire.advance() == []
    (told,) = wire.advance(NOW + 0.25)
    assert (told.position, told.request) == (5, first.request)
    assert kinds(wire.advance(NOW + 0.25 + FOLLOW_S)) == ["FollowRequest"]


@pytest.mark.parametrize(("lost", "said"), [(0, "ended by somebody else"), (3, "has not kept 3 results")])
def test_given_a_job_that_has_ended_without_all_results_then_the_rest_is_lost(lost: int, said: str) -> None:
    wire = Wire(5, closed=False)
    wire.advance()
    wire.answer(5)
    wire.results(3, 4, 2, finished=True, lost=lost)
    assert wire.job.is_over
    assert wire.rows.error is not None
    assert said in str(wire.rows.error)


def test_given_that_it_is_given_up_then_nothing_more_is_sent() -> None:
    wire = Wire(5)
    wire.advance()
    wire.job.fail(OSError("gone"))
    assert str(wire.rows.error) == "gone"
    assert wire.job.is_over
    assert wire.job.deadline == math.inf
    assert wire.advance(NOW + 9) == []
