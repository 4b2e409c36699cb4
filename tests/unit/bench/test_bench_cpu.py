"""CPU time of processes by role."""

import os
import subprocess
import sys
import time

from cyclone.bench import cpu
from tests.support.procfs import wait_until

# Above the largest pid that Linux gives.
_NOBODY = 1 << 22


def test_given_this_process_then_its_time_is_what_it_says_itself() -> None:
    before = time.process_time()
    (seconds,) = cpu.used_s([os.getpid()]).values()
    assert before <= seconds <= time.process_time()


def test_given_another_process_then_what_it_uses_is_seen_and_it_is_gone_when_it_is() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        wait_until(lambda: cpu.used_s([busy.pid])[busy.pid] > 0.02, "it has used some")
        busy.kill()
    assert cpu.used_s([busy.pid]) == {}


def test_given_two_looks_then_a_role_has_the_sum_and_its_busiest_process() -> None:
    first = {"master": {1: 5.0}, "workers": {2: 1.0, 3: 1.0}, "controller": {4: 1.0}}
    last = {"master": {1: 5.5}, "workers": {2: 1.25, 3: 3.0, 9: 0.5}, "controller": {}}

    found = cpu.used(first, last)

    # A worker that came meanwhile counts in full; a role without a process is not there.
    assert found == {"master": cpu.Used(0.5, 0.5), "workers": cpu.Used(2.75, 2.0)}


def test_given_a_look_then_each_role_has_its_processes_and_an_unknown_controller_no_workers() -> None:
    worker = "import time; time.sleep(5)  # cyclone.controller.worker"
    with subprocess.Popen([sys.executable, "-c", worker]) as child, subprocess.Popen(["sleep", "5"]) as other:
        # This process plays the controller; not every child of one is a worker.
        found = cpu.look(os.getpid(), child.pid, [os.getpid(), _NOBODY])
        child.kill()
        other.kill()
    assert {role: set(processes) for role, processes in found.items()} == {
        "master": {os.getpid()},
        "generator": {child.pid},
        "controller": {os.getpid()},
        "workers": {child.pid},
    }
