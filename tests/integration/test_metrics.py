"""A running cluster, scraped by a real Prometheus: every metric, every query of the dashboard, every alert."""

import json
import math
import re
import resource
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cyclone.metrics.names import METRICS, Metric, Server
from tests.support.lab import Lab, free_port, new_lab
from tests.support.procfs import wait_until
from tests.support.prometheus import LIVELY, Prometheus, prometheus, promtool
from tests.support.pushgateway import Pushgateway, read_metrics

pytestmark = pytest.mark.slow

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "cyclone.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
JOBS: dict[str, Server] = {"cyclone-master": "master", "cyclone-controller": "controller", "cyclone-sink": "sink"}
JOURNAL_BYTES_MAX = 256 << 10
SUFFIXES = {"gauge": ("",), "counter": ("",), "histogram": ("_bucket", "_count", "_sum")}


class Cluster(NamedTuple):
    lab: Lab
    prometheus: Prometheus
    # The ports of /metrics, by the daemon.
    ports: dict[str, int]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Master, controller, both sinks, a Pushgateway, and a Prometheus with the configuration that we ship."""
    names = ("master", "controller", "database_proxy", "pushgateway_client")
    ports = {name: free_port() for name in names}
    sink_ports = {name: free_port() for name in names[2:]}
    with new_lab(tmp_path_factory.mktemp("metrics")) as lab:
        gateway = Pushgateway(lab.folder)

        def config(name: str, **sections: dict[str, str]) -> Path:
            return lab.config({"metrics": {"port": str(ports[name])}, **sections}, f"{name}.conf")

        with gateway.running():
            for name, keys in (
                ("database_proxy", {"db": {"driver": "jsonlines", "store_timeout": "200ms", "layout": "results"}}),
                ("pushgateway_client", {"push": {"url": gateway.url, "interval": "300ms"}}),
            ):
                path = config(name, comm={"port": str(sink_ports[name])}, **keys, sink={"results": "yes"})
                lab.start(f"cyclone-{name.replace('_', '-')}", "-f", path).says(" port ")
            sinks = ", ".join(f"127.0.0.1:{port}" for port in sink_ports.values())
            lab.master(config("master", task_generator=LIVELY, sink={"targets": sinks}))
            lab.controller(config("controller"), "node-7")
            with prometheus(lab.folder, configuration(lab.folder, ports, gateway)) as server:
                yield Cluster(lab, server, ports)


def configuration(folder: Path, ports: dict[str, int], gateway: Pushgateway) -> Path:
    """The file that we ship, with our targets, and impatient."""
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    addresses = {name: f'"127.0.0.1:{port}"' for name, port in ports.items()}
    for old, new in (
        ('"master.example.org:9678"', addresses["master"]),
        ('"node001.example.org:9679", "node002.example.org:9679"', addresses["controller"]),
        (
            '"master.example.org:9777", "master.example.org:9888"',
            f"{addresses['database_proxy']}, {addresses['pushgateway_client']}",
        ),
        ('"gateway.example.org:9091"', f'"{gateway.url.removeprefix("http://")}"'),
        ("scrape_interval: 15s", "scrape_interval: 1s"),
        ("evaluation_interval: 15s", "evaluation_interval: 1s"),
        ("alerts.yml", str(ALERTS)),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "prometheus.yml"
    path.write_text(text)
    return path


def get(port: int, path: str = "/metrics") -> str:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        f"http://127.0.0.1:{port}{path}", timeout=10
    ) as response:
        text: str = response.read().decode()
        return text


def names_of(metric: Metric) -> set[str]:
    return {metric.name + suffix for suffix in SUFFIXES[metric.kind]}


def has_numbers(samples: list[dict[str, Any]]) -> bool:
    return any(math.isfinite(float(sample["value"][1])) for sample in samples)


def dashboard_queries() -> list[tuple[str, str]]:
    """The title of each panel with each of its queries, as Grafana would send it."""
    found = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "5s").replace("$master", ".*")
            assert "$" not in expression, expression
            found.append((panel["title"], expression))
    return found


# Prometheus takes 5 s until it scrapes for the first time: what does not ask it comes first.


def test_given_a_metrics_port_that_is_taken_when_a_daemon_starts_then_the_holder_is_named(cluster: Cluster) -> None:
    lab, port = cluster.lab, cluster.ports["master"]
    config = lab.config({"metrics": {"port": str(port)}, "comm": {"port": str(free_port())}}, "second.conf")
    started = lab.start("cyclone-controller", "-f", config)
    assert started.exits() == 1
    assert f"[metrics] port {port} on 127.0.0.1 is taken by pid " in started.stderr()
    assert "cyclone-master" in started.stderr()


def test_given_a_full_disk_then_the_master_shows_it_although_its_loop_stands_still(lab: Lab) -> None:
    count, port = 1500, free_port()
    script = {"what": "return", "value": "x" * 2000, "times": count}
    config = lab.script(script, metrics={"port": str(port)})
    master = lab.master(config)
    # The generator would inherit what comes now.
    lab.noted("generator")
    before = resource.prlimit(master.pid, resource.RLIMIT_FSIZE, (JOURNAL_BYTES_MAX, resource.RLIM_INFINITY))
    lab.controller(config, "one", "metrics.port=0", welcomed=False)
    lab.wait_until(lambda: "\ncyclone_journal_failing 1.0\n" in get(port), "nothing can be recorded")
    assert get(port, "/-/healthy") == "ok\n"
    resource.prlimit(master.pid, resource.RLIMIT_FSIZE, before)
    lab.wait_until(lambda: "\ncyclone_journal_failing 0.0\n" in get(port), "there is room again")
    done = f'cyclone_tasks_finished_total{{outcome="completed",task="tests.support.workload:Act"}} {count}.0\n'
    lab.wait_until(lambda: done in get(port), "all is recorded")


def test_given_the_rules_that_we_ship_then_promtool_is_content_and_each_fires_when_it_should() -> None:
    for command in (("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")):
        said = promtool(*command[:2], DEPLOY / "prometheus" / command[2])
        assert "SUCCESS" in said and "FAILED" not in said
    assert f"SUCCESS: {ALERTS.read_text().count('- alert: ')} rules found" in promtool("check", "rules", ALERTS)


def test_given_a_cluster_when_scraped_then_every_target_is_up(cluster: Cluster) -> None:
    server = cluster.prometheus
    wait_until(lambda: set(server.targets().values()) == {"up"}, "all are up")
    assert len(server.targets()) == 5
    for port in cluster.ports.values():
        assert get(port, "/-/healthy") == "ok\n"


def test_given_a_cluster_when_scraped_then_each_daemon_shows_exactly_the_metrics_of_the_table(
    cluster: Cluster,
) -> None:
    expected = {
        (name, job) for job, server in JOBS.items() for m in METRICS if server in m.servers for name in names_of(m)
    }

    def found() -> set[tuple[str, str]]:
        samples = cluster.prometheus.query('group by (__name__, job) ({__name__=~"cyclone_.*", job=~"cyclone-.*"})')
        return {(sample["metric"]["__name__"], sample["metric"]["job"]) for sample in samples}

    wait_until(lambda: expected <= found(), "all are there")
    assert found() == expected


def test_given_a_cluster_when_asked_itself_then_labels_are_those_of_the_table_and_promtool_finds_nothing_wrong(
    cluster: Cluster,
) -> None:
    labels = {metric.name.removesuffix("_total"): set(metric.labels) for metric in METRICS}
    for name, port in cluster.ports.items():
        text = get(port)
        assert promtool("check", "metrics", text=text) == "", name
        for family, series in read_metrics(text).items():
            for one in series:
                assert {label for label, _ in one} - {"le"} == labels[family], f"{name}: {family}"


def test_given_work_when_it_is_counted_then_the_figures_are_those_of_the_work(cluster: Cluster) -> None:
    def value(expression: str) -> float:
        samples = cluster.prometheus.query(expression)
        return float(samples[0]["value"][1]) if samples else 0.0

    act, other = ('task="tests.support.workload:Act"', 'task="tests.support.workload:OtherAct"')
    for expression in (
        f'cyclone_tasks_finished_total{{{act}, outcome="completed"}} > 10',
        f'cyclone_tasks_finished_total{{{act}, outcome="failed"}} > 0',
        f"cyclone_tasks_submitted_total{{{other}}} > 10",
        f"cyclone_task_run_seconds_count{{{other}}} > 10",
        'cyclone_task_retries_total{reason="failed"} > 0',
        'cyclone_task_retries_total{reason="crashed"} == 4',
        f'cyclone_tasks_finished_total{{{act}, outcome="quarantined"}} == 1',
        'cyclone_tasks_finished_total{task="tests.support.workload:LimitedAct", outcome="timed_out"} == 1',
        'cyclone_task_run_seconds_count{task="tests.support.workload:LimitedAct"} == 1',
        'cyclone_worker_deaths_total{reason="SIGKILL"} == 1',
        'cyclone_worker_deaths_total{reason="exited"} == 3',
        'cyclone_worker_deaths_total{reason="ended"} == 1',
        "cyclone_task_resends_total > 0",
        "cyclone_task_wait_seconds_count > 10",
        "cyclone_task_overhead_seconds_count > 10",
        "cyclone_journal_fsync_seconds_count > 10",
        "cyclone_journal_bytes > 4096",
        'cyclone_controllers{state="connected"} == 1',
        "sum(cyclone_slots) == 2",
        "sum(cyclone_sink_attached) == 2",
        "cyclone_master_connected == 1",
        'cyclone_controller_info{node="node-7"} == 1',
        'sum by (job) (cyclone_sink_records_total{record="cyclone_results", outcome="stored"}) > 10',
        'cyclone_lustre_file_creation_check{target="hebe", mdt_index="1", ost_index="5"} == 0',
    ):
        wait_until(lambda expression=expression: cluster.prometheus.query(expression), expression)  # type: ignore[misc]
    # Nobody counts what has not been added, or more slots than there are workers.
    assert value("sum(cyclone_tasks_finished_total) - sum(cyclone_tasks_submitted_total)") <= 0
    assert value("sum(cyclone_sink_gap_blocks_total) + sum(cyclone_task_duplicates_total)") == 0


@pytest.mark.parametrize(("title", "expression"), dashboard_queries())
def test_given_the_dashboard_then_each_query_finds_something(cluster: Cluster, title: str, expression: str) -> None:
    wait_until(lambda: has_numbers(cluster.prometheus.query(expression)), f"{title}: {expression}")


def test_given_the_alert_rules_then_each_is_evaluated_and_everything_that_it_looks_at_is_there(
    cluster: Cluster,
) -> None:
    server = cluster.prometheus
    wait_until(lambda: all(rule["health"] == "ok" for rule in server.rules()), f"all are well: {server.rules()}")
    assert len(server.rules()) == ALERTS.read_text().count("- alert: ")
    for name in sorted(set(re.findall(r"\bcyclone_\w+", "\n".join(rule["query"] for rule in server.rules())))):
        wait_until(lambda name=name: server.query(name), name)  # type: ignore[misc]
    firing = {rule["name"] for rule in server.rules() if rule["state"] == "firing"}
    assert firing == {"LustreFileCreationFails", "LustreFileCreationError", "LustreOstFails"}
