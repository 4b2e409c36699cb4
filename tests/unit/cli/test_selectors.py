"""How jobs, tasks and states are meant on a command line."""

import argparse
from typing import Any

import pytest

from cyclone.cli import selectors
from cyclone.cli.selectors import ALL, LAST, Jobs, Task, Tasks
from cyclone.errors import ConfigError, UsageError
from cyclone.protocol.job_spec import JobSelection
from cyclone.protocol.states import FINAL_STATES, JOB_STATES


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("5", Jobs(((5, 5),))),
        ("0", Jobs(((0, 0),))),
        ("1,3,5-8", Jobs(((1, 1), (3, 3), (5, 8)))),
        ("2-10:2", Jobs(((2, 2), (4, 4), (6, 6), (8, 8), (10, 10)))),
        ("8, 5-7,6", Jobs(((5, 8),))),
        ("1-999999999999", Jobs(((1, 999999999999),))),
        ("last", LAST),
        ("all", ALL),
    ],
)
def test_given_a_selection_of_jobs_then_it_is_read(text: str, meant: Jobs) -> None:
    assert selectors.jobs(text) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("5", Tasks(Jobs(((5, 5),)))),
        ("all", Tasks(ALL)),
        ("5.17", Tasks(Jobs(((5, 5),)), ((17, 17),))),
        ("5.0-99", Tasks(Jobs(((5, 5),)), ((0, 99),))),
        ("5.1,3,7-9", Tasks(Jobs(((5, 5),)), ((1, 1), (3, 3), (7, 9)))),
        ("last.3", Tasks(LAST, ((3, 3),))),
    ],
)
def test_given_a_selection_of_tasks_then_it_is_read(text: str, meant: Tasks) -> None:
    assert selectors.tasks(text) == meant


@pytest.mark.parametrize(
    ("text", "meant"), [("5", Task(5)), ("last", Task(None)), ("7.2", Task(7, 2)), ("0.0", Task(0, 0))]
)
def test_given_one_job_or_task_then_it_is_read(text: str, meant: Task) -> None:
    assert selectors.task(text) == meant


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (selectors.jobs, "", "'' is no selection; write 5, 1,3,5-8"),
        (selectors.jobs, "-3", "no selection"),
        (selectors.jobs, "5,", "no selection"),
        (selectors.jobs, "5 7", "no selection"),
        (selectors.jobs, "１", "no selection"),
        (selectors.jobs, "9" * 19, "no selection"),
        (selectors.jobs, "first", "no selection"),
        (selectors.jobs, "8-5", "begins behind its end"),
        (selectors.jobs, "1-9:0", "step of 0"),
        (selectors.jobs, "0-999999999:2", "more than 65,536 ranges"),
        (selectors.jobs, "5.1", "'5.1' means tasks, and here whole jobs are meant; write 5$"),
        (selectors.jobs, "5_17", "'5_17' means tasks, and here whole jobs are meant; write 5$"),
        (selectors.jobs, "last.3-5", "here whole jobs are meant; write last$"),
        (selectors.jobs, "5_x", "'5_x' is no selection"),
        (selectors.tasks, "5_17", r"'5_17': a task is written 5\.17, job, dot, index; indexes begin with 0"),
        (selectors.tasks, "5_[1-3]", r"a task is written 5\.1-3, "),
        (selectors.tasks, "5_[1,3-9%2]", r"a task is written 5\.1,3-9, "),
        (selectors.tasks, "5.[4-5]", r"a task is written 5\.4-5, "),
        (selectors.tasks, "5_x", "'5_x' is no selection"),
        (selectors.task, "5_17", r"a task is written 5\.17"),
        (selectors.tasks, "5.1_7", "'5.1_7' is no selection"),
        (selectors.tasks, "5-7.1", "one job is needed"),
        (selectors.tasks, "all.1", "means all jobs, and one is needed; write 5.17, 5.0-99 or last.3"),
        (selectors.task, "all", "means all jobs, and one is needed; write 5, last, 5.17 or last.17"),
        (selectors.task, "x", "no selection; write 5, last, 5.17 or last.17"),
        (selectors.tasks, "5.", "no selection"),
        (selectors.tasks, "5.1.2", "no selection"),
        (selectors.task, "5-6", "one job is needed"),
        (selectors.task, "5.1-2", "several tasks"),
        (selectors.number, "-1", "'-1' is no number of things: write one from 0 on"),
        (selectors.number, "ten", "is no number"),
        (selectors.number, "9" * 19, "is no number"),
        (selectors.task_ids, "0-5", "ids of tasks begin with 1"),
        (selectors.job_states, "leased", "'leased' is no state here"),
        (selectors.job_states, "F,TO", "'to' is a state of tasks, and no state here"),
        (selectors.task_states, "waiting", "'waiting' is no state here"),
        (selectors.task_states, ",", "names no state"),
    ],
)
def test_given_what_is_no_selection_then_it_is_said_what_would_be(read: Any, text: str, says: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=says):
        read(text)


def test_given_several_selections_then_they_are_one_unless_one_means_more_than_numbers() -> None:
    assert selectors.merged([selectors.jobs("5"), selectors.jobs("6-8,2")]) == Jobs(((2, 2), (5, 8)))
    assert selectors.merged([LAST]) is LAST
    with pytest.raises(UsageError, match="stand alone"):
        selectors.merged([LAST, selectors.jobs("5")])


@pytest.mark.parametrize(
    ("read", "text", "meant"),
    [
        (selectors.job_states, "running,FAILED", ("running", "failed")),
        (selectors.job_states, "ended", ("completed", "failed", "cancelled", "expired")),
        (
            selectors.task_states,
            "PD,R,CD,F,TO,CA",
            ("held", "blocked", "delayed", "queued", "running", "completed", "failed", "timed_out", "cancelled"),
        ),
        (selectors.job_states, "pending", ("held", "queued", "delayed")),
        (selectors.task_states, "missing,failed", ("cancelled", "expired", "failed")),
        (selectors.task_states, "failed,bad", ("failed", "timed_out", "setup_failed", "quarantined", "refused")),
    ],
)
def test_given_states_then_words_and_letters_of_others_mean_them_too(read: Any, text: str, meant: Any) -> None:
    assert read(text) == meant


def test_given_the_states_of_the_protocol_then_each_can_be_asked_for() -> None:
    assert {*selectors.OPEN_JOB_STATES, *selectors.ENDED_JOB_STATES} == set(JOB_STATES)
    assert {*FINAL_STATES, "processed"} == set(selectors.ENDED_TASK_STATES)


def filters(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    selectors.add_filters(parser)
    return parser.parse_args(words)


def test_given_filters_then_they_narrow_the_selection() -> None:
    given = filters("-n", "night", "--owner", "ann", "--tag", "a=1", "--tag", "b=x=y", "--name", "x", "--session", "s")
    assert selectors.jobs("5-6").selection(given) == JobSelection(
        ids=[(5, 6)], namespace="night", owner="ann", tags={"a": "1", "b": "x=y"}, name="x", session="s"
    )
    assert ALL.selection(filters()) == JobSelection()
    assert LAST.selection() == JobSelection(last=True)


def test_given_a_filter_that_nothing_can_be_called_then_no_master_is_asked() -> None:
    with pytest.raises(argparse.ArgumentError, match="'two words' is not a name: write letters"):
        filters("-n", "two words")
    with pytest.raises(ConfigError, match="no job can be meant by that: .*name"):
        ALL.selection(filters("--name", "x" * 300))
    with pytest.raises(argparse.ArgumentError, match="write NAME=VALUE"):
        filters("--tag", "nothing")
