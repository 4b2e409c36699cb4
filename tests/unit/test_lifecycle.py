"""The one table of a task's life, its page, and how a job's state follows from its tasks."""

import re
from pathlib import Path

import pytest

from cyclone.lifecycle import (
    ALL_STATES,
    BAD_ENDS,
    OPEN_STATES,
    PROCESSED,
    TRANSITIONS,
    job_state,
    may_follow,
)
from cyclone.protocol.job_lists import ended_state
from cyclone.protocol.states import FINAL_STATES, JOB_STATES

PAGE = Path(__file__).parents[2] / "docs" / "task-states.md"


def test_given_the_page_of_task_states_then_its_transitions_are_those_of_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    section = text[text.index("## Transitions") : text.index("Of attempts and charges")]
    rows = re.findall(r"^\| (.+?) \| (\w+) \| (.+) \|$", section, re.MULTILINE)
    table = [(", ".join(source or "-" for source in one.sources), one.target, one.by) for one in TRANSITIONS]
    assert rows[1:] == table


def test_given_the_page_then_each_state_of_a_task_and_of_a_job_has_its_line() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(OPEN_STATES) | set(FINAL_STATES) | set(JOB_STATES) <= set(rows)


def test_given_the_table_then_it_names_known_states_only_and_reaches_all_but_the_one_that_is_kept_for_later() -> None:
    named = {state for one in TRANSITIONS for state in (*one.sources, one.target)}
    assert named - {""} == set(ALL_STATES) - {"blocked"}


def test_given_a_final_state_then_nothing_follows_but_processed_after_completed() -> None:
    for final in FINAL_STATES:
        followers = [state for state in ALL_STATES if may_follow(final, state)]
        assert followers == ([PROCESSED] if final == "completed" else [])


@pytest.mark.parametrize(
    ("tasks", "sealed", "held", "state"),
    [
        pytest.param({}, False, False, "waiting", id="nothing yet"),
        pytest.param({}, True, False, "completed", id="nothing at all"),
        pytest.param({"queued": 1}, True, False, "queued", id="queued"),
        pytest.param({"held": 1}, True, True, "held", id="held"),
        pytest.param({"leased": 1, "held": 1}, True, True, "held", id="held, while one is out"),
        pytest.param({"running": 1, "completed": 1}, True, True, "held", id="held, while its last one runs"),
        pytest.param({"running": 1}, False, True, "held", id="held, while one runs, and may get more"),
        pytest.param({"completed": 1}, True, True, "completed", id="held until it ended"),
        pytest.param({"delayed": 2, "completed": 1}, True, False, "delayed", id="all delayed"),
        pytest.param({"delayed": 2, "queued": 1}, True, False, "queued", id="some delayed"),
        pytest.param({"running": 1, "queued": 9}, True, False, "running", id="one runs"),
        pytest.param({"completed": 3}, False, False, "waiting", id="may get more"),
        pytest.param({"completed": 3}, False, True, "held", id="held, and may get more"),
        pytest.param({"completed": 2, "processed": 1}, True, False, "completed", id="all well"),
        pytest.param({"completed": 2, "cancelled": 1}, True, False, "cancelled", id="one cancelled"),
        pytest.param({"expired": 1}, True, False, "expired", id="one expired"),
        pytest.param({"completed": 2, "expired": 1}, True, False, "expired", id="one expired, the others well"),
        pytest.param({"cancelled": 1, "expired": 1}, True, False, "cancelled", id="one expired, one cancelled"),
        pytest.param({"expired": 1, "failed": 1}, True, False, "failed", id="one expired, one failed"),
        *(pytest.param({"cancelled": 1, bad: 1}, True, False, "failed", id=bad) for bad in BAD_ENDS),
    ],
)
def test_given_the_tasks_of_a_job_then_its_state_follows(
    tasks: dict[str, int], sealed: bool, held: bool, state: str
) -> None:
    assert job_state(tasks, sealed, held) == state
    assert state in JOB_STATES
    if sealed and not set(tasks) & set(OPEN_STATES):
        assert ended_state(tasks) == state


@pytest.mark.parametrize(
    ("tasks", "held", "state"),
    [
        pytest.param({"held": 9, "cancelled": 1}, True, "cancelling", id="held before"),
        pytest.param({"running": 1, "cancelled": 1}, False, "cancelling", id="one is being stopped"),
        pytest.param({"queued": 9}, False, "cancelling", id="all still wait"),
        pytest.param({"cancelled": 9}, True, "cancelled", id="it has ended"),
    ],
)
def test_given_a_job_that_is_being_cancelled_then_it_is_that_until_it_has_ended(
    tasks: dict[str, int], held: bool, state: str
) -> None:
    assert job_state(tasks, True, held, is_cancelled=True) == state
    assert state in JOB_STATES


def test_given_a_cancelled_job_to_which_nothing_is_added_then_it_is_not_being_cancelled() -> None:
    assert job_state({"failed": 3}, False, False, is_cancelled=True) == "waiting"
