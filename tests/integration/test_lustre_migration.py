"""A migration by real processes and an executable ``lfs``: master and generator are killed, OSTs misbehave."""

import os
import signal
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from cyclone.errors import CycloneError
from cyclone.json_values import text_of
from cyclone.lustre.migration_status import read_status
from tests.fake_lustre.log import assert_streams
from tests.fake_lustre.state import Component
from tests.support.exports import exported
from tests.support.lab import Lab, Sections, Started
from tests.support.lustre import FakeLustre, fake_lustre
from tests.support.migrations import write_input

FILE_BYTES = 32 << 10
OST_BYTES = 16 << 20
SOURCES = range(16)
TIGHT, FULL, HANGS, INACTIVE, MISPLACES, ELSEWHERE = 16, 20, 21, 22, 23, 24
TARGETS = range(16, 24)
TARGET_THRESHOLD = 80
# Of each source: files that are moved, striped ones, ones that lie on another OST, ones that are gone. So many moves of
# which each may go wrong; 2,000 that go well are those of benchmarks/lustre_executable.py.
MOVED, STRIPED, ASTRAY, GONE = 12, 4, 6, 28
FILL = tuple([90.0] * len(SOURCES) + [10.0] * 9)


def sections(fake: FakeLustre, lab: Lab, **migration: str) -> Sections:
    return {
        "task_generator": {"class": "task_generators.lustre_ost_migration:LustreOstMigrationTaskGenerator"},
        "migration": {
            "input_dir": str(lab.folder / "input"),
            "ost_targets": f"{TARGETS[0]}-{TARGETS[-1]}",
            "ost_fill_threshold_source": "50",
            "ost_fill_threshold_target": str(TARGET_THRESHOLD),
            "update_fill_level": "500ms",
            "reload_files": "500ms",
            "print_caches": "1s",
            "busy_retry_delay": "200ms",
            "busy_tries": "9",
            "when_done": "end",
            **migration,
        },
        "lustre": {"fs_path": str(fake.mount), "lfs_bin": fake.lfs},
        "journal": {"path": str(lab.folder / "journal")},
        "control": {"exit_when_done": "yes", "max_num_request_retries": "1000"},
    }


def files(fake: FakeLustre, source: int) -> Iterable[tuple[str, str]]:
    """Paths of a source, and the outcome that each must have, "" where that depends."""
    odd = ("a blank", "a|bar", "caf\udce9", "plain")
    names = [(f"s{source}/{odd[number % 4]} {number}", source) for number in range(MOVED)]
    astray = [(f"s{source}/astray{number}", ELSEWHERE) for number in range(ASTRAY)]
    for path in fake.populate(names, FILE_BYTES):
        Path(path).write_bytes(b"x" * FILE_BYTES)
        yield path, ""
    for path in fake.populate(astray, FILE_BYTES):
        yield path, "IGNORED"
    for number in range(STRIPED):
        yield fake.lay_out(f"s{source}/striped{number}", Component((source, ELSEWHERE), 2)), "SKIPPED"
    for number in range(GONE):
        yield f"{fake.mount}/s{source}/gone{number}", "IGNORED"


def write_inputs(folder: Path, listed: dict[str, int]) -> None:
    """In all forms, by turns."""
    folder.mkdir()
    rows = [(ost, os.fsencode(path)) for path, ost in listed.items()]
    write_input(folder, "a.input", b"".join(b"%d %s\n" % row for row in rows[::3]) + b"not a line\n")
    write_input(folder, "b.input", b"".join(b"OST%04x %s\0" % row for row in rows[1::3]))
    write_input(folder, "c.input", b"ost,path,size\n" + b"".join(b"%d,%s,32768\n" % row for row in rows[2::3]))


