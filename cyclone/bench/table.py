"""A report as lines of text for people: a name, and what was found.

Owns the wording alone: whatever is shown stands in the report.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cyclone.bench import cpu
from cyclone.bench.report import Report, figures
from cyclone.units import format_size

_NAMES = {
    "tasks_per_s": "rate",
    "cpu_us": "CPU per task",
    "p50_us": "p50",
    "p99_us": "p99",
    "seconds": "time",
    "wall_over_best": "wall time",
    "head_of_line_delay_ms": "head of line",
    "bytes_per_s": "bytes",
}
_UNITS = {"tasks_per_s": " tasks/s", "cpu_us": " us", "p50_us": " us", "p99_us": " us", "seconds": " s"}
_UNITS |= {"wall_over_best": " of the best schedule's", "head_of_line_delay_ms": " ms"}


def lines(report: Report) -> list[str]:
    """The whole table."""
    rows = list(_rows(report))
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {text}".rstrip() for name, text in rows]


def _rows(report: Report) -> Iterator[tuple[str, str]]:
    yield "measured", _what(report)
    runs = "one run" if report["repeat"] == 1 else f"the middle one of {report['repeat']} runs (and the spread of all)"
    yield "shown", runs
    for name, value in figures(report).items():
        yield _NAMES.get(name, name), _value(name, value) + _spread(name, report["spread"][name], report["repeat"])
    yield from _processors(report)
    yield "bottleneck", report["bottleneck"]
    per_thousand = {way: 1000 * count for way, count in report["messages_per_task"].items()}
    yield "messages", f"{_both(per_thousand)} for 1,000 tasks"
    yield "bytes on the wire", f"{_both(report['bytes_per_task'])} for each task"
    yield "lease", _batch(report["tasks_per_lease"])
    yield "result batch", _batch(report["tasks_per_result_batch"])
    yield "fsyncs", f"{report['fsyncs']:,}"
    yield "master's RSS", f"{format_size(report['rss_late_bytes'])}, early {format_size(report['rss_early_bytes'])}"
    yield from _beside(report)
    yield "last run", _last(report)


def _what(report: Report) -> str:
    controllers, slots = _count(report["controllers"], "controller"), _count(report["slots"], "worker")
    where = f", started elsewhere and come to {report['listen']}" if "listen" in report else ""
    details = [
        f"{report['tasks']:,} tasks",
        f"of {report['task_ms']:g} ms" if "task_ms" in report else "",
        f"of {report['payload_bytes']:,} bytes there and back" if "payload_bytes" in report else "",
    ]
    journal = "with a journal" if report["durability"] == "full" else "without a journal"
    keys = ", encrypted" if report["curve"] else ""
    work = f"{report['mode']}: {' '.join(filter(None, details))}"
    return f"{work}, {controllers} with {slots} in all{where}, {journal}{keys}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def _processors(report: Report) -> Iterator[tuple[str, str]]:
    per_task, busiest = report["cpu_us_per_task"], report["busiest_process"]
    seen = [role for role in cpu.ROLES if role in per_task]
    yield "CPU by role", ", ".join(f"{role} {per_task[role]:,.2f} us" for role in seen)
    yield "busiest process", ", ".join(f"{role} {busiest[role] * 100:.0f} %" for role in seen) + " of a core"
    if len(seen) < len(cpu.ROLES):
        yield "", "what runs on other hosts is not seen, and not in the CPU per task"


def _beside(report: Report) -> Iterator[tuple[str, str]]:
    if found := report.get("limit"):
        for name, ratio in found["ratio"].items():
            least, greatest = found["ratio_spread"][name]
            yield f"limit, {_NAMES[name]}", f"{ratio:.3f} of the bare pipeline's ({least:.3f} to {greatest:.3f})"
    if found := report.get("plain"):
        yield (
            "encryption",
            f"{found['cpu_cost'] * 100:+.1f} % of CPU per task ({found['cpu_us']:.2f} us without), "
            f"{(found['rate_ratio'] - 1) * 100:+.1f} % of the rate",
        )


def _last(report: Report) -> str:
    last = report["last"]
    if last is None:
        return "none with these parameters to compare with"
    changes = [f"{_NAMES.get(name, name)} {share * 100:+.1f} %" for name, share in report["change"].items()]
    return f"{last['when']}; since then {', '.join(changes)}"


def _value(name: str, value: float) -> str:
    if name == "bytes_per_s":
        return f"{format_size(int(value))}/s"
    return _number(value) + _UNITS.get(name, "")


def _number(value: float) -> str:
    """With as many digits as anybody reads."""
    return f"{value:,.{0 if value >= 1000 else 1 if value >= 10 else 3}f}"


def _spread(name: str, ends: Sequence[float], repeat: int) -> str:
    return "" if repeat == 1 else f"  ({_value(name, ends[0])} to {_value(name, ends[1])})"


def _both(counts: Mapping[str, float]) -> str:
    return f"{_number(counts['sent'])} sent and {_number(counts['received'])} received"


def _batch(sizes: Mapping[str, Any]) -> str:
    return f"{sizes['mean']:,.1f} tasks, at most {sizes['largest']:,}"
