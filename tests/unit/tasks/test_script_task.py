"""ScriptTask: a script that travels with its job."""

import stat
import sys
import tempfile
from pathlib import Path

import pytest

from cyclone import BaseTask
from cyclone.programs.command import OUTPUT_BYTES_MAX, CommandFailed, CommandNotFound
from tasks.script import ScriptTask
from tests.support.job_of import job_of

ARGV = "import os, sys; print(os.path.basename(sys.argv[0]), sys.argv[1:], os.environ['CYCLONE_ENTRY'])"
# Standard input, how much of the outputs is kept, the grace.
AS_USUAL = (None, 4096, 5.0)
WHERE = "import sys; print(sys.argv[0]); print(sys.executable)"


def test_given_a_script_then_each_task_runs_it_with_its_arguments() -> None:
    run = job_of(ScriptTask, "my script.py", ARGV, *AS_USUAL, ["-x", "{}", "{index}"])

    assert [run(n)["stdout"] for n in (4, 5)] == [f"my script.py ['-x', '{n}', '{n}'] {n}\n" for n in (4, 5)]


def test_given_a_job_then_a_worker_writes_the_script_once_for_itself_alone_and_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")  # that of the job
    monkeypatch.setattr(BaseTask.current, "worker_dir", tmp_path)
    run = job_of(ScriptTask, "script.py", WHERE, *AS_USUAL, [])

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
    assert job_of(ScriptTask, "s.py", source)()["stdout"] == "ä\n"


def test_given_tasks_that_share_nothing_then_each_brings_its_script() -> None:
    run = job_of(ScriptTask)

    assert run("a.py", "print(1)")["stdout"] == "1\n"
    assert run("b.py", "print(2)")["stdout"] == "2\n"


def test_given_a_script_that_raises_then_the_failure_ends_with_its_traceback() -> None:
    with pytest.raises(CommandFailed, match="(?s)^s.py x ended with exit code 1.*ZeroDivisionError: division by zero$"):
        job_of(ScriptTask, "s.py", "1 / 0", *AS_USUAL, ["x"])(None)


def test_given_a_script_that_exits_then_its_exit_code_is_told() -> None:
    with pytest.raises(CommandFailed, match="ended with exit code 7$"):
        job_of(ScriptTask, "s.py", "raise SystemExit(7)")()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b.py", "/a.py", "a\0", "x" * 256])
def test_given_what_is_no_name_of_a_file_then_the_task_cannot_be_made(name: str) -> None:
    with pytest.raises(ValueError, match="is no name for a script"):
        ScriptTask(name, "")


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        ("#!/bin/bash -e\necho ${0##*/} $- $@ $CYCLONE_ENTRY", "job ehB x{} 7"),
        ("#!/usr/bin/env -S bash -e -u\necho ${0##*/} $- $@", "job ehuB x{}"),
        ("#! /usr/bin/perl -l\nprint for @ARGV", "x{}"),
        (f"#!{sys.executable} -I\nimport sys; print(sys.flags.isolated, *sys.argv[1:])", "1 x{}"),
    ],
)
def test_given_a_first_line_then_what_it_names_runs_the_script_with_its_one_argument(source: str, printed: str) -> None:
    run = job_of(ScriptTask, "job", source, *AS_USUAL, ["x{{}}"])

    assert run(7)["stdout"] == f"{printed}\n"


def test_given_a_script_that_calls_itself_then_it_is_executable() -> None:
    source = '#!/bin/sh\n[ "$1" ] && exec "$0"\necho again\n'

    assert job_of(ScriptTask, "job.sh", source, *AS_USUAL, ["x"])(None)["stdout"] == "again\n"


def test_given_standard_input_then_the_script_reads_it_and_of_its_output_so_much_is_kept() -> None:
    run = job_of(ScriptTask, "job.sh", "#!/bin/sh\ncat\n", b"0123456789", 4, 5.0)

    assert (run()["stdout"], run()["stdout_bytes"]) == ("0123", 10)


@pytest.mark.parametrize("program", ["/no/such/bash", "/etc/passwd", "/etc"])
def test_given_an_interpreter_that_is_not_there_then_the_set_up_says_so(program: str) -> None:
    task = ScriptTask("job.sh", f"#!{program} -e\ntrue\n")

    with pytest.raises(CommandNotFound) as caught:
        task.setup()
    assert str(caught.value) == f"job.sh cannot be started: its interpreter {program} is not on this node"


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"source": "#!bash\n"}, "^job.sh: its first line"),
        ({"source": "", "output_bytes_max": OUTPUT_BYTES_MAX + 1}, "^output_bytes_max is"),
        ({"source": "", "arguments": [1]}, "neither text nor a list of text"),
    ],
)
def test_given_impossible_properties_then_the_task_cannot_be_made(properties: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ScriptTask("job.sh", **properties)  # type: ignore[arg-type]
