"""How soon, and how correctly, work goes on when a master or a controller is killed."""

import random
import signal
import statistics
import time
from collections import Counter
from typing import Any

from benchmarks.faults_workload import ENOUGH, HISTORY
from tests.support.exports import exported, state_folder
from tests.support.lab import Lab, Started

MUST_S = 1.0
_WORKLOAD = "benchmarks.faults_workload"
_MODULES = {"task_modules": _WORKLOAD, "worker_count": "1"}
_TIMEOUT_S = 2.0
_WELCOMED_S = 60.0
# Killed so soon after its start, a master may not even have read its journal.
_EARLY_EVERY, _EARLY_S = 4, 0.5
_LATE_S = 0.2
_LOAD_TASKS = 20

Report = dict[str, Any]


def redispatch_controller(lab: Lab, kills: int) -> Report:
    """From the SIGKILL of a controller to the next start of its task: elsewhere, and at itself when it is back."""
    elsewhere = _Redispatch(lab, kills, f"{_TIMEOUT_S:g}s", ["one", "two"]).times()
    # With a time-out of an hour only its new incarnation can be the reason.
    back = _Redispatch(lab, kills, "1h", ["one"]).times()
    return {
        "controller_timeout_s": _TIMEOUT_S,
        "elsewhere_s": _spread(elsewhere),
        "met": max(elsewhere) <= _TIMEOUT_S + MUST_S,
        "back_after_start_of_new_incarnation_s": _spread(back),
    }


def _spread(times_s: list[float]) -> Report:
    return {
        "kills": len(times_s),
        "p50": round(statistics.median(times_s), 3),
        "max": round(max(times_s), 3),
    }


class _Redispatch:
    """One task at a time; the controller that has it is killed, and another of its name follows."""

    def __init__(self, lab: Lab, kills: int, timeout: str, names: list[str]) -> None:
        self._lab, self._kills, self._names = lab, kills, names
        path = lab.folder / "notes"
        path.unlink(missing_ok=True)
        self._config = lab.config(
            {
                "task_generator": {"class": f"{_WORKLOAD}:OneByOne"},
                "faults": {"tasks": str(kills)},
                "control": {"controller_timeout": timeout, "heartbeat_interval": "500ms", "exit_when_done": "yes"},
                "journal": {"durability": "off"},
                "processing": _MODULES,
            }
        )

    def times(self) -> list[float]:
        """Seconds, one for each kill."""
        master = self._lab.master(self._config)
        alive = [self._lab.controller(self._config, name) for name in self._names]
        times_s = []
        for task in range(1, self._kills + 1):
            (first,) = self._lab.noted("start", task=task)
            (holder,) = [at for at, one in enumerate(alive) if one.pid == first["controller"]]
            began_ns = time.monotonic_ns()
            alive[holder].signal(signal.SIGKILL)
            alive[holder].exits()
            if len(alive) == 1:
                began_ns = time.monotonic_ns()
                alive[holder] = self._lab.controller(self._config, self._names[holder])
            _, second = self._lab.noted("start", 2, task=task)
            times_s.append((second["at_ns"] - began_ns) / 1e9)
            if len(alive) > 1 and task < self._kills:
                alive[holder] = self._lab.controller(self._config, self._names[holder])
        assert master.exits() == 0, master.stderr()
        return times_s


def restarts(lab: Lab, times: int, seed: int) -> Report:
    """A master that is killed so often in a row while two controllers work."""
    return _Restarts(lab, seed).report(times)


class _Restarts:
    """The history says what was executed, the journal what was recorded."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self._lab = lab
        self._history = lab.folder / HISTORY
        self._rng = random.Random(seed)
        self._config = lab.config(
            {
                "task_generator": {"class": f"{_WORKLOAD}:NumbersUntilEnough"},
                "control": {"exit_when_done": "yes"},
                "processing": _MODULES,
            }
        )

    def report(self, times: int) -> Report:
        """All of it."""
        began = time.monotonic()
        master = self._start()
        controllers = [self._lab.controller(self._config, name) for name in ("one", "two")]
        for number in range(times):
            self._wait_for_a_good_moment(master, early=number % _EARLY_EVERY == 1)
            master.signal(signal.SIGKILL)
            master.exits()
            master = self._start()
        self._lab.open(ENOUGH)
        assert master.exits(_WELCOMED_S) == 0, master.stderr()
        assert [controller.exits() for controller in controllers] == [0, 0]
        return {"restarts": times, "seconds": round(time.monotonic() - began, 1), **self._judge()}

    def _start(self) -> Started:
        return self._lab.start("cyclone-master", "-f", self._config)

    def _wait_for_a_good_moment(self, master: Started, early: bool) -> None:
        if early:
            time.sleep(self._rng.uniform(0.0, _EARLY_S))
            return
        master.says("master at ")
        size = self._size() + _LOAD_TASKS * 4
        self._lab.wait_until(lambda: self._size() > size, "the controllers work again", _WELCOMED_S)
        time.sleep(self._rng.uniform(0.0, _LATE_S))

    def _size(self) -> int:
        return self._history.stat().st_size if self._history.exists() else 0

    def _judge(self) -> Report:
        yielded = self._lab.notes("yielded")[-1]["count"]
        starts = Counter(map(int, self._history.read_bytes().split()))
        records = exported(self._lab, state_folder(self._lab) / "master.journal")
        recorded = Counter(record["args"][0] for record in records if record["state"] == "completed")
        wrong = {
            "lost": len(set(range(yielded)) - recorded.keys()),
            "recorded_twice": sum(1 for count in recorded.values() if count > 1),
            "never_yielded": len(recorded.keys() - set(range(yielded))),
            "executed_again": sum(1 for count in starts.values() if count > 1),
        }
        return {"tasks": yielded, **wrong, "met": not any(wrong.values())}
