"""``cyclone run`` and its folders: one for each run, by which a run goes on that was killed."""

import contextlib
import json
import random
import re
import signal
import sqlite3
import stat
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.support.exports import assert_each_once, exported, run_folders, state_folder
from tests.support.lab import Lab, Started, read_records

GATED = ({"what": "quick", "times": 30}, {"what": "gate", "value": "gate", "times": 2}, {"what": "quick", "times": 30})
GATED_COUNT = 62
# Of the results file, at least.
RECORD_BYTES = 200


def resume(lab: Lab, folder: Path, *arguments: str | Path, **options: object) -> Started:
    return lab.start("cyclone", "run", "--resume", folder, *arguments, **options)


def killed_run(lab: Lab, *arguments: str | Path) -> Path:
    """The folder of a run that was killed when some of its tasks were done and two were running."""
    run = lab.run(lab.script(*GATED), *arguments)
    lab.noted("start", 2, what="gate")
    lab.noted("result", 20)
    run.signal(signal.SIGKILL)
    run.exits()
    lab.all_gone()
    (folder,) = run_folders(lab)
    return folder


def summary(started: Started) -> dict[str, str]:
    return dict(re.split(r"  +", line, maxsplit=1) for line in started.stdout().splitlines())


def test_given_a_run_when_it_starts_and_ends_then_it_names_its_folder_which_is_its_owners_alone(lab: Lab) -> None:
    run = lab.run(lab.script({"what": "quick", "times": 3}))
    assert run.exits() == 0
    (folder,) = run_folders(lab)
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}Z-{run.pid}", folder.name)
    assert summary(run)["folder"] == str(folder)
    assert f"cyclone run --resume {folder}\n" in run.stderr()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(file.stat().st_mode) & 0o077 == 0 for file in folder.iterdir())
    assert_each_once(exported(lab, folder / "journal.sqlite"), 3)


def test_given_durability_off_when_run_then_it_makes_no_folder_and_says_so(lab: Lab) -> None:
    run = lab.run(lab.script({"what": "quick"}), "--set", "journal.durability=off")
    assert run.exits() == 0
    assert "no journal (durability = off)" in run.stderr()
    assert "folder" not in summary(run)
    assert not state_folder(lab).exists()


def test_given_a_run_that_is_refused_then_it_leaves_no_folder(lab: Lab) -> None:
    results = lab.folder / "results.jsonl"
    results.write_text("the work of a week\n")
    assert lab.run(lab.script({"what": "quick"}), "--results", results).exits() == 78
    assert run_folders(lab) == []


@pytest.mark.parametrize("ending", ["jsonl", "csv", "sqlite"])
def test_given_a_killed_run_when_resumed_then_each_task_is_recorded_once_also_in_its_results_file(
    lab: Lab, ending: str
) -> None:
    results = lab.folder / f"results.{ending}"
    folder = killed_run(lab, "--results", results)
    lab.open("gate")
    run = resume(lab, folder)
    assert run.exits() == 0, run.stderr()
    told = summary(run)
    assert told["tasks"] == f"{GATED_COUNT}  ({GATED_COUNT} completed)"
    assert re.match(r"\d+ were done before", told["before"])
    assert told["results"] == str(results)
    assert_each_once(exported(lab, folder / "journal.sqlite"), GATED_COUNT)
    if ending == "jsonl":
        assert_each_once(read_records(results), GATED_COUNT, "task_id")
    elif ending == "csv":
        assert [int(line.partition(",")[0]) for line in sorted_lines(results)] == list(range(1, GATED_COUNT + 1))
    else:
        with sqlite3.connect(results) as database:
            rows = database.execute("select task_id from results order by task_id").fetchall()
        assert [row[0] for row in rows] == list(range(1, GATED_COUNT + 1))


def sorted_lines(path: Path) -> list[str]:
    return sorted(path.read_text().splitlines()[1:], key=lambda line: int(line.partition(",")[0]))


def test_given_a_killed_run_when_resumed_then_what_was_recorded_does_not_run_again(lab: Lab) -> None:
    folder = killed_run(lab)
    recorded = {record["id"] for record in exported(lab, folder / "journal.sqlite") if record["state"] == "completed"}
    assert len(recorded) >= 20
    lab.open("gate")
    assert resume(lab, folder).exits() == 0
    starts = [note["task"] for note in lab.notes("start")]
    assert {task for task in recorded if starts.count(task) != 1} == set()


def test_given_a_killed_run_when_resumed_from_elsewhere_then_relative_paths_still_hold(lab: Lab) -> None:
    work = lab.folder / "work"
    work.mkdir()
    script = json.dumps([{"what": "exists", "value": "here"}, *GATED])
    lab.config({"task_generator": {"class": "workload_here:Here"}, "script": {"tasks": script}}, "work/test.conf")
    (work / "workload_here.py").write_text("from tests.support.workload import ScriptGenerator as Here\n")
    (work / "here").touch()
    run = lab.start("cyclone", "run", "-f", "test.conf", "--results", "results.jsonl", cwd=work)
    lab.noted("start", 2, what="gate")
    run.signal(signal.SIGKILL)
    run.exits()
    lab.all_gone()
    (folder,) = run_folders(lab)
    lab.open("gate")
    assert resume(lab, Path("cyclone/runs", folder.name), cwd=lab.folder / "state").exits() == 0
    records = read_records(work / "results.jsonl")
    assert_each_once(records, GATED_COUNT + 1, "task_id")
    assert records[0]["value"] is True


