"""The clock on the wall is set by an hour, for every process at once: nothing expires, nothing hangs, only times move.

All that Cyclone decides rests on the monotonic clock, which nobody can set. The other one is set here by a file that
each process looks into; see tests/chaos/site.
"""

import datetime
import os
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.exports import assert_each_once, exported, state_folder
from tests.support.lab import ROOT, Lab, Started

DONE = "control.exit_when_done=yes"
HOUR_S = 3600.0
# A run of this test is far shorter than this, and an hour far longer.
NEAR_S = 600.0
QUICK, COUNT = 50, 53
# While the clock is set one task waits for its second attempt, and two with a time limit run.
WORK = (
    {"what": "refused_at_first", "value": 2},
    {"what": "gate", "value": "gate", "limit": 600, "times": 2},
    {"what": "quick", "times": QUICK},
)
TASKS = {"retries": "1", "retry_delay": "2s"}
# Far less than an hour, and far more than a busy machine takes to start a master.
PATIENT = {"controller_timeout": "20s", "task_resend_timeout": "30m"}
# Several heartbeats: whatever is due is found at the next one.
WATCHED_S = 1.5
SetClock = Callable[[float], None]


@pytest.fixture
def set_clock(lab: Lab) -> SetClock:
    """Sets the clock of all processes of the lab to so many seconds later than it is."""
    path = lab.folder / "clock"
    path.write_bytes(bytes(8))
    lab.environment |= {
        "CYCLONE_CHAOS_CLOCK": str(path),
        "PYTHONPATH": f"{ROOT / 'tests' / 'chaos' / 'site'}{os.pathsep}{ROOT}",
    }

    def set_by(offset_s: float) -> None:
        with path.open("r+b") as file:
            file.write(struct.pack("d", offset_s))

    return set_by


def records(lab: Lab) -> list[dict[str, Any]]:
    """Of the journal."""
    return exported(lab, state_folder(lab) / "master.journal")


def unix_s(text: str) -> float:
    """A time of a record."""
    return datetime.datetime.fromisoformat(text).timestamp()


def nothing_expired(lab: Lab, *daemons: Started) -> None:
    """Nobody was given up, and no task was tried more often than it asked for."""
    for daemon in daemons:
        assert "silent for" not in daemon.stderr()
    starts = Counter(note["task"] for note in lab.notes("start"))
    (retried,) = {note["task"] for note in lab.notes("start", what="refused_at_first")}
    assert starts == {**dict.fromkeys(range(1, COUNT + 1), 1), retried: 2}


@pytest.mark.parametrize("offset_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])
def test_given_a_clock_that_is_set_by_an_hour_then_only_the_times_that_are_shown_move(
    lab: Lab, set_clock: SetClock, offset_s: float
) -> None:
    config = lab.script(*WORK, control=PATIENT, tasks=TASKS)
    master = lab.master(config, DONE)
    controllers = [lab.controller(config, name, "processing.worker_count=1") for name in ("one", "two")]
    lab.noted("start", 2, what="gate")
    early = {note["task"] for note in lab.notes("start") if note["what"] != "refused_at_first"}
    set_clock(offset_s)
    until = time.monotonic() + WATCHED_S
    lab.wait_until(lambda: time.monotonic() > until, "every time-out would have had its chance")
    lab.open("gate")
    assert master.exits() == 0, master.stderr()
    assert [controller.exits() for controller in controllers] == [0, 0]
    nothing_expired(lab, master, *controllers)
    found = records(lab)
    assert_each_once(found, COUNT)
    began = {record["id"]: unix_s(record["started"]) for record in found}
    reference = min(began[task] for task in early)
    assert all(abs(began[task] - reference) < NEAR_S for task in early)
    # A task shows the time at which its batch began plus the time that those before it took.
    late = {round((began[task] - reference) / NEAR_S) * NEAR_S for task in began.keys() - early}
    assert offset_s in late
    assert late <= {0.0, offset_s}
    # How long each took is measured by a clock that was not set.
    for record in found:
        assert 0.0 <= unix_s(record["finished"]) - unix_s(record["started"]) < NEAR_S, record


@pytest.mark.parametrize("offset_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])
def test_given_a_master_that_is_killed_when_the_next_has_another_time_then_what_runs_is_adopted(
    lab: Lab, set_clock: SetClock, offset_s: float
) -> None:
    config = lab.script(*WORK, control=PATIENT, tasks=TASKS)
    master = lab.master(config, DONE)
    controller = lab.controller(config, "one")
    lab.noted("start", 2, what="gate")
    master.signal(signal.SIGKILL)
    master.exits()
    set_clock(offset_s)
    master = lab.master(config, DONE)
    lab.open("gate")
    assert master.exits() == 0, master.stderr()
    assert controller.exits() == 0
    nothing_expired(lab, master, controller)
    assert_each_once(records(lab), COUNT)
