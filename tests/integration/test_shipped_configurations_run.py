"""Every file in Configuration/ runs to its end, by ``cyclone run`` or as what it is: a pair of daemons."""

import contextlib
import hashlib
import http.server
import os
import re
import signal
import sqlite3
import threading
import urllib.parse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab import ROOT, Lab, Started, free_port, read_records
from tests.support.migrations import write_input

FOLDER = ROOT / "Configuration"
SITE = FOLDER / "examples" / "site"


class SilentHandler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture
def site() -> Iterator[str]:
    """The URL of a server of the example pages."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(SilentHandler, directory=str(SITE)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(
    lab: Lab, name: str, *sets: str, exit_code: int = 0, **options: Any
) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """The rows of the summary, and the records."""
    results = lab.folder / "results.jsonl"
    arguments = [word for text in sets for word in ("--set", text)]
    started = lab.run(FOLDER / name, "--workers", "2", "--results", results, *arguments, **options)
    assert started.exits() == exit_code, started.stderr()
    return summary(started), read_records(results)


def summary(started: Started) -> list[list[str]]:
    return [re.split(r"  +", line, maxsplit=1) for line in started.stdout().splitlines()]


def test_given_the_folder_when_listed_then_each_file_is_run_here() -> None:
    text = Path(__file__).read_text()
    assert [path.name for path in sorted(FOLDER.glob("*.conf")) if f'"{path.name}"' not in text] == []


def test_given_the_checksum_configuration_when_run_then_each_file_has_its_digest(lab: Lab) -> None:
    tree = ROOT / "cyclone"
    told, records = run(lab, "checksum.conf", f"directory.path={tree}")
    expected = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in tree.rglob("*")
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
    }
    found = {r["args"][0]: r["value"]["sha256"] for r in records if "__pycache__" not in Path(r["args"][0]).parts}
    assert found == expected
    assert ["files", f"{len(records):,}"] in told


def test_given_the_benchmark_configuration_when_run_then_the_values_add_up(lab: Lab) -> None:
    told, records = run(lab, "benchmark.conf", "benchmark.num_tasks=3000")
    assert ["returned", "3,000"] in told
    assert ["sum", "4,498,500"] in told
    assert [record["value"] for record in records] == list(range(3000))


def test_given_the_sum_configuration_when_run_then_the_sum_is_right(lab: Lab) -> None:
    told, records = run(lab, "sum.conf", "sum.n=20000", "sum.numbers_per_task=50")
    assert ["sum", f"{20000 * 20001 // 2:,}"] in told
    assert records[-1]["value"] == 20000 * 20001 // 2


def test_given_the_lines_configuration_when_run_then_each_line_had_its_command(lab: Lab) -> None:
    _, records = run(lab, "lines.conf")
    fruit = (FOLDER / "examples" / "fruit.txt").read_text().split("\n")
    expected = [str(len(line.encode())) for line in fruit if line]
    assert [record["value"]["stdout"].strip() for record in records] == expected


def test_given_standard_input_when_lines_come_from_it_then_each_is_a_task(lab: Lab) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"one line\0another\nline\0\xff not text\0")
        os.close(writing)
        sets = ("lines.file=-", "lines.separator=nul", "lines.command=printf %s {}")
        _, records = run(lab, "lines.conf", *sets, stdin=reading)
    finally:
        os.close(reading)
    assert [record["value"]["stdout_bytes"] for record in records] == [8, 12, 10]


def test_given_the_crawl_configuration_when_run_then_each_page_is_read_once(lab: Lab) -> None:
    told, records = run(lab, "crawl.conf")
    pages = sorted(str(path.relative_to(SITE)) for path in SITE.rglob("*.html"))
    assert sorted(record["args"][0] for record in records) == pages
    assert ["pages", str(len(pages))] in told


def test_given_a_web_server_when_crawled_then_the_graph_is_that_of_the_folder(lab: Lab, site: str) -> None:
    sets = ("crawl.root=", f"crawl.url={site}", "crawl.start=index.html")
    _, records = run(lab, "crawl.conf", *sets, exit_code=1)
    # A server is asked for all that is linked, the same page under two names included.
    failed = {record["args"][0] for record in records if record["state"] != "completed"}
    assert failed == {f"{site}figure.png", f"{site}outside.html"}
    crawled = [record["args"][0].removeprefix(site) for record in records if record["state"] == "completed"]
    assert len(set(crawled)) == len(crawled)
    pages = {urllib.parse.unquote(page).partition("?")[0] for page in crawled}
    assert pages == {str(path.relative_to(SITE)) for path in SITE.rglob("*.html")}


def test_given_the_monitoring_configuration_when_run_without_a_lustre_then_each_ost_is_measured(lab: Lab) -> None:
    probe = (f"probe.target_dir={lab.folder}", "probe.total_size_bytes=4KiB", "lustre.ost_select_list=0-9")
    told, records = run(lab, "lustre_ost_monitoring.conf", "monitoring.rounds=1", *probe)
    assert [record["value"]["ost"] for record in records] == [f"OST{ost:04x}" for ost in range(10)]
    assert ["probes", "10"] in told


def test_given_the_file_creation_configuration_when_run_without_a_lustre_then_each_mdt_is_checked(lab: Lab) -> None:
    probe = (f"probe.target_base_dir={lab.folder}", "lustre.ost_select_list=0-9")
    told, records = run(lab, "lustre_file_creation.conf", "monitoring.rounds=1", *probe)
    assert [record["value"]["ok"] for record in records] == [[0, 1, 2]] * 10
    assert ["failed", "0"] in told


def test_given_the_migration_configuration_when_run_without_a_lustre_then_each_path_has_its_outcome(lab: Lab) -> None:
    paths = (FOLDER / "examples" / "projects.input").read_bytes()
    write_input(lab.folder, "projects.input", paths)
    told, records = run(lab, "lustre_ost_migration.conf", f"migration.input_dir={lab.folder}")
    moved = sorted(f"{r['value']['source']} {r['value']['path']}" for r in records)
    assert moved == sorted(paths.decode().splitlines())
    assert ["success", "40"] in told
    assert (lab.folder / "projects.input.done").exists()


def test_given_master_and_controller_configurations_when_started_by_hand_then_the_work_is_done(lab: Lab) -> None:
    port = f"comm.port={lab.port}"
    lab.controller(FOLDER / "controller.conf", "one", port, welcomed=False)
    master = lab.master(FOLDER / "master.conf", port, "benchmark.num_tasks=2000", "control.exit_when_done=yes")
    assert master.exits() == 0
    assert "2000 completed, 0 unfinished" in master.stderr()


def test_given_the_sinks_configurations_when_a_run_names_them_then_its_records_arrive(lab: Lab) -> None:
    pushed = lab.folder / "cyclone.prom"
    ports = {"database_proxy.conf": free_port(), "pushgateway_client.conf": free_port()}
    # The one that ships without what it needs: where to push.
    own = {"database_proxy.conf": (), "pushgateway_client.conf": (f"push.textfile={pushed}", "push.interval=0.2s")}
    sinks = []
    for name, port in ports.items():
        sets = (f"comm.port={port}", f"control.state_dir={lab.folder / name}", *own[name])
        arguments = [word for text in sets for word in ("--set", text)]
        sinks.append(
            lab.start(f"cyclone-{name.removesuffix('.conf').replace('_', '-')}", "-f", FOLDER / name, *arguments)
        )
        sinks[-1].says(f"port {port}")
    targets = ", ".join(f"127.0.0.1:{port}" for port in ports.values())
    probe = (f"probe.target_base_dir={lab.folder}", "lustre.ost_select_list=0-9", f"sink.targets={targets}")
    run(lab, "lustre_file_creation.conf", "monitoring.rounds=1", *probe)
    for sink in sinks:
        sink.signal(signal.SIGTERM)
        assert sink.exits() == 0
    assert pushed.read_text().count("cyclone_lustre_file_creation_check{") == 30
    with contextlib.closing(sqlite3.connect(lab.folder / "database_proxy.conf" / "cyclone.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM lustre_file_creation_check").fetchone() == (30,)
