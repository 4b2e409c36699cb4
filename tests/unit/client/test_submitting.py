"""Blocks of tasks, and what becomes of an answer."""

import itertools

import pytest

from cyclone.client.submitting import Blocks, Row, check, pause_s
from cyclone.errors import (
    MasterBusy,
    NoSuchJob,
    NoSuchNamespace,
    NotAllowed,
    PayloadTooLarge,
    QuotaExceeded,
    SubmitRefused,
)
from cyclone.protocol import job_messages as codes
from cyclone.protocol.job_messages import SUBMIT_REFUSALS, Submitted
from cyclone.protocol.job_spec import TaskBlock
from cyclone.protocol.limits import BATCH_BYTES_TARGET, TASKS_PER_BATCH_MAX, VALUE_BYTES_MAX

ROW = b"\x90"


def answer(code: str = "", count: int = 0, sealed: bool = False, room: int = 9, job_id: int = 5) -> Submitted:
    return Submitted(1, job_id, count, sealed, room, code=code)


def all_blocks(blocks: Blocks) -> list[int]:
    """The sizes, where the master takes everything."""
    sizes: list[int] = []
    while (block := blocks.take()) is not None:
        assert block.offset == sum(sizes)
        sizes.append(len(block.args))
        blocks.taken(block.offset + len(block.args))
    return sizes


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, []), (1, [1]), (TASKS_PER_BATCH_MAX, [4096]), (TASKS_PER_BATCH_MAX + 1, [4096, 1]), (9000, [4096, 4096, 808])],
)
def test_given_tasks_then_they_go_in_whole_blocks(count: int, sizes: list[int]) -> None:
    blocks = Blocks(itertools.repeat(ROW, count))
    assert all_blocks(blocks) == sizes
    assert blocks.exhausted
    assert blocks.offset == blocks.end == count


def test_given_large_tasks_then_a_block_ends_where_a_message_should() -> None:
    large = b"x" * (BATCH_BYTES_TARGET // 2)
    assert all_blocks(Blocks([large, large, large, ROW, large])) == [2, 2, 1]


def test_given_tasks_that_come_slowly_then_a_none_ends_the_block_that_has_begun() -> None:
    blocks = Blocks([None, ROW, ROW, None, None, ROW, None])
    assert all_blocks(blocks) == [2, 1]
    assert blocks.exhausted


def test_given_a_job_of_before_that_has_more_then_what_it_has_is_skipped() -> None:
    blocks = Blocks([b"0", None, b"1", None, b"2", b"3"])
    blocks.take()
    blocks.taken(3)
    assert blocks.take() == TaskBlock(3, [b"3"])


def test_given_a_task_that_is_too_large_then_it_is_named() -> None:
    with pytest.raises(PayloadTooLarge, match=f"task 1 take {VALUE_BYTES_MAX + 1} bytes"):
        Blocks([ROW, b"x" * (VALUE_BYTES_MAX + 1)]).take()


def test_given_a_part_that_was_taken_then_the_rest_is_given_again() -> None:
    blocks = Blocks([b"0", b"1", b"2"])
    blocks.take()
    blocks.taken(1)
    assert blocks.take() == TaskBlock(1, [b"1", b"2"])
    assert blocks.waiting == 2


def test_given_options_of_single_tasks_then_they_stay_with_them() -> None:
    blocks = Blocks([b"0", Row(b"1", 5.0), Row(b"2"), Row(b"3", None, 2.5)])
    assert blocks.take() == TaskBlock(0, [b"0", b"1", b"2", b"3"], [(1, 5.0, None), (3, None, 2.5)])
    blocks.taken(2)
    assert blocks.take() == TaskBlock(2, [b"2", b"3"], [(1, None, 2.5)])
    large = Blocks([Row(bytes(BATCH_BYTES_TARGET), time_limit_s=1.0), Row(b"1", time_limit_s=2.0)])
    for index in range(2):
        block = large.take()
        assert block is not None
        assert (block.offset, block.options) == (index, [(0, None, index + 1.0)])
        large.taken(index + 1)


def test_given_a_job_of_before_then_what_it_has_is_passed_over() -> None:
    blocks = Blocks(b"%d" % number for number in range(10_000))
    blocks.take()
    blocks.taken(9_998)
    assert blocks.take() == TaskBlock(9_998, [b"9998", b"9999"])
    assert blocks.exhausted


def test_given_an_endless_iterable_then_only_a_block_of_it_is_pulled() -> None:
    numbers = itertools.count()
    Blocks(b"%d" % number for number in numbers).take()
    assert next(numbers) == TASKS_PER_BATCH_MAX


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (codes.QUOTA, QuotaExceeded),
        (codes.NO_JOB, NoSuchJob),
        (codes.NO_NAMESPACE, NoSuchNamespace),
        (codes.NOT_ALLOWED, NotAllowed),
        (codes.SEALED, SubmitRefused),
        (codes.INVALID, SubmitRefused),
        (codes.GAP, SubmitRefused),
        (codes.BUSY, MasterBusy),
    ],
)
def test_given_a_refusal_then_it_is_raised_with_what_it_means(code: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=SUBMIT_REFUSALS[code]):
        check(answer(code, job_id=0), 1)


@pytest.mark.parametrize("given", [answer(), answer(codes.BUSY), answer(codes.SEALED, count=3, sealed=True)])
def test_given_what_is_no_refusal_then_nothing_is_raised(given: Submitted) -> None:
    check(given, 3)


def test_given_a_busy_master_then_the_pauses_grow_to_half_a_second() -> None:
    pauses = [0.0]
    for _ in range(8):
        pauses.append(pause_s(answer(codes.BUSY), pauses[-1]))
    assert pauses[1:4] == [0.01, 0.02, 0.04]
    assert pauses[-1] == 0.5
    assert pause_s(answer(room=0), 0.0) == 0.01
    assert pause_s(answer(), 0.5) == 0.0
