"""From what was measured to what is reported: one run, several runs, and what stands beside them.

Owns the names of the figures and what they mean; all functions are pure. A report is a plain mapping that becomes a
JSON object. Where there are several runs the report is that of the middle one, so that its figures belong together,
and ``spread`` has the least and the greatest of all.
"""

import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from cyclone.bench import cpu, mixed
from cyclone.bench.plan import Mode, Plan
from cyclone.bench.stopwatch import Measured, Sizes

Report = dict[str, Any]

# The figures of a mode that are compared; by the first of them the middle run is chosen.
FIGURES: dict[Mode, tuple[str, ...]] = {
    "throughput": ("tasks_per_s", "cpu_us"),
    "latency": ("p50_us", "p99_us", "cpu_us"),
    "busy": ("efficiency", "seconds", "cpu_us"),
    "mixed": ("wall_over_best", "head_of_line_delay_ms"),
    "payload": ("bytes_per_s", "tasks_per_s", "cpu_us"),
}
# With so much of all cores, or of the one core that a process can have, it is said to be what bounds the run.
_CORES_SHARE = 0.9
_CORE_SHARE = 0.8


def of_run(plan: Plan, run: Measured, cores: int) -> Report:
    """The report of one run on a host with so many cores."""
    report: Report = {
        **plan.parameters(),
        "slots": run.slots,
        "python": sys.version.split()[0],
        "seconds": round(run.seconds, 4),
        "tasks_per_s": round(plan.tasks / run.seconds, 1),
        **_of_mode(plan, run),
        **_processors(plan, run, cores),
        "messages_per_task": _each(plan, run.traffic.sent, run.traffic.received),
        "bytes_per_task": _each(plan, run.traffic.sent_bytes, run.traffic.received_bytes),
        "tasks_per_lease": _batches(run.leases),
        "tasks_per_result_batch": _batches(run.results),
        "fsyncs": run.syncs,
        "rss_early_bytes": run.rss_early_bytes,
        "rss_late_bytes": run.rss_late_bytes,
    }
    return report


def of_mixed(wall: Report, long_plan: Plan, long: Measured) -> Report:
    """The report of the mixed tasks, with that of the long one among short ones in it."""
    schedule = mixed.ran(long.blocks)
    return {
        **wall,
        **mixed.head_of_line(schedule),
        "long_seconds": round(long.seconds, 4),
        "short": long_plan.tasks - 1,
    }


def figures(report: Report) -> dict[str, float]:
    """Those that are compared."""
    flat = {"cpu_us": report.get("cpu_us_per_task", {}).get("total")} | report
    names = FIGURES[report["mode"]]
    return {name: float(flat[name]) for name in names if flat.get(name) is not None}


