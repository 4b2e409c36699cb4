"""How much everybody else suffers: from a controller that hangs on its network, from a generator that floods."""

import contextlib
import signal
import statistics
import time
from collections.abc import Iterator
from typing import Any

import psutil

from benchmarks.faults_workload import counted
from cyclone.client.connection import Address, Connection
from cyclone.protocol.client_messages import StatusReport, StatusRequest
from tests.support.lab import Lab, Started, program
from tests.support.networks import End, wire

SLOWER_MAX = 0.05
LINKS = ("slow", "cut", "stopped")
_WORKLOAD = "benchmarks.faults_workload"
_RATE = "256kbit"
_WEIGHT_BYTES = 4096
# Until credit has grown, and until what is on the way to the far one has filled every buffer.
_WARM_UP_S = 1.0
_SAMPLE_S = 0.1
_ASK_S = 20.0
_GROWTH_MAX_BYTES = 128 << 20

Report = dict[str, Any]


def slow_link(lab: Lab, link: str, milliseconds: float, pairs: int, window_s: float) -> Report:
    """The throughput of a controller while another one hangs, over its throughput without that, in pairs."""
    with _ends(link) as ends:
        return _SlowLink(lab, link, milliseconds, ends).report(pairs, window_s)


@contextlib.contextmanager
def _ends(link: str) -> Iterator[tuple[End, End] | None]:
    if link == "stopped":
        yield None
        return
    with wire() as both:
        yield both


class _SlowLink:
    """``near`` beside the master, ``far`` at the other end of a wire, or stopped."""

    def __init__(self, lab: Lab, link: str, milliseconds: float, ends: tuple[End, End] | None) -> None:
        self._lab, self._link, self._milliseconds, self._ends = lab, link, milliseconds, ends
        self._target = ends[0].address if ends else "127.0.0.1"
        self._config = lab.config(
            {
                "task_generator": {"class": f"{_WORKLOAD}:Endless"},
                "faults": {"bytes": str(_WEIGHT_BYTES), "milliseconds": str(milliseconds)},
                "control": {"controller_timeout": "15s"},
                "comm": {"target": self._target, "insecure": "yes"},
                "journal": {"durability": "off"},
                "processing": {"task_modules": _WORKLOAD, "worker_count": "1"},
            }
        )

    def report(self, pairs: int, window_s: float) -> Report:
        """Pairs one after the other in one cluster, so that what else happens here meets both halves alike."""
        self._start(0, "cyclone-master").says("master at ")
        near = self._controller("near", 0)
        time.sleep(_WARM_UP_S)
        alone, beside, hanging = [], [], []
        for _ in range(pairs):
            alone.append(self._rate(near, window_s))
            far = self._controller("far", 1)
            self._harm(far)
            time.sleep(_WARM_UP_S)
            before = counted(self._lab.folder, far.pid)
            beside.append(self._rate(near, window_s))
            hanging.append((counted(self._lab.folder, far.pid) - before) / window_s)
            far.process.kill()
            far.exits()
            self._heal()
        ratios = [two / one for one, two in zip(alone, beside, strict=True)]
        return {
            "link": self._link,
            "milliseconds": self._milliseconds,
            "pairs": pairs,
            "alone_per_s": round(statistics.median(alone)),
            "beside_per_s": round(statistics.median(beside)),
            "hanging_per_s": round(statistics.median(hanging)),
            "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "met": statistics.median(ratios) >= 1 - SLOWER_MAX,
        }

    def _start(self, end: int, name: str, *words: str) -> Started:
        command = (program(name), "-f", str(self._config), *words)
        return self._lab.start(*(self._ends[end].command(*command) if self._ends else command))

    def _controller(self, name: str, end: int) -> Started:
        started = self._start(end, "cyclone-controller", "--set", f"control.name={name}")
        started.says("welcomed by the master")
        return started

    def _harm(self, far: Started) -> None:
        self._lab.wait_until(lambda: counted(self._lab.folder, far.pid), "far works")
        if self._ends is None:
            far.signal(signal.SIGSTOP)
        elif self._link == "slow":
            for end in self._ends:
                end.slow_down(_RATE)
        else:
            self._ends[0].lose_what_is_sent_to(self._ends[1])
            self._ends[1].lose_what_is_sent_to(self._ends[0])

    def _heal(self) -> None:
        if self._ends is None:
            return
        if self._link == "slow":
            for end in self._ends:
                end.hurry_up()
        else:
            self._ends[0].heal(self._ends[1])
            self._ends[1].heal(self._ends[0])

    def _rate(self, controller: Started, window_s: float) -> float:
        began, before = time.monotonic(), counted(self._lab.folder, controller.pid)
        time.sleep(window_s)
        return (counted(self._lab.folder, controller.pid) - before) / (time.monotonic() - began)


def generator_flood(lab: Lab, tasks: int, seconds: float, durability: str, from_results: bool) -> Report:
    """The master's memory while a generator yields as fast as it can, against one worker of ten tasks a second."""
    config = lab.config(
        {
            "task_generator": {"class": f"{_WORKLOAD}:{'FloodOfResults' if from_results else 'Flood'}"},
            "faults": {"tasks": str(tasks)},
            "journal": {"durability": durability},
            "processing": {"task_modules": _WORKLOAD, "worker_count": "1"},
        }
    )
    master = lab.master(config)
    process = psutil.Process(master.pid)
    before_bytes = process.memory_info().rss
    lab.controller(config, "one")
    samples = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        samples.append(process.memory_info().rss)
        time.sleep(_SAMPLE_S)
    report = _status(lab)
    half = max(samples[: len(samples) // 2])
    return {
        "durability": durability,
        "from": "on_result" if from_results else "generate",
        "seconds": seconds,
        "wanted": tasks,
        "added": sum(report.tasks.values()),
        "done": report.tasks["completed"],
        "rss_before_mib": before_bytes >> 20,
        "rss_max_mib": max(samples) >> 20,
        "rss_growth_in_second_half_mib": max(0, max(samples) - half) >> 20,
        "met": max(samples) - before_bytes <= _GROWTH_MAX_BYTES,
    }


def _status(lab: Lab) -> StatusReport:
    with Connection(Address("127.0.0.1", lab.port), _ASK_S) as connection:
        report = connection.ask(StatusRequest(1))
    assert isinstance(report, StatusReport)
    return report
