"""``cyclone run`` and its sisters on the command line: exit codes, results, progress, where user modules are found."""

import contextlib
import csv
import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cyclone.version import __version__
from tests.support.lab import ROOT, Lab, program, read_records
from tests.support.procfs import wait_until

COMMANDS = ("cyclone", "cyclone-master", "cyclone-controller")
GENERATOR = """
import os, sys
from cyclone import BaseTask, BaseTaskGenerator

class WhereTask(BaseTask):
    def __init__(self, where):
        self.where = where
    def execute(self):
        return [self.where, __file__]

class Generator(BaseTaskGenerator):
    def generate(self):
        yield WhereTask(__file__)
        for section, keys in sorted(self.config.items()):
            for key, value in sorted(keys.items()):
                yield WhereTask(f"{section}.{key}={value}")
"""


def says(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program(command), *arguments], capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_given_a_command_when_asked_for_version_or_help_then_it_tells_and_exits_0(command: str) -> None:
    version = says(command, "--version")
    assert (version.returncode, version.stdout) == (0, f"{command} {__version__}\n")
    usage = says(command, "--help")
    assert usage.returncode == 0
    assert usage.stdout.startswith(f"usage: {command} ")


@pytest.mark.parametrize("command", [("cyclone", "run"), ("cyclone-master",), ("cyclone-controller",)])
def test_given_help_when_asked_for_then_nothing_heavy_is_imported(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", program(command[0]), *command[1:], "--help"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "argparse" in imported
    assert imported & {"zmq", "msgspec", "psutil", "tqdm", "sqlite3", "csv", "asyncio"} == set()


@pytest.mark.parametrize(
    ("command", "row"),
    [
        (("cyclone", "run"), r"\[control\] +crash_limit +7 +--set"),
        (("cyclone-master",), r"\[control\] +controller_timeout +2s +\S+test\.conf:\d+"),
        (("cyclone-controller",), r"\[processing\] +worker_count +2 +\S+test\.conf:\d+"),
    ],
)
def test_given_check_config_when_asked_for_then_values_and_origins_are_printed(
    lab: Lab, command: tuple[str, ...], row: str
) -> None:
    config = lab.script({"what": "quick"})
    done = says(*command, "-f", str(config), "--set", "control.crash_limit=7", "--check-config")
    assert done.returncode == 0, done.stderr
    assert re.search(row, done.stdout), done.stdout
    assert lab.notes() == []


@pytest.mark.parametrize("command", [("cyclone", "run"), ("cyclone-master",), ("cyclone-controller",)])
def test_given_a_bad_configuration_when_started_then_it_exits_78_in_one_line(
    lab: Lab, command: tuple[str, ...]
) -> None:
    config = lab.config({"control": {"crash_limt": "3"}})
    done = says(*command, "-f", str(config))
    assert done.returncode == 78
    assert "crash_limt: no such key; did you mean crash_limit?" in done.stderr
    assert done.stderr.count("\n") == 1
    missing = says(*command, "-f", str(lab.folder / "missing.conf"))
    assert missing.returncode == 78
    assert "missing.conf" in missing.stderr


def test_given_a_results_file_that_exists_when_run_then_it_is_refused_and_kept(lab: Lab) -> None:
    results = lab.folder / "results.jsonl"
    results.write_text("the work of a week\n")
    run = lab.run(lab.script({"what": "quick"}), "--results", results)
    assert run.exits() == 78
    assert "holds results already" in run.stderr()
    assert results.read_text() == "the work of a week\n"


def test_given_tasks_when_all_succeed_then_it_exits_0_and_the_three_formats_agree(lab: Lab) -> None:
    config = lab.script({"what": "quick", "times": 25, "number": True})
    for ending in ("jsonl", "csv", "sqlite"):
        assert lab.run(config, "--results", lab.folder / f"results.{ending}").exits() == 0
    records = read_records(lab.folder / "results.jsonl")
    with (lab.folder / "results.csv").open(newline="") as file:
        cells = sorted((int(row["task_id"]), row["state"], row["value"]) for row in csv.DictReader(file))
    with sqlite3.connect(lab.folder / "results.sqlite") as database:
        rows = database.execute("select task_id, state, value from results order by task_id").fetchall()
    assert cells == rows == [(r["task_id"], r["state"], str(r["value"])) for r in records]
    assert [record["value"] for record in records] == list(range(25))
    assert all(record["started"] <= record["finished"] for record in records)
    assert {Path(f"/proc/{record['worker_pid']}").exists() for record in records} == {False}


def test_given_the_summary_when_a_run_ends_then_it_counts_and_names_the_results(lab: Lab) -> None:
    results = lab.folder / "results.jsonl"
    run = lab.run(lab.script({"what": "quick", "times": 3}, {"what": "raise", "value": "oh"}), "--results", results)
    assert run.exits() == 1
    summary = dict(re.split(r"  +", line, maxsplit=1) for line in run.stdout().splitlines())
    assert summary["tasks"] == "4  (3 completed, 1 failed)"
    assert summary["failures"] == "1"
    assert summary["results"] == str(results)
    assert str(results) in summary["look"]
    assert "1  failed: ValueError: oh" in run.stderr()
    assert subprocess.run(summary["look"].split("|")[0], shell=True, check=False, capture_output=True).returncode == 0


def test_given_quiet_when_run_then_nothing_is_printed(lab: Lab) -> None:
    run = lab.run(lab.script({"what": "quick", "times": 3}), "-q")
    assert run.exits() == 0
    assert (run.stdout(), run.stderr()) == ("", "")


def test_given_no_terminal_when_a_run_takes_a_while_then_a_line_of_progress_is_printed(lab: Lab) -> None:
    run = lab.run(lab.script({"what": "quick", "times": 10}, {"what": "gate", "value": "gate"}))
    lab.noted("result", 10)
    run.says("10 of 11 tasks done", deadline_s=12)
    lab.open("gate")
    assert run.exits() == 0
    assert "\r" not in run.stderr()


def test_given_a_terminal_when_run_then_a_bar_is_drawn(lab: Lab) -> None:
    config = lab.script({"what": "quick", "times": 10}, {"what": "gate", "value": "gate"})
    ours, theirs = pty.openpty()
    drawn = b""

    os.set_blocking(ours, False)

    def drawn_whole() -> bool:
        nonlocal drawn
        with contextlib.suppress(BlockingIOError):
            drawn += os.read(ours, 65536)
        return b"10/11" in drawn

    run = lab.run(config, stderr=theirs)
    os.close(theirs)
    try:
        wait_until(drawn_whole, "a bar with 10 of 11")
        lab.open("gate")
        assert run.exits() == 0
    finally:
        os.close(ours)
    assert b"\r" in drawn
    assert b"tasks" in drawn


def test_given_a_generators_own_file_when_set_on_the_command_line_then_it_gets_the_value(lab: Lab) -> None:
    (lab.folder / "where.py").write_text(GENERATOR)
    (lab.folder / "own.conf").write_text("[place]\nkept = from the file\nchanged = from the file\n")
    config = lab.config({"task_generator": {"class": "where:Generator", "config_file": "own.conf"}})
    sets = ["--set", "place.changed=by --set", "--set", "place.new=1"]
    records = lab.records(config, *sets, exit_code=0)
    assert [record["value"][0] for record in records[1:]] == [
        "place.changed=by --set",
        "place.kept=from the file",
        "place.new=1",
    ]


@pytest.mark.parametrize("place", ["configuration", "working directory", "PYTHONPATH"])
def test_given_a_user_module_in_any_place_when_run_then_generator_and_workers_find_the_same(
    lab: Lab, place: str
) -> None:
    folders = {
        name: lab.folder / name.replace(" ", "_") for name in ("configuration", "working directory", "PYTHONPATH")
    }
    for folder in folders.values():
        folder.mkdir()
    (folders[place] / "where.py").write_text(GENERATOR)
    config = lab.config({"task_generator": {"class": "where:Generator"}}, "configuration/test.conf")
    results = lab.folder / "results.jsonl"
    environment = {"PYTHONPATH": f"{folders['PYTHONPATH']}{os.pathsep}{ROOT}"}
    run = lab.run(config, "--results", results, cwd=folders["working directory"], environment=environment)
    assert run.exits() == 0, run.stderr()
    (record,) = read_records(results)
    assert record["value"] == [str(folders[place] / "where.py")] * 2


def test_given_a_task_whose_module_only_the_generator_has_when_run_then_its_failure_says_so(lab: Lab) -> None:
    (lab.folder / "here.py").write_text(GENERATOR + "\nimport sys; sys.modules['gone'] = sys.modules[__name__]\n")
    text = (
        (lab.folder / "here.py")
        .read_text()
        .replace("yield WhereTask(__file__)", "WhereTask.__module__ = 'gone'; yield WhereTask(1)")
    )
    (lab.folder / "here.py").write_text(text)
    (record,) = lab.records(lab.config({"task_generator": {"class": "here:Generator"}}), exit_code=1)
    assert record["error"]["type"] == "PluginError"
    assert "no module 'gone'; looked in " in record["error"]["message"]


@pytest.mark.parametrize("durability", ["full", "off"])
def test_given_a_bench_then_it_names_its_durability_and_leaves_its_report_alone(lab: Lab, durability: str) -> None:
    arguments = ("--tasks", "500", "--workers", "1", "--durability", durability, "--journal-dir", lab.folder / "there")
    bench = lab.start("cyclone", "bench", *arguments, "--json")
    assert bench.exits() == 0, bench.stderr()
    assert json.loads(bench.stdout())["durability"] == durability
    assert (lab.folder / "there").exists() == (durability == "full")
    assert list(lab.folder.glob("there/*")) == []
    (report,) = [path for path in (lab.folder / "state").rglob("*") if path.is_file()]
    assert report.parent == lab.folder / "state" / "cyclone" / "bench"


def test_given_a_run_when_stopped_by_sigterm_while_starting_then_it_exits_143_and_leaves_nothing(lab: Lab) -> None:
    run = lab.run(lab.script({"what": "gate", "value": "never"}))
    wait_until(lambda: lab.processes("guardian.py"), "it has begun")
    run.signal(signal.SIGTERM)
    # Before its own handler stands, the signal ends it as it would any program.
    assert run.exits() in (143, -signal.SIGTERM)
    lab.all_gone()


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_given_no_room_for_the_results_when_run_then_it_ends_with_1_and_names_the_file(lab: Lab, ending: str) -> None:
    results = lab.folder / f"results.{ending}"
    results.symlink_to("/dev/full")
    run = lab.run(lab.script({"what": "quick"}), "--results", results)
    assert run.exits() == 1
    assert f"results file {results}: No space left on device" in run.stderr()
    assert "Traceback" not in run.stderr()
