"""``make bench`` prints its table. What the figures are is nobody's business here: this machine does more than this."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.support.lab import ROOT, Lab

HEADER = ["measure", "cyclone", "beside", "figure", "must", "aim", "met"]
FIGURE = re.compile(r"\d[\d,]*(\.\d+)?")
BOUND = re.compile(r"[<>]= \d+(\.\d+)?")
RUNS = {"in memory", "durable", "latency", "busy", "mixed", "payload", "encryption", "memory"}


@pytest.mark.timeout(150)
def test_given_a_quick_bench_then_it_prints_the_machine_and_a_line_for_each_target(lab: Lab, tmp_path: Path) -> None:
    raw = tmp_path / "raw.json"
    bench = lab.start(sys.executable, ROOT / "benchmarks" / "bench.py", "--quick", "--json", raw)
    assert bench.exits(140) == 0, bench.stderr()

    machine, blank, header, rule, *rows = bench.stdout().splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d: .+, \d+ cores, load [\d.]+ before, Python 3\.\d+\.\S+, pyzmq \S+, libzmq [\d.]+", machine
    )
    assert blank == ""
    assert [cell.strip() for cell in header.strip("|").split("|")] == HEADER
    assert set(rule) == {"|", "-"}
    assert len({len(line) for line in (header, rule, *rows)}) == 1
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [measure.split(",")[0].split(" in ")[0] for measure, *_ in cells] == [
        "no-op tasks/s",
        "durable no-op tasks/s",
        "durable over in-memory tasks/s",
        "round trip of one task",
        "round trip of one task",
        "200 busy tasks of 1 ms",
        "8 mixed durations",
        "a 10 s task delays another",
        "arguments and results of 100 KB",
        "first result of cyclone run",
        "CPU us per no-op task",
        "master's RSS",
    ]
    for _, cyclone, beside, figure, must, aim, met in cells:
        assert FIGURE.fullmatch(cyclone), cyclone
        assert FIGURE.fullmatch(beside), beside
        assert float(figure)
        assert BOUND.fullmatch(must), must
        assert aim == "" or BOUND.fullmatch(aim), aim
        assert met == _met(float(figure), must, aim)

    written = json.loads(raw.read_text())
    assert [list(row.values()) for row in written["rows"]] == cells
    assert written["machine"].keys() == {"date", "cpu", "cores", "load", "python", "pyzmq", "libzmq"}
    runs = written["runs"]
    assert {name: len(reports) for name, reports in runs.items()} == dict.fromkeys(RUNS | {"first result"}, 1)
    # The master tells of its own memory.
    assert all(min(runs[name][0][key] for key in ("rss_early_bytes", "rss_late_bytes")) > 1 << 20 for name in RUNS)
    assert all(runs[name][0]["tasks_per_s"] > 0 for name in RUNS)
    assert {name for name in RUNS if "limit" in runs[name][0]} == {"in memory", "durable", "latency", "payload"}


def _met(figure: float, must: str, aim: str) -> str:
    """What the line should say."""
    reached = []
    for bound in (aim, must):
        if bound:
            sign, value = bound.split()
            reached.append(figure >= float(value) if sign == ">=" else figure <= float(value))
        else:
            reached.append(False)
    return "aim" if reached[0] else "yes" if reached[1] else "no"
