"""The fence as a table: what an outcome of one attempt means for a task that is in another, or done, or waits."""

import pytest

from cyclone.master.leases.verdict import NO_JOB, judge
from cyclone.master.spans import Span, SpanIndex
from cyclone.protocol.runs import Runs
from cyclone.protocol.states import COMPLETED, CRASHED, FAILED, TIMED_OUT
from tests.support.masters import EPOCH, batch


def index(*spans: Span) -> SpanIndex:
    found = SpanIndex()
    for span in spans:
        found.add(span)
    return found


def leased(first: int, opened: str, attempt: int = 2, job: int = 1, holder: int | None = 1, epoch: int = EPOCH) -> Span:
    span = Span(first, attempt, [(job, len(opened))], [b"%d" % (first + row) for row in range(len(opened))])
    span.open = bytearray(map(int, opened))
    span.open_count = sum(span.open)
    span.holder, span.epoch = holder, epoch
    return span


@pytest.mark.parametrize("status", [COMPLETED, FAILED, TIMED_OUT, CRASHED])
@pytest.mark.parametrize(
    ("task", "attempt", "success", "failure", "crash"),
    [
        # The task is in attempt 2. What counts of a success, of a failure or time-out, of a crash:
        pytest.param("leased", 1, True, False, False, id="an earlier attempt"),
        pytest.param("leased", 2, True, True, True, id="the latest attempt"),
        pytest.param("leased", 3, False, False, False, id="an attempt that was never leased"),
        pytest.param("waiting", 1, True, False, False, id="an earlier attempt while it waits"),
        pytest.param("waiting", 2, True, True, False, id="the latest attempt while it waits"),
        pytest.param("done", 2, False, False, False, id="it is done"),
        pytest.param("unknown", 1, False, False, False, id="it left memory, or was never leased"),
    ],
)
def test_given_a_task_in_attempt_2_when_an_outcome_arrives_then_the_fence_decides(
    task: str, attempt: int, success: bool, failure: bool, crash: bool, status: int
) -> None:
    spans = {
        "leased": index(leased(10, "11")),
        "waiting": index(leased(10, "11", holder=None)),
        "done": index(leased(10, "01")),
        "unknown": index(leased(20, "1")),
    }[task]
    verdict = judge(batch(10, status, attempt=attempt), spans, EPOCH)
    expected = {COMPLETED: success, CRASHED: False}.get(status, failure)
    assert verdict.accepted_count == expected
    assert verdict.accepted is None if expected else verdict.accepted == bytearray(1)
    assert verdict.crashed == ([10] if status == CRASHED and crash else [])


@pytest.mark.parametrize(
    ("spans", "statuses", "accepted", "runs", "args", "crashed"),
    [
        pytest.param(
            [leased(10, "111")], [COMPLETED] * 3, None, [(1, 3)], [b"10", b"11", b"12"], [], id="a whole span"
        ),
        pytest.param(
            [leased(9, "11111")], [COMPLETED] * 3, None, [(1, 3)], [b"10", b"11", b"12"], [], id="a part of a span"
        ),
        pytest.param(
            [leased(10, "111")], [FAILED, COMPLETED, TIMED_OUT], None, [(1, 3)], [b"10", b"11", b"12"], [], id="fails"
        ),
        pytest.param(
            [leased(10, "101")], [COMPLETED] * 3, b"\x01\x00\x01", [(1, 3)], [b"10", b"11", b"12"], [], id="one done"
        ),
        pytest.param(
            [leased(10, "1"), leased(11, "11", job=2)],
            [COMPLETED] * 3,
            None,
            [(1, 1), (2, 2)],
            [b"10", b"11", b"12"],
            [],
            id="two spans of two jobs",
        ),
        pytest.param(
            [leased(9, "11"), leased(11, "1111")], [COMPLETED] * 3, None, [(1, 3)], [b"10", b"11", b"12"], [],
            id="parts of two spans",
        ),
        pytest.param(
            [leased(10, "11"), leased(12, "1", attempt=1)], [COMPLETED] * 3, b"\x01\x01\x00", [(1, 3)],
            [b"10", b"11", b"12"], [], id="two spans, one of them never leased with this attempt",
        ),
        pytest.param(
            [leased(10, "1"), leased(12, "1")], [COMPLETED] * 3, b"\x01\x00\x01", [(1, 1), (NO_JOB, 1), (1, 1)],
            [b"10", b"", b"12"], [], id="two spans and a hole",
        ),
        pytest.param(
            [leased(11, "1")], [COMPLETED] * 3, b"\x00\x01\x00", [(NO_JOB, 1), (1, 1), (NO_JOB, 1)],
            [b"", b"11", b""], [], id="only the middle is known",
        ),
        pytest.param([], [COMPLETED] * 2, b"\x00\x00", [(NO_JOB, 2)], [b"", b""], [], id="nothing is known"),
        pytest.param(
            [leased(10, "1", attempt=3), leased(11, "11", attempt=2)],
            [FAILED, FAILED, CRASHED],
            b"\x00\x01\x00",
            [(1, 3)],
            [b"10", b"11", b"12"],
            [12],
            id="one leased again, one failed, one crashed",
        ),
    ],
)  # fmt: skip
def test_given_spans_when_a_batch_of_attempt_2_is_judged_then_its_columns_fit_its_rows(
    spans: list[Span], statuses: list[int], accepted: bytes | None, runs: Runs, args: list[bytes], crashed: list[int]
) -> None:
    verdict = judge(batch(10, *statuses, attempt=2), index(*spans), EPOCH)
    assert verdict.accepted == accepted
    assert verdict.accepted_count == (len(statuses) if accepted is None else sum(accepted))
    assert (verdict.runs, verdict.args, verdict.crashed) == (runs, args, crashed)


