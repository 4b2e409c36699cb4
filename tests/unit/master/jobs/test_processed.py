"""Results that their consumer has taken: they count once, and only where there is a result."""

import pytest

from cyclone.master.events import TasksProcessed
from cyclone.protocol.job_messages import (
    ProcessedRequest,
)
from cyclone.protocol.states import COMPLETED
from tests.support.job_requests import ANN, answer, ask, counts, events
from tests.support.masters import Master, batch


class TestProcessed:
    def test_given_completed_tasks_then_they_count_as_processed_once(self, master: Master, running: int) -> None:
        master.results(running, batch(1, COMPLETED, COMPLETED))
        for _ in range(2):
            assert answer(ask(master, ProcessedRequest(1, 1, [(0, 1)]), ANN)).granted
        assert events(master, TasksProcessed) == [TasksProcessed(1, ((0, 1),))]
        assert counts(master, 1) == {"processed": 2, "queued": 2}
        master.restart()
        assert counts(master, 1)["processed"] == 2

    @pytest.mark.parametrize(
        ("ranges", "text"),
        [
            pytest.param([(0, 2)], "task 2 of job 1 has no result yet: it is queued", id="one that waits"),
            pytest.param([(0, 9)], "has 4 tasks so far", id="one that there is not"),
        ],
    )
    def test_given_tasks_without_a_result_then_it_is_not_granted(
        self, master: Master, running: int, ranges: list[tuple[int, int]], text: str
    ) -> None:
        master.results(running, batch(1, COMPLETED, COMPLETED))
        found = answer(ask(master, ProcessedRequest(1, 1, ranges), ANN))
        assert not found.granted
        assert text in found.text

    def test_given_a_job_that_has_ended_then_it_is_recorded_all_the_same(self, master: Master) -> None:
        assert answer(ask(master, ProcessedRequest(1, 17, [(0, 9)]), ANN, known_job=17)).granted
        # Without tasks it only asks whether one may.
        assert answer(ask(master, ProcessedRequest(1, 17, []), ANN, known_job=17)).granted
        assert answer(ask(master, ProcessedRequest(1, 18, []), ANN)).code == "not_allowed"
        assert not answer(ask(master, ProcessedRequest(1, 18, [(0, 9)]), ANN)).granted
        assert events(master, TasksProcessed) == [TasksProcessed(17, ((0, 9),))]
