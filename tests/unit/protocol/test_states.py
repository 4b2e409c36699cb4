"""The table of docs/task-states.md against the code that it describes."""

import re
from pathlib import Path

from cyclone.protocol import states

PAGE = Path(__file__).parents[3] / "docs" / "task-states.md"


def test_given_the_page_of_task_states_then_its_table_is_the_one_in_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (yes|no) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {int(status): name for name, status, _ in rows} == states.STATE_NAMES
    assert tuple(name for name, _, final in rows if final == "yes") == states.FINAL_STATES


def test_given_the_statuses_then_all_but_those_that_end_an_attempt_alone_are_final() -> None:
    ends_of_attempts = {states.STATE_NAMES[states.CRASHED], states.STATE_NAMES[states.LOST]}
    assert set(states.STATE_NAMES.values()) - set(states.FINAL_STATES) == ends_of_attempts


def test_given_the_page_then_it_marks_what_a_controller_may_report() -> None:
    rows = re.findall(r"^\| `\w+` \| (\d+) \| (?:yes|no) \| (\w+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == len(states.STATE_NAMES)
    assert {int(status) for status, said_by in rows if said_by == "controller"} == states.REPORTED
