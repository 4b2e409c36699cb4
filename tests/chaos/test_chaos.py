"""The short profile: a minute of faults on real processes, and the verdict is clean. ``make chaos`` has longer ones."""

import json
from pathlib import Path

import pytest

from cyclone import BaseTask
from tests.chaos.checker import VERDICT
from tests.chaos.cluster import ClusterOptions
from tests.chaos.plan import Plan
from tests.chaos.planted.__main__ import found
from tests.chaos.run import RunOptions, run

# Of a run without a bug it is judged how soon work goes on; one with a bug has its few seconds to come to light.
pytestmark = pytest.mark.alone

FAULTS_S = 45.0
TASKS = 4000
FAULTS_MIN = 60
JOBS_MIN = 3
# Those that a run finds soonest; `python -m tests.chaos.planted` hunts all of them.
QUICK_BUGS = ("acknowledged_before_commit", "epoch_does_not_rise", "cursor_is_not_recorded")


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("seed", "follow"), [(1, True)])
def test_given_a_minute_of_faults_then_nothing_is_lost_and_nothing_recorded_twice(
    tmp_path: Path, seed: int, follow: bool
) -> None:
    plan = Plan(TASKS, seed, follow=follow, exclusive=hasattr(BaseTask, "exclusive"))
    counts, code = run(tmp_path, RunOptions(ClusterOptions(plan, clients=3), seed, FAULTS_S, quiet=True))
    verdict = json.loads((tmp_path / VERDICT).read_text())
    assert code == 0, json.dumps(verdict["violations"], indent=1)
    # A quiet minute would prove nothing.
    assert sum(counts.values()) >= FAULTS_MIN
    assert verdict["figures"]["lives_of_the_master"] > 1
    assert verdict["figures"]["tasks"] == len(plan.numbers)
    assert verdict["figures"]["jobs"] >= JOBS_MIN


@pytest.mark.timeout(240)
@pytest.mark.parametrize("bug", QUICK_BUGS)
def test_given_a_planted_bug_then_the_checker_finds_it(bug: str) -> None:
    assert found(bug), "no run with this bug was found out"
