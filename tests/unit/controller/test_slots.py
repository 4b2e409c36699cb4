"""Rows out at a worker: which have started, which can be taken back, which are still unreported."""

from typing import Any

import pytest

from cyclone.controller import pipe
from cyclone.controller.slots import Phase, Slot
from cyclone.protocol.messages import Job
from tests.support.controllers import tasks
from tests.unit.controller.test_work import piece


@pytest.fixture
def slot() -> Slot:
    """Two batches: rows 1 to 3 are tasks 10 to 12, rows 4 and 5 tasks 20 and 21."""
    slot = Slot(0, 0, Phase.READY)
    assert [slot.give(piece(10, 3)), slot.give(piece(20, 2))] == [1, 4]
    return slot


@pytest.mark.parametrize(("seq", "unstarted"), [(0, 5), (1, 4), (3, 2), (4, 1), (5, 0), (99, 0)])
def test_given_the_published_row_then_all_behind_it_are_unstarted(slot: Slot, seq: int, unstarted: int) -> None:
    assert slot.unstarted(seq) == unstarted


@pytest.mark.parametrize(
    ("seq", "cut", "held"),
    [
        (0, [(10, 3), (20, 2)], []),
        (1, [(11, 2), (20, 2)], [tasks(10)]),
        (3, [(20, 2)], [tasks(10, 3)]),
        (4, [(21, 1)], [tasks(10, 3), tasks(20)]),
        (5, [], [tasks(10, 3), tasks(20, 2)]),
    ],
)
def test_given_a_take_back_then_the_rows_behind_come_off_and_the_rest_stays(
    slot: Slot, seq: int, cut: list[tuple[int, int]], held: list[object]
) -> None:
    assert [(part.first, len(part)) for part in slot.cut_behind(seq)] == cut
    assert slot.held() == held
    assert [batch.base for batch in slot.batches] == [1, 4]
    assert slot.unstarted(seq) == 0


def test_given_reported_rows_then_they_are_not_held_here_any_more(slot: Slot) -> None:
    slot.reported(2)
    assert slot.held() == [tasks(12), tasks(20, 2)]
    assert slot.unreported == 3


def test_given_an_ended_batch_then_its_rows_are_not_held_whether_they_were_reported_or_not(slot: Slot) -> None:
    slot.reported(1)
    assert slot.ended().unreported == 2
    assert slot.held() == [tasks(20, 2)]
    assert slot.unreported == 2


def test_given_a_new_process_then_nothing_of_the_old_one_is_left(slot: Slot) -> None:
    slot.tell([Job(1, "tests:Task")])
    slot.taking_back, slot.flushed_seq, slot.ending_seq = True, 2, 3
    slot.restart()
    assert (slot.phase, slot.unreported, slot.next_seq, 1 in slot.jobs) == (Phase.STARTING, 0, 1, False)
    assert (slot.taking_back, slot.flushed_seq, slot.ending_seq) == (False, 0, 0)


def test_given_jobs_then_the_worker_is_told_of_each_once_until_it_forgets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "TOLD_JOBS_MAX", 3)
    slot, told = Slot(0, 0), list[list[int]]()
    for needed in ([1], [1, 2], [2, 3], [3, 4], [4, 3], [1, 2, 3, 4, 5], [5]):
        told.append([job.job_id for job in slot.tell([Job(job_id, "tests:Task") for job_id in needed])])
    assert told == [[1], [2], [3], [3, 4], [], [1, 2, 3, 4, 5], []]


@pytest.mark.parametrize("options", [{"shared": bytes(6)}, {"environment": {"A": "12", "B": "34"}}])
def test_given_jobs_that_share_much_then_the_worker_is_told_again_before_it_has_to_keep_too_much(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(pipe, "TOLD_BYTES_MAX", 10)
    slot = Slot(0, 0)
    one, two = (Job(job_id, "tests:Task", **options) for job_id in (1, 2))
    assert [slot.tell([job]) for job in (one, one, two, one)] == [[one], [], [two], [one]]


def test_given_a_row_that_is_out_then_its_task_is_known_and_0_for_any_other(slot: Slot) -> None:
    parts = [slot.range_at(seq) for seq in (0, 1, 3, 4, 5, 6)]
    assert [part.first if part else 0 for part in parts] == [0, 10, 12, 20, 21, 0]