def of_runs(runs: Sequence[Report]) -> Report:
    """The middle run, and the spread of all."""
    found = [figures(run) for run in runs]
    first = next(iter(found[0]))
    middle = sorted(range(len(runs)), key=lambda row: found[row][first])[(len(runs) - 1) // 2]
    spread = {name: [min(one[name] for one in found), max(one[name] for one in found)] for name in found[0]}
    return {**runs[middle], "repeat": len(runs), "spread": spread}


def beside_limit(runs: Sequence[Report], limits: Sequence[Report]) -> Report:
    """The runs over the bare pipeline's, pair by pair: the median of the ratios, and their spread.

    Both percentiles of a round trip are over the limit's median: its own tail is the operating system's.
    """
    names = {"latency": {"p50_us": "p50_us", "p99_us": "p50_us"}, "payload": {"bytes_per_s": "bytes_per_s"}}
    compared = names.get(runs[0]["mode"], {"tasks_per_s": "tasks_per_s"})
    ratios = {
        ours: [run[ours] / limit[theirs] for run, limit in zip(runs, limits, strict=True)]
        for ours, theirs in compared.items()
    }
    return {
        **{name: statistics.median(limit[name] for limit in limits) for name in dict.fromkeys(compared.values())},
        "ratio": {name: round(statistics.median(found), 4) for name, found in ratios.items()},
        "ratio_spread": {name: [round(min(found), 4), round(max(found), 4)] for name, found in ratios.items()},
    }


def beside_plain(runs: Sequence[Report], plain: Sequence[Report]) -> Report:
    """What encryption costs, pair by pair: CPU and rate with keys over the same without."""
    pairs = [(figures(run), figures(other)) for run, other in zip(runs, plain, strict=True)]
    cpu_us = [(ours["cpu_us"], theirs["cpu_us"]) for ours, theirs in pairs if "cpu_us" in ours and "cpu_us" in theirs]
    rates = [run["tasks_per_s"] / other["tasks_per_s"] for run, other in zip(runs, plain, strict=True)]
    return {
        "cpu_us": round(statistics.median(theirs for _, theirs in cpu_us), 3),
        "tasks_per_s": statistics.median(other["tasks_per_s"] for other in plain),
        "cpu_cost": round(statistics.median(ours / theirs for ours, theirs in cpu_us) - 1, 4),
        "rate_ratio": round(statistics.median(rates), 4),
    }


def change(report: Report, last: Mapping[str, float]) -> dict[str, float]:
    """By how much each figure differs from the last time, as a share of what it was."""
    return {name: round(now / last[name] - 1, 4) for name, now in figures(report).items() if last.get(name)}


def bottleneck(busiest: Mapping[str, float], cores_used: float, cores: int) -> str:
    """In words, which role bounds the run. ``busiest``: by role, the share of a core that its busiest process used."""
    if not busiest:
        return "unknown"
    if cores_used >= _CORES_SHARE * cores:
        return f"the cores of this host: {cores_used:.2f} of {cores} were busy with this run"
    role = max(busiest, key=lambda name: busiest[name])
    share = f"{busiest[role] * 100:.0f} % of a core"
    if busiest[role] >= _CORE_SHARE:
        return f"the {role}: its busiest process used {share}"
    return f"none of these processes: the busiest, of the {role}, used {share}"


def _of_mode(plan: Plan, run: Measured) -> Report:
    match plan.mode:
        case "latency":
            trips = sorted(run.trips_us)
            return {"p50_us": round(trips[len(trips) // 2], 1), "p99_us": round(trips[int(len(trips) * 0.99)], 1)}
        case "busy":
            return {"efficiency": round(plan.tasks * plan.task_ms / 1000 / run.slots / run.seconds, 4)}
        case "payload":
            return {"bytes_per_s": round(2 * plan.tasks * plan.payload_bytes / run.seconds)}
        case "mixed" if plan.durations == "mixed":
            return mixed.schedule(mixed.ran(run.blocks), run.slots, run.seconds)
    return {}


def _processors(plan: Plan, run: Measured, cores: int) -> Report:
    """CPU by role: microseconds per task, and shares of a core."""
    elapsed = {role: run.generator_s if role == "generator" else run.seconds for role in cpu.ROLES}
    per_task = {role: round(1e6 * used.all_s / plan.tasks, 3) for role, used in run.cpu.items()}
    busiest = {role: round(used.busiest_s / elapsed[role], 3) for role, used in run.cpu.items()}
    cores_used = round(sum(used.all_s / elapsed[role] for role, used in run.cpu.items()), 3)
    return {
        "cpu_us_per_task": {**per_task, "total": round(sum(per_task.values()), 3)},
        "busiest_process": busiest,
        "cores_used": cores_used,
        "cores": cores,
        "bottleneck": bottleneck(busiest, cores_used, cores),
    }


def _each(plan: Plan, sent: int, received: int) -> dict[str, float]:
    return {"sent": round(sent / plan.tasks, 5), "received": round(received / plan.tasks, 5)}


def _batches(sizes: Sizes) -> dict[str, float]:
    return {"mean": round(sizes.tasks / max(1, sizes.batches), 2), "largest": sizes.largest}
