"""What of a job bears on handing out its rows, and that a controller does not remember jobs for ever."""

from typing import Any

import pytest

from cyclone.controller import job_book
from cyclone.controller.job_book import JobBook
from cyclone.controller.work import Piece
from cyclone.protocol.limits import BATCH_BYTES_TARGET
from cyclone.protocol.messages import Job
from cyclone.protocol.runs import Runs
from cyclone.protocol.states import COMPLETED, CRASHED, FAILED, REFUSED, SETUP_FAILED, TIMED_OUT

PLAIN, WIDE, RESTING, SHARING = 1, 2, 3, 4


def job(job_id: int, **options: Any) -> Job:
    return Job(job_id, "tests:Task", **options)


def book() -> JobBook:
    made = JobBook()
    made.learn(
        [
            job(PLAIN),
            job(WIDE, cpus=2),
            job(RESTING, waits=(1.0, 2.0, 3.0)),
            *(job(job_id, shared=bytes(BATCH_BYTES_TARGET // 2)) for job_id in range(SHARING, SHARING + 4)),
        ]
    )
    return made


@pytest.mark.parametrize(
    ("runs", "rows", "together"),
    [
        pytest.param([(PLAIN, 9)], 9, 9, id="plain ones"),
        pytest.param([(PLAIN, 9)], 4, 4, id="as many as are wanted"),
        pytest.param([(WIDE, 9)], 9, 1, id="of several slots"),
        pytest.param([(RESTING, 9)], 9, 1, id="with a rest behind"),
        pytest.param([(PLAIN, 3), (RESTING, 9)], 9, 3, id="up to the first that goes alone"),
        pytest.param([(PLAIN, 3), (RESTING, 9)], 2, 2, id="fewer than those"),
        pytest.param([(SHARING, 9)], 9, 9, id="of one job that shares much"),
        pytest.param([(SHARING, 2), (PLAIN, 2), (SHARING + 1, 2), (SHARING + 2, 9)], 9, 6, id="as jobs fit a frame"),
    ],
)
def test_given_rows_then_so_many_go_to_a_worker_at_once(runs: Runs, rows: int, together: int) -> None:
    count = sum(count for _, count in runs)
    assert book().rows_together(Piece(1, 1, 1, runs, [b""] * count), rows) == together


@pytest.mark.parametrize(
    ("status", "wait_s"),
    [(COMPLETED, 1.0), (SETUP_FAILED, 2.0), (REFUSED, 2.0), (FAILED, 3.0), (TIMED_OUT, 3.0), (CRASHED, 3.0)],
)
def test_given_an_outcome_then_its_wait_is_the_jobs(status: int, wait_s: float) -> None:
    assert book().wait_s(RESTING, status) == wait_s
    assert book().wait_s(PLAIN, status) == 0.0


def test_given_a_job_that_is_announced_again_then_what_it_was_is_forgotten() -> None:
    made = book()
    made.learn([job(WIDE), job(PLAIN, cpus=3)])
    assert not made.goes_alone(WIDE)
    assert made.goes_alone(PLAIN)


def test_given_more_jobs_than_are_kept_then_only_those_are_left_of_which_rows_are_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_book, "JOBS_MAX", 10)
    made = JobBook()
    made.learn(map(job, range(1, 11)))
    made.tidy(lambda: {3})
    assert len(made) == 10
    made.learn([job(11)])
    made.tidy(lambda: {3, 11})
    assert [job_id for job_id in range(1, 12) if job_id in made] == [3, 11]


def test_given_more_shared_bytes_than_are_kept_then_jobs_are_forgotten_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_book, "BYTES_MAX", BATCH_BYTES_TARGET)
    made = book()
    made.tidy(lambda: {SHARING})
    assert len(made) == 1
    made.learn([job(SHARING + 1, shared=bytes(BATCH_BYTES_TARGET // 2))])
    made.tidy(set)
    assert len(made) == 2


def test_given_nothing_but_needed_jobs_then_they_are_not_looked_through_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_book, "JOBS_MAX", 10)
    made, looks = JobBook(), 0

    def needed() -> set[int]:
        nonlocal looks
        looks += 1
        return set(range(1, 200))

    for job_id in range(1, 100):
        made.learn([job(job_id)])
        made.tidy(needed)
    assert len(made) == 99
    assert looks == 1