UNKNOWN = 0


@pytest.mark.parametrize("status", [COMPLETED, FAILED, TIMED_OUT, CRASHED])
@pytest.mark.parametrize(
    ("task", "lease", "success", "failure", "crash"),
    [
        # The present epoch is 7. What counts of a success, of a failure or time-out, of a crash, of which lease:
        pytest.param((UNKNOWN, 1), (6, 1), True, True, True, id="nobody has said who has it: taken at his word"),
        pytest.param((UNKNOWN, 1), (3, 9), True, True, True, id="the same for an epoch long ago"),
        pytest.param((UNKNOWN, 1), (7, 1), False, False, False, id="this epoch has not leased it"),
        pytest.param((6, 2), (6, 2), True, True, True, id="the lease that was adopted"),
        pytest.param((6, 2), (6, 1), True, False, False, id="an earlier lease than the one that was adopted"),
        pytest.param((6, 2), (5, 9), True, False, False, id="one of an earlier epoch than the one that was adopted"),
        pytest.param((6, 2), (6, 3), True, True, True, id="a later lease of that epoch than the one that was adopted"),
        pytest.param((6, 2), (7, 1), False, False, False, id="this epoch has not leased what was adopted"),
        pytest.param((7, 2), (6, 9), True, False, False, id="leased again since"),
        pytest.param((7, 2), (8, 1), False, False, False, id="an epoch to come"),
    ],
)
def test_given_a_task_of_some_epoch_when_an_outcome_of_another_lease_arrives_then_the_fence_decides(
    task: tuple[int, int], lease: tuple[int, int], success: bool, failure: bool, crash: bool, status: int
) -> None:
    spans = index(leased(10, "11", task[1], epoch=task[0]))
    verdict = judge(batch(10, status, epoch=lease[0], attempt=lease[1]), spans, EPOCH)
    assert verdict.accepted_count == {COMPLETED: success, CRASHED: False}.get(status, failure)
    assert verdict.crashed == ([10] if status == CRASHED and crash else [])


@pytest.mark.parametrize(
    ("ended", "status", "counts"),
    [
        pytest.param((6, 1), FAILED, False, id="the attempt that ended has failed"),
        pytest.param((6, 1), CRASHED, False, id="the attempt that ended has crashed"),
        pytest.param((6, 2), CRASHED, False, id="a later attempt has ended"),
        pytest.param((5, 9), CRASHED, True, id="an earlier attempt has ended"),
        pytest.param((6, 1), COMPLETED, True, id="a success is always welcome"),
    ],
)
def test_given_an_attempt_whose_end_is_recorded_when_it_is_told_again_then_it_counts_once(
    ended: tuple[int, int], status: int, counts: bool
) -> None:
    spans = index(leased(10, "1", 1, epoch=UNKNOWN))
    verdict = judge(batch(10, status, epoch=6), spans, EPOCH, {10: ended})
    assert (verdict.accepted_count + len(verdict.crashed)) == counts