@pytest.mark.parametrize("change", ["class", "options"])
def test_given_another_generator_when_resumed_then_it_is_refused_and_both_are_named(lab: Lab, change: str) -> None:
    folder = killed_run(lab)
    if change == "class":
        other = lab.config({"task_generator": {"class": "task_generators.benchmark:BenchmarkTaskGenerator"}}, "b.conf")
        run = resume(lab, folder, "-f", other)
        named = ["task_generators.benchmark:BenchmarkTaskGenerator", "tests.support.workload:ScriptGenerator"]
    else:
        run = resume(lab, folder, "--set", "script.tasks=[]")
        named = ["script", "tasks"]
    assert run.exits() == 78
    assert [name for name in named if name not in run.stderr()] == []
    # And it is still what it was.
    lab.open("gate")
    assert resume(lab, folder).exits() == 0
    assert_each_once(exported(lab, folder / "journal.sqlite"), GATED_COUNT)


def test_given_a_finished_run_when_resumed_then_it_ends_at_once_without_a_controller_and_says_so(lab: Lab) -> None:
    results = lab.folder / "results.jsonl"
    assert lab.run(lab.script({"what": "quick", "times": 5}), "--results", results).exits() == 0
    before = read_records(results)
    (folder,) = run_folders(lab)
    run = resume(lab, folder, "--set", "log.level=info")
    assert run.exits() == 0, run.stderr()
    assert summary(run)["before"] == "5 were done before, nothing was left to do"
    assert "controller=" not in run.stderr()
    assert read_records(results) == before
    assert len(lab.notes("start")) == 5


def test_given_a_finished_run_with_a_failure_when_resumed_then_its_exit_code_still_says_so(lab: Lab) -> None:
    assert lab.run(lab.script({"what": "quick"}, {"what": "raise", "value": "oh"})).exits() == 1
    (folder,) = run_folders(lab)
    run = resume(lab, folder)
    assert run.exits() == 1
    assert summary(run)["failures"] == "1"


def test_given_a_stopped_run_when_resumed_then_it_goes_on(lab: Lab) -> None:
    run = lab.run(lab.script(*GATED))
    lab.noted("start", 2, what="gate")
    run.signal(signal.SIGTERM)
    run.says("stopping: waiting for what runs")
    lab.open("gate")
    assert run.exits() == 143
    (folder,) = run_folders(lab)
    assert resume(lab, folder).exits() == 0
    assert_each_once(exported(lab, folder / "journal.sqlite"), GATED_COUNT)
    assert len(lab.notes("start")) == GATED_COUNT


def test_given_a_run_that_is_alive_when_it_is_resumed_then_that_is_refused(lab: Lab) -> None:
    run = lab.run(lab.script(*GATED))
    lab.noted("start", 2, what="gate")
    (folder,) = run_folders(lab)
    second = resume(lab, folder)
    assert second.exits() == 1
    assert str(folder / "journal.sqlite") in second.stderr()
    lab.open("gate")
    assert run.exits() == 0


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, "is not the folder of a run, it has no run.json"),
        ("{", "is not what cyclone run has written"),
        ('{"directory": "/gone/for/ever", "config_file": "", "overrides": []}', "its run works in /gone/for/ever"),
    ],
)
def test_given_no_folder_of_a_run_when_resumed_then_it_is_refused_in_one_line(
    lab: Lab, made: str | None, message: str
) -> None:
    folder = lab.folder / "other"
    folder.mkdir()
    if made:
        (folder / "run.json").write_text(made)
    run = resume(lab, folder)
    assert run.exits() == 78
    assert message in run.stderr()
    assert run.stderr().count("\n") == 1


def test_given_a_results_file_of_another_run_when_a_run_is_resumed_into_it_then_it_is_refused_and_kept(
    lab: Lab,
) -> None:
    folder = killed_run(lab)
    other = lab.folder / "other.jsonl"
    other.write_text("the work of a week\n")
    for _ in range(2):
        run = resume(lab, folder, "--results", other)
        assert run.exits() == 78
        assert "holds results already" in run.stderr()
    assert other.read_text() == "the work of a week\n"


def test_given_neither_a_file_nor_a_folder_when_run_then_the_command_line_is_wrong(lab: Lab) -> None:
    run = lab.start("cyclone", "run")
    assert run.exits() == 2
    assert "Give -- COMMAND, -f CONF of a generator, or --resume FOLDER" in run.stderr()


@pytest.mark.timeout(180)
def test_given_a_run_when_it_is_killed_twenty_times_in_a_row_then_each_task_is_recorded_once(lab: Lab) -> None:
    count, killed = 30_000, 0
    seeded = random.Random(4)
    results = lab.folder / "results.jsonl"
    run = lab.run(lab.script({"what": "quick", "times": count, "number": True}), "--results", results)
    lab.wait_until(lambda: [folder for folder in run_folders(lab) if (folder / "run.json").exists()], "it has begun")
    (folder,) = run_folders(lab)
    for number in range(20):
        if number % 2:
            # In the middle of its work, each time a little further on.
            enough = number * count // 40 * RECORD_BYTES
            lab.wait_until(partial(grown, results, enough), f"{results} has {enough} bytes", 60)
        else:
            # At another moment each time while it starts: this waits for nothing, it is to hit anything.
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.process.wait(seeded.uniform(0.05, 0.6))
        killed += run.alive
        run.signal(signal.SIGKILL)
        run.exits()
        run = resume(lab, folder)
    assert run.exits(60) == 0, run.stderr()
    assert killed == 20
    records = exported(lab, folder / "journal.sqlite")
    assert_each_once(records, count)
    assert [record["value"] for record in records] == list(range(count))
    assert_each_once(read_records(results), count, "task_id")
    assert run_folders(lab) == [folder]


def grown(path: Path, size_bytes: int) -> bool:
    return path.exists() and path.stat().st_size >= size_bytes
