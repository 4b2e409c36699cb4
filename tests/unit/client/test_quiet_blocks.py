"""Small blocks go without an answer: their results are one, and what has none is sent again."""

import pytest

from cyclone.client.job_stream import RESEND_S
from cyclone.protocol.job_messages import (
    AddRequest,
    JobBlock,
    JobResults,
    SubmitRequest,
)
from tests.support.client_wire import NOW, Wire, kinds


def open_wire() -> Wire:
    """A job that is known and goes on, whose first row has its result."""
    wire = Wire(1, closed=False)
    wire.advance()
    wire.answer(1)
    wire.advance()
    wire.results(3, 4, 1)
    wire.advance(NOW + 1)
    return wire


def test_given_a_small_block_alone_then_no_answer_is_wanted_and_its_result_is_one() -> None:
    wire = open_wire()
    wire.rows.rows = [b"1"]
    (add,) = [sent for sent in wire.advance(NOW + 1) if isinstance(sent, AddRequest)]
    assert add.quiet
    # Those behind it are answered, and so it is, too.
    wire.rows.rows = [b"2"]
    (next_add,) = [sent for sent in wire.advance(NOW + 1) if isinstance(sent, AddRequest)]
    assert not next_add.quiet
    wire.job.on_results(JobResults(1, 5, 4, 5, [JobBlock(1, 2, 1, bytes(2), None, b"body", "c1")], False, 0), NOW + 1)
    assert wire.job.open_results == 0
    assert kinds(wire.advance(NOW + 3 * RESEND_S)) == ["FollowRequest"]


def test_given_a_quiet_block_without_a_result_then_it_is_sent_again_and_its_answer_ends_that() -> None:
    wire = open_wire()
    wire.rows.rows = [b"1"]
    wire.advance(NOW + 1)
    (again,) = [sent for sent in wire.advance(NOW + 1 + RESEND_S) if isinstance(sent, AddRequest)]
    assert (again.block.offset if again.block else None, again.quiet) == (1, False)
    wire.answer(2)
    later = NOW + 1 + 3 * RESEND_S
    assert [sent for sent in wire.advance(later) if isinstance(sent, AddRequest)] == []
    assert wire.job.open_results == 1


@pytest.mark.parametrize("rows", [[b"x" * 5000], [b"1"] * 17])
def test_given_a_block_that_is_not_small_then_it_is_answered(rows: list[bytes]) -> None:
    wire = open_wire()
    wire.rows.rows = rows
    (add,) = [sent for sent in wire.advance(NOW + 1) if isinstance(sent, AddRequest)]
    assert not add.quiet


def test_given_a_result_while_the_master_is_asked_whether_it_knows_the_job_then_it_is_asked_until_it_says_so() -> None:
    wire = open_wire()
    wire.rows.rows = [b"1"]
    wire.advance(NOW + 1)
    wire.job.reconnected()
    (asked,) = wire.advance(NOW + 1)
    assert isinstance(asked, SubmitRequest)
    wire.job.on_results(JobResults(1, 5, 4, 5, [JobBlock(1, 2, 1, bytes(1), None, b"body", "c1")], False, 0), NOW + 1)
    assert kinds(wire.advance(NOW + 1 + RESEND_S)) == ["SubmitRequest"]
