"""``cyclone taskfile check``: what it prints, and its exit code."""

import json
import sys
from pathlib import Path

import pytest

from cyclone.cli.main import _run

GOOD = '<task name="good"><class module="tasks.benchmark" name="SleepTask"/><property>{}</property></task>'
WRONG = '<task name="wrong"><class module="tasks.benchmark" name="NapTask"/></task>'
PARTIAL = """<task name="partial">
<class module="checked_tasks" name="Probe"/><property><ost_idx/><size type="int">4096</size></property></task>"""
MODULE = """from cyclone import BaseTask

class Probe(BaseTask):
    def __init__(self, ost_idx: int, size: float) -> None:
        self.ost_idx, self.size = ost_idx, size

class Forgetful(BaseTask):
    def __init__(self, folder: str) -> None:
        self.path = folder
"""
FORGETFUL = """<task name="forgetful">
<class module="checked_tasks" name="Forgetful"/><property><folder>/lustre</folder></property></task>"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "checked_tasks.py").write_text(MODULE)
    return tmp_path


def write(folder: Path, *tasks: str, name: str = "tasks.xml") -> str:
    path = folder / name
    path.write_text(f"<tasks>{''.join(tasks)}</tasks>")
    return str(path)


@pytest.mark.parametrize(
    ("tasks", "code"),
    [
        ([GOOD.format("")], 0),
        ([GOOD.format("<milliseconds>5</milliseconds>"), PARTIAL], 0),
        ([GOOD.format("<milliseconds>soon</milliseconds>")], 1),
        ([GOOD.format(""), WRONG], 1),
        ([FORGETFUL], 1),
        ([], 78),
    ],
)
def test_given_task_files_then_the_exit_code_says_how_they_are(tasks: list[str], code: int, folder: Path) -> None:
    assert _run(["taskfile", "check", write(folder, *tasks)]) == code


def test_given_tasks_then_there_is_a_line_for_each(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, GOOD.format("<milliseconds>5</milliseconds>"), PARTIAL, WRONG)

    _run(["taskfile", "check", path])

    good, partial, wrong = capsys.readouterr().out.splitlines()
    assert good == f"{path}:1: good: tasks.benchmark:SleepTask, milliseconds (float)"
    assert partial == f"{path}:1: partial: checked_tasks:Probe, size (int); its generator gives ost_idx"
    assert wrong.startswith(f"wrong: {path}:2: task 'wrong': module 'tasks.benchmark'")


def test_given_a_task_that_no_worker_could_be_given_then_that_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(folder, FORGETFUL)

    _run(["taskfile", "check", path])

    assert capsys.readouterr().out.startswith(
        f"wrong: {path}:1: task 'forgetful': checked_tasks:Forgetful: the constructor does not assign its parameter "
        "'folder' to self.folder"
    )


def test_given_json_then_each_task_is_an_object(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, PARTIAL, WRONG)

    assert _run(["taskfile", "check", "--json", path]) == 1

    partial, wrong = map(json.loads, capsys.readouterr().out.splitlines())
    assert partial == {
        "file": path,
        "task": "partial",
        "class": "checked_tasks:Probe",
        "properties": {"size": "int"},
        "left_to_generator": ["ost_idx"],
        "warnings": [],
        "error": "",
    }
    assert "has no class 'NapTask'" in wrong["error"]


def test_given_several_files_then_all_are_checked_and_the_worst_counts(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = str(folder / "absent.xml")
    files = [absent, write(folder, WRONG, name="wrong.xml"), write(folder, GOOD.format(""), name="good.xml")]

    assert _run(["taskfile", "check", *files]) == 78

    captured = capsys.readouterr()
    assert captured.err == f"cyclone: {absent}: no such task file\n"
    assert [line.partition(":")[0] for line in captured.out.splitlines()] == ["wrong", str(folder / "good.xml")]