def moves(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The values of the last tries."""
    assert {record["state"] for record in records} == {"completed"}
    values = [record["value"] for record in records if not record["value"]["busy"]]
    # A name that is not UTF-8 is base64 there.
    return [value | {"path": text_of(value["path"])} for value in values]


def ended_paths(lab: Lab) -> int:
    """As the generator has told it last."""
    try:
        return sum(read_status(lab.folder / "input" / "state" / "status.json")[0].outcomes.values())
    except CycloneError:
        return 0


def ended(lab: Lab, started: Started) -> None:
    assert started.exits(60) == 0, started.stderr()[-3000:]


@pytest.mark.timeout(120)
def test_given_hundreds_of_files_when_the_master_and_the_generator_are_killed_then_each_has_one_outcome(
    lab: Lab, tmp_path: Path
) -> None:
    fake = fake_lustre(tmp_path, osts=25, ost_bytes=OST_BYTES, fill=FILL)
    wanted = {path: outcome for source in SOURCES for path, outcome in files(fake, source)}
    assert len(wanted) == 800
    sources = {path: int(path.removeprefix(f"{fake.mount}/s").partition("/")[0]) for path in wanted}
    write_inputs(lab.folder / "input", sources)
    fake.set(f"ost {TIGHT} fill {TARGET_THRESHOLD - 2}")
    fake.set(f"ost {FULL} full")
    fake.set(f"ost {INACTIVE} inactive")
    fake.set(f"ost {HANGS} hang 1s")
    fake.set(f"ost {MISPLACES} misplace 0.3")
    fake.set("migrate busy 0.05")
    config = lab.config(sections(fake, lab))
    master = lab.master(config)
    node = lab.controller(config, "node", "processing.worker_count=8")

    lab.wait_until(lambda: ended_paths(lab) >= 200, "some moves", 60)
    master.signal(signal.SIGKILL)
    master.exits()
    master = lab.master(config)
    lab.wait_until(lambda: ended_paths(lab) >= 480, "more moves", 60)
    os.kill(lab.process("generator_process"), signal.SIGKILL)
    ended(lab, master)
    ended(lab, node)

    found = moves(exported(lab, lab.folder / "journal"))
    assert Counter(value["path"] for value in found) == Counter(dict.fromkeys(wanted, 1))
    for value in found:
        assert wanted[value["path"]] in (value["outcome"], "")
    outcomes = Counter(value["outcome"] for value in found if not wanted[value["path"]])
    assert set(outcomes) == {"SUCCESS", "DISPLACED", "FAILED"}
    assert {value["target"] for value in found if value["outcome"] == "FAILED"} == {HANGS}
    assert {value["target"] for value in found if value["outcome"] == "DISPLACED"} == {MISPLACES}
    assert_streams(fake.log("migrate"), 1, 1)
    assert {FULL, INACTIVE} & {value["target"] for value in found} == set()
    assert fake.used_bytes(TIGHT) <= OST_BYTES * TARGET_THRESHOLD // 100 + FILE_BYTES
    assert all(fake.osts_of(v["path"]) == [v["target"]] for v in found if v["outcome"] == "SUCCESS")
    folder = lab.folder / "input"
    assert sorted(path.name for path in folder.glob("*.input*")) == [
        *("a.input.bad", "a.input.done", "b.input.done", "c.input.done")
    ]
    assert (folder / "a.input.bad").read_bytes() == b"not a line\n"
    failed = [line.partition(b" ")[2] for line in (folder / "migration.failed").read_bytes().splitlines()]
    assert sorted(map(os.fsdecode, failed)) == sorted(v["path"] for v in found if v["outcome"] == "FAILED")


def test_given_a_pause_then_no_move_begins_until_it_is_resumed_and_a_plan_has_moved_nothing(
    lab: Lab, tmp_path: Path
) -> None:
    fake = fake_lustre(tmp_path, osts=25, ost_bytes=OST_BYTES, fill=FILL)
    listed = dict.fromkeys(fake.populate([(f"f{number}", 0) for number in range(12)], FILE_BYTES), 0)
    write_inputs(lab.folder / "input", listed)
    config = lab.config(sections(fake, lab))
    plan = lab.start("cyclone", "lustre", "plan", "-f", config)
    assert plan.exits() == 0, plan.stderr()
    assert "12 paths, 1 bad records" in plan.stdout()
    assert fake.log("migrate") == []

    assert lab.start("cyclone", "lustre", "pause", "-f", config).exits() == 0
    run = lab.run(config, "--workers", "2", "--set", "log.level=info")
    run.says("the migration is paused")
    run.says("paused: no outcome yet")
    assert fake.log("migrate") == []
    assert lab.start("cyclone", "lustre", "resume", "-f", config).exits() == 0
    ended(lab, run)
    assert "success      12" in run.stdout()
    progress = lab.start("cyclone", "lustre", "progress", "-f", config)
    assert progress.exits() == 0
    assert "12 SUCCESS" in progress.stdout()
