"""The table of metrics against Prometheus' rules, its page, the dashboard and the alerts."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cyclone.metrics.names import METRICS, Metric
from cyclone.sinks.gauges import KINDS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
ALERTS = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
ALERTS_TEST = (ROOT / "deploy" / "prometheus" / "alerts_test.yml").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "cyclone.json").read_text(encoding="utf-8"))
SECTIONS = {
    "Of every daemon": ("master", "controller", "sink"),
    "Of the master, a database proxy and a Pushgateway client": ("master", "sink"),
    "Of the master": ("master",),
    "Of a controller": ("controller",),
    "Of a database proxy or Pushgateway client": ("sink",),
}
# Nothing whose values grow with the number of tasks, and a node's name only where there is but one.
LABELS = {"state", "task", "outcome", "reason", "direction", "generator", "sink", "node", "record"}
LABELS |= {"version", "python", "zmq"}


def page_rows() -> dict[str, list[str]]:
    """The rows about metrics, by their heading."""
    rows: dict[str, list[str]] = {}
    heading = ""
    for line in PAGE.splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line.startswith("| `cyclone_"):
            rows.setdefault(heading, []).append(line)
    return rows


def page_row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"


def known_names() -> set[str]:
    """What a query may say."""
    found = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
    for metric in METRICS:
        suffixes = ("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",)
        found |= {metric.name + suffix for suffix in suffixes}
    for kind in KINDS.values():
        found |= {gauge.name for gauge in (*kind.values, kind.error, kind.last_run)}
    return found


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\b(?:cyclone|process)_\w+", text))


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def alert_names() -> list[str]:
    return re.findall(r"- alert: (\w+)", ALERTS)


def test_given_the_table_then_names_are_unique() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS) > 40


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_given_a_metric_then_it_is_named_by_the_rules(metric: Metric) -> None:
    assert re.fullmatch(r"cyclone_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert not re.search(r"_(bucket|count|sum|info_total|ms|minutes|kb|mb)$", metric.name)
    assert set(metric.labels) <= LABELS
    assert "node" not in metric.labels or metric.servers == ("controller",)
    assert metric.help.endswith(".") and "|" not in metric.help
    if metric.kind == "histogram":
        assert metric.name.endswith("_seconds")
        assert 5 <= len(metric.bounds) <= 15 and list(metric.bounds) == sorted(set(metric.bounds))
    else:
        assert metric.bounds == ()


def test_given_the_page_then_it_says_of_each_metric_what_the_table_says() -> None:
    expected = {
        heading: [page_row(metric) for metric in METRICS if metric.servers == servers]
        for heading, servers in SECTIONS.items()
    }
    assert page_rows() == expected


def test_given_the_page_when_it_names_metrics_and_alerts_then_they_exist() -> None:
    bases = known_names() | {metric.name for metric in METRICS} | {"process_open_fds"}
    assert names_in(PAGE) <= bases
    listed = re.findall(r"^\| `((?:Cyclone|Lustre)\w+)` \|", PAGE, re.MULTILINE)
    assert listed == alert_names()


def test_given_the_alerts_then_they_look_at_metrics_that_exist() -> None:
    expressions = re.findall(r"expr: (?:\|\n((?: {10}.*\n)+)|(.*))", ALERTS)
    assert len(expressions) == len(alert_names()) > 10
    for block, line in expressions:
        assert names_in(block + line) <= known_names()
        assert names_in(block + line) or "up{" in line


@pytest.mark.parametrize("alert", alert_names())
def test_given_an_alert_then_it_is_tested_when_it_fires_and_when_it_does_not(alert: str) -> None:
    silent = re.search(rf"alertname: {alert}, exp_alerts: \[\]", ALERTS_TEST)
    fires = re.search(rf"alertname: {alert}\n +exp_alerts:\n +- exp_labels:", ALERTS_TEST)
    assert silent and fires


def test_given_the_dashboard_then_it_is_one_that_grafana_10_imports() -> None:
    assert DASHBOARD["schemaVersion"] == 38 and DASHBOARD["id"] is None and DASHBOARD["uid"] == "cyclone"
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"] == [
        "Tasks",
        "Controllers",
        "Journal and generator",
        "Sinks",
        "Lustre file creation",
        "Lustre OSTs",
    ]
    variables = {variable["name"]: variable["type"] for variable in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "master": "query"}
    for panel in panels():
        for place in (panel, *panel["targets"]):
            assert place["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


def test_given_the_dashboard_then_no_panel_lies_on_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]


def test_given_the_dashboard_then_its_queries_look_at_metrics_that_exist() -> None:
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    assert len(queries) > 40
    for query in queries:
        assert names_in(query) <= known_names(), query
        assert not re.search(r"\[\d+[sm]\]", query), f"{query}: a fixed window does not fit every scrape interval"
