"""ScriptTask: a script that travels with its job."""

import stat
import sys
import tempfile
from pathlib import Path

import pytest

from cyclone import BaseTask
from cyclone.programs.command import CommandFailed
from tasks.script import ScriptTask
from tests.support.job_of import job_of

ARGV = "import os, sys; print(os.path.basename(sys.argv[0]), sys.argv[1:], os.environ['CYCLONE_ENTRY'])"
WHERE = "import sys; print(sys.argv[0]); print(sys.executable)"


def test_given_a_script_then_each_task_runs_it_with_its_arguments() -> None:
    run = job_of(ScriptTask, "my script.py", ARGV, ["-x", "{}", "{index}"])

    assert [run(n)["stdout"] for n in (4, 5)] == [f"my script.py ['-x', '{n}', '{n}'] {n}\n" for n in (4, 5)]


def test_given_a_job_then_a_worker_writes_the_script_once_for_itself_alone_and_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")  # that of the job
    monkeypatch.setattr(BaseTask.current, "worker_dir", tmp_path)
    run = job_of(ScriptTask, "script.py", WHERE, [])

    first, second = (run(None)["stdout"].splitlines() for _ in range(2))

    assert first == second
    assert first[1] == sys.executable
    [folder] = tmp_path.iterdir()
    assert Path(first[0]) == folder / "script.py"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    Path(first[0]).unlink()
    assert run(None)["stdout"].splitlines() == first

    del run
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["print('ä')", "# coding: latin-1\nprint('\xe4')".encode("latin-1")])
def test_given_a_source_as_text_or_bytes_then_python_reads_it(source: str | bytes) -> None:
    assert job_of(ScriptTask, "s.py", source)(None, None)["stdout"] == "ä\n"


def test_given_tasks_that_share_nothing_then_each_brings_its_script() -> None:
    run = job_of(ScriptTask)

    assert run("a.py", "print(1)", None, None)["stdout"] == "1\n"
    assert run("b.py", "print(2)", None, None)["stdout"] == "2\n"


def test_given_a_script_that_raises_then_the_failure_ends_with_its_traceback() -> None:
    with pytest.raises(CommandFailed, match="(?s)s.py ended with exit code 1.*ZeroDivisionError: division by zero$"):
        job_of(ScriptTask, "s.py", "1 / 0", [])(None)


def test_given_a_script_that_exits_then_its_exit_code_is_told() -> None:
    with pytest.raises(CommandFailed, match="ended with exit code 7$"):
        job_of(ScriptTask, "s.py", "raise SystemExit(7)", [])(None)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b.py", "/a.py", "a\0", "x" * 256])
def test_given_what_is_no_name_of_a_file_then_the_task_cannot_be_made(name: str) -> None:
    with pytest.raises(ValueError, match="is no name for a script"):
        ScriptTask(name, "")
