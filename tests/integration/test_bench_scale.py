"""The benchmark of many controllers on one master, with few of them: it serves all and says what it found."""

import json
import sys

import pytest

from tests.support.lab import ROOT, Lab


@pytest.mark.timeout(60)
def test_given_some_controllers_then_all_are_served_and_no_session_is_lost(lab: Lab) -> None:
    options = ["--controllers", "60", "--seconds", "1", "--task-s", "0.3", "--json"]
    bench = lab.start(sys.executable, "-m", "benchmarks.scale", *options, environment={"PYTHONPATH": str(ROOT)})
    assert bench.exits(50) == 0, bench.stderr()
    report = json.loads(bench.stdout())
    assert (report["controllers"], report["sessions_lost"], report["never_served"]) == (60, 0, 0)
    assert report["refills"] > 60
    assert 30 < report["heartbeats_per_s"] < 120
    assert report["tasks_per_s"] > 50
