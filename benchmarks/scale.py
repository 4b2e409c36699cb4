"""``make bench-scale``: thousands of controllers on one real master, over real sockets, in few processes.

    python -m benchmarks.scale [--controllers 10000] [--task-s 10] [--seconds 20] [--durability full] [--json]

To be run in the sources' folder. The master is the production service in a process of its own, its generator the one of
``cyclone bench``. The controllers are production agents with a DEALER socket each, thousands in a process; only their
workers are simulated: a task is a moment on a heap (``scale_crowd.py``). Heartbeat and time-out are the defaults.

Measured: how long until all are welcomed; the CPU of the master while nothing happens but heartbeats, and while tasks
flow; sessions that were lost; and for each slot the time from a result's leaving to the next task's coming. Nothing is
asserted but that the run took place: a target that is missed is said so.
"""

import argparse
import contextlib
import json
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

# A socket, a connection, and the two ends of a monitor.
_DESCRIPTORS_EACH = 4
_DESCRIPTORS_BESIDES = 200
_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")

Report = dict[str, Any]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], prog="python -m benchmarks.scale")
    parser.add_argument("--controllers", type=int, default=10_000)
    parser.add_argument("--task-s", type=float, default=10.0, help="how long each task takes (default: 10)")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each of the two phases (default: 20)")
    parser.add_argument("--processes", type=int, default=2, help="that share the controllers, at least (default: 2)")
    parser.add_argument("--durability", choices=("full", "off"), default="off")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    controllers, reason = possible(args.controllers)
    if reason:
        _say(f"{args.controllers:,} controllers do not fit: {reason}; measuring {controllers:,}")
    report = measure(controllers, args.task_s, args.seconds, args.processes, args.durability)
    if args.json:
        print(json.dumps(report))
    else:
        width = max(len(line) for line, _, _ in table(report))
        for line, value, target in table(report):
            print(f"{line:<{width}}  {value:>14}  {target}")


def possible(controllers: int) -> tuple[int, str]:
    """How many this machine lets us have, and what is in the way of more."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    low, high = map(int, _PORTS.read_text(encoding="ascii").split())
    bounds = {
        f"a process may open {hard} files (ulimit -Hn) and the master needs one for each": hard - _DESCRIPTORS_BESIDES,
        f"only ports {low} to {high} are free for connections ({_PORTS})": high - low - _DESCRIPTORS_BESIDES,
    }
    reason = min(bounds, key=bounds.__getitem__)
    return (bounds[reason], reason) if bounds[reason] < controllers else (controllers, "")


def measure(controllers: int, task_s: float, seconds: float, processes: int, durability: str) -> Report:
    """One run; raises SystemExit where it did not come to its end."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    processes = max(processes, -(-controllers * _DESCRIPTORS_EACH // (hard - _DESCRIPTORS_BESIDES)))
    shares = [controllers // processes + (place < controllers % processes) for place in range(processes)]
    with contextlib.ExitStack() as running:
        options = ["--controllers", str(controllers), "--seconds", str(seconds), "--task-s", str(task_s)]
        master = running.enter_context(_process("scale_master", [*options, "--durability", durability]))
        assert master.stdout
        port = _answer(master.stdout)["port"]
        crowds = []
        for place, share in enumerate(shares):
            arguments = [str(port), str(share), str(sum(shares[:place])), str(task_s)]
            crowds.append(running.enter_context(_process("scale_crowd", arguments)))
        # A crowd speaks when it is told to end, and at its own untimely end.
        outputs = [process.stdout for process in (master, *crowds) if process.stdout]
        if master.stdout not in select.select(outputs, [], [])[0]:
            raise SystemExit("scale.py: controllers ended early; what they said stands above")
        report = {"controllers": controllers, "task_s": task_s, "durability": durability, **_answer(master.stdout)}
        for crowd in crowds:
            crowd.send_signal(signal.SIGTERM)
        told = [_answer(crowd.stdout) for crowd in crowds if crowd.stdout]
    gaps = sorted(gap for crowd in told for gap in crowd["gaps_ms"])
    if not gaps:
        raise SystemExit("scale.py: no slot has got a second task: give it more --seconds than a task takes")
    report["sessions_lost"] = sum(crowd["welcomes"] for crowd in told) - controllers
    report["never_served"] = sum(crowd["never_served"] for crowd in told)
    report["refill_p50_ms"], report["refill_p99_ms"] = gaps[len(gaps) // 2], gaps[int(len(gaps) * 0.99)]
    report["refill_max_ms"], report["refills"] = gaps[-1], len(gaps)
    report["crowd_cpu_s"] = sum(crowd["cpu_s"] for crowd in told)
    return report


def table(report: Report) -> Iterator[tuple[str, str, str]]:
    """Lines for people: what, how much, and the target with whether it is met."""

    def judged(met: bool, target: str) -> str:
        return f"{target}: {'met' if met else 'MISSED'}"

    lost, worst = report["sessions_lost"], report["refill_max_ms"]
    idle = report["idle_cpu_share"]
    yield "controllers welcomed", f"{report['controllers']:,}", f"in {report['welcomed_s']:.1f} s"
    yield "all slots filled for the first time", f"{report['filled_s']:.2f} s", ""
    yield "controllers that got no task", f"{report['never_served']:,}", judged(not report["never_served"], "none")
    yield "sessions lost", f"{lost:,}", judged(not lost, "none")
    yield "heartbeats/s", f"{report['heartbeats_per_s']:,.0f}", ""
    yield "master's core, heartbeats only", f"{idle:.1%}", judged(idle < 0.1, "under 10 %")
    yield "master's core, tasks flowing", f"{report['flow_cpu_share']:.1%}", f"{report['tasks_per_s']:,.0f} tasks/s"
    for what, name in (("heartbeat", "a heartbeat, with its part of the loop"), ("task", "a task that travels alone")):
        loop = f"{report[f'{what}_loop_us']:.0f} us of it in the loop, the rest in ZeroMQ's thread"
        yield f"master's CPU of {name}", f"{report[f'{what}_cpu_us']:.0f} us", loop
    yield "free slot filled, p50", f"{report['refill_p50_ms']:.1f} ms", ""
    yield "free slot filled, p99", f"{report['refill_p99_ms']:.1f} ms", ""
    yield "free slot filled, slowest", f"{worst:.1f} ms", judged(worst < 1000, "under 1 s")
    yield "master's RSS", f"{report['rss_bytes'] / 2**20:.0f} MiB", ""


@contextlib.contextmanager
def _process(module: str, arguments: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _answer(stream: IO[str]) -> Report:
    line = stream.readline()
    if not line:
        raise SystemExit("scale.py: one of the processes ended early; what it said stands above")
    found: Report = json.loads(line)
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
