"""The outbox: results are gathered for a moment, sent, sent again, and forgotten only when they are recorded."""

import pytest

from cyclone.controller.outbox import GATHER_ROWS, GATHER_S, RESEND_S, Outbox
from cyclone.protocol import limits
from cyclone.protocol.messages import ResultBatch
from tests.support.controllers import EPOCH, tasks


def result(first: int, rows: int = 1, body: bytes = b"") -> ResultBatch:
    return ResultBatch(first, EPOCH, 1, bytes(rows), body)


def numbers(messages: list[tuple[int, list[ResultBatch]]]) -> list[tuple[int, list[int]]]:
    return [(number, [batch.first for batch in batches]) for number, batches in messages]


@pytest.mark.parametrize(
    ("batches", "at"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([result(1)], 10.0 + GATHER_S, id="one waits for company"),
        pytest.param([result(1, GATHER_ROWS)], 0.0, id="enough rows go at once"),
        pytest.param([result(1, body=bytes(limits.BATCH_BYTES_TARGET))], 0.0, id="enough bytes go at once"),
    ],
)
def test_given_results_then_they_wait_no_longer_than_worth_it(batches: list[ResultBatch], at: float | None) -> None:
    outbox = Outbox()
    for later, batch in enumerate(batches):
        outbox.add(batch, 10.0 + later)
    assert outbox.flush_at() == at
    assert bool(outbox) == bool(batches)


def test_given_results_when_flushed_then_messages_are_numbered_and_within_the_limits() -> None:
    outbox = Outbox()
    half = bytes(limits.BATCH_BYTES_TARGET // 2)
    for first, body in enumerate((b"", half, half, half, bytes(2 * limits.BATCH_BYTES_TARGET), b""), 1):
        outbox.add(result(first, body=body), 0.0)
    assert numbers(outbox.flush(1.0)) == [(1, [1, 2, 3]), (2, [4]), (3, [5]), (4, [6])]
    outbox.add(result(7), 2.0)
    assert numbers(outbox.flush(2.0)) == [(5, [7])]
    assert outbox.flush(2.0) == []


def test_given_more_batches_than_a_message_may_have_then_there_are_two_messages() -> None:
    outbox = Outbox()
    for first in range(1, limits.BATCHES_PER_MESSAGE_MAX + 2):
        outbox.add(result(first), 0.0)
    assert [len(batches) for _, batches in outbox.flush(1.0)] == [limits.BATCHES_PER_MESSAGE_MAX, 1]


def test_given_no_answer_then_a_message_is_sent_again_until_it_is_recorded() -> None:
    outbox = Outbox()
    for first in (1, 2):
        outbox.add(result(first), 0.0)
        outbox.flush(float(first))
    assert outbox.overdue(1.0 + RESEND_S - 0.1) == []
    assert numbers(outbox.overdue(1.0 + RESEND_S)) == [(1, [1])]
    assert outbox.resend_at() == 2.0 + RESEND_S
    assert numbers(outbox.overdue(9.0, after_s=0.0)) == [(2, [2]), (1, [1])]
    outbox.recorded([1, 77])
    assert outbox.held() == [tasks(2)]
    outbox.recorded([2])
    assert (bool(outbox), outbox.resend_at(), outbox.held()) == (False, None, [])


def test_given_gathered_and_sent_results_then_all_are_held_until_cleared() -> None:
    outbox = Outbox()
    outbox.add(result(1, 2), 0.0)
    outbox.flush(0.0)
    outbox.add(result(9), 0.0)
    assert outbox.held() == [tasks(9), tasks(1, 2)]
    outbox.clear()
    assert (bool(outbox), outbox.flush_at(), outbox.held()) == (False, None, [])
