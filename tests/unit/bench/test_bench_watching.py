"""What is made of a running master's answers."""

from typing import Any

import pytest

from cyclone.bench import watching
from cyclone.bench.watching import Sample
from cyclone.protocol.client_messages import ControllerStatus, StatusReport


def looked(at: float, done: int, **changes: Any) -> Sample:
    values = {"trip_us": 100.0, "epoch": 1, "queued": 5, "leased": 4, "controllers": 2, "slots": 8}
    return Sample(at=at, done=done, **values | changes)


def test_given_an_answer_then_all_that_has_ended_is_done() -> None:
    controllers = [ControllerStatus(name, "host", slots, 0, 0.0, "") for name, slots in (("a", 4), ("b", 2))]
    tasks = {"queued": 7, "delayed": 3, "leased": 5, "completed": 10, "failed": 2, "cancelled": 1}
    answer = StatusReport(1, "3.0", "off", 9, tasks, 28, False, False, [], controllers)

    assert watching.sample(answer, 2.5, 80.0) == Sample(2.5, 80.0, 9, 13, 7, 5, 2, 6)


def test_given_answers_then_the_rate_is_that_between_the_first_and_the_last_and_the_spread_that_of_its_parts() -> None:
    found = watching.of_samples(
        [looked(10.0, 100), looked(11.0, 400, trip_us=900.0), looked(12.0, 500, queued=0), looked(14.0, 900)]
    )

    assert found["tasks"] == 800
    assert found["tasks_per_s"] == 200
    assert found["spread"]["tasks_per_s"] == [100, 300]
    assert found["waiting_share"] == 0.75
    assert (found["question_p50_us"], found["question_max_us"]) == (100, 900)
    assert (found["controllers"], found["slots"]) == (2, 8)


def test_given_too_little_work_then_people_are_warned_and_otherwise_not() -> None:
    busy = watching.of_samples([looked(0.0, 0), looked(1.0, 5)])
    idle = watching.of_samples([looked(0.0, 0), looked(1.0, 5, queued=0)])

    assert not any(line.startswith("beware") for line in watching.lines(busy))
    assert any("tasks waited in 50 % of the looks only" in line for line in watching.lines(idle))


def test_given_another_master_meanwhile_then_nothing_is_made_of_it() -> None:
    with pytest.raises(ValueError, match="started again"):
        watching.of_samples([looked(0.0, 100), looked(1.0, 3, epoch=2)])
