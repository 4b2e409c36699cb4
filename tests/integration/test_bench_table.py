"""``make bench`` prints its table. What the figures are is nobody's business here: this machine does more than this."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.support.lab import ROOT, Lab

HEADER = ["measure", "cyclone", "limit", "ratio", "target", "met"]
FIGURE = re.compile(r"\d[\d,]*(\.\d+)?( \([\w,.]+\))?")


@pytest.mark.timeout(150)
def test_given_a_quick_bench_then_it_prints_the_machine_and_a_line_for_each_target(lab: Lab, tmp_path: Path) -> None:
    raw = tmp_path / "raw.json"
    bench = lab.start(sys.executable, ROOT / "benchmarks" / "bench.py", "--quick", "--json", raw)
    assert bench.exits(100) == 0, bench.stderr()

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
        "round trip of one task",
        "200 busy tasks of 1 ms",
        "master's RSS",
    ]
    for _, cyclone, limit, ratio, target, met in cells:
        assert FIGURE.fullmatch(cyclone), cyclone
        assert FIGURE.fullmatch(limit), limit
        assert float(ratio) > 0
        assert re.search(r"[<>]= ", target)
        assert met in ("yes", "no")

    written = json.loads(raw.read_text())
    assert [list(row.values()) for row in written["rows"]] == cells
    assert written["machine"].keys() == {"date", "cpu", "cores", "load", "python", "pyzmq", "libzmq"}
    runs = written["runs"]
    assert {name: len(reports) for name, reports in runs.items()} == {
        "throughput": 1,
        "throughput of the limit": 1,
        "durable": 1,
        "in memory": 1,
        "latency": 1,
        "latency of the limit": 1,
        "busy": 1,
        "memory": 1,
    }
    assert all(
        min(report["rss_early_bytes"], report["rss_late_bytes"]) > 1 << 20
        for reports in runs.values()
        for report in reports
    )
    assert all(report["tasks_per_s"] > 0 for reports in runs.values() for report in reports)
