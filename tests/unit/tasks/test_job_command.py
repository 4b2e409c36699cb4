"""JobCommand: a job's command with each entry. What it shares with CommandTask is tested there."""

from pathlib import Path
from typing import Any

import pytest

from cyclone import BaseTask
from cyclone.programs.command import (
    OUTPUT_BYTES_MAX,
    CommandFailed,
    CommandNotExecutable,
    CommandNotFound,
    Output,
)
from tasks.job_command import JobCommand
from tests.support.drive import rebuilt
from tests.support.job_of import job_of


def test_given_a_job_then_each_task_runs_its_command_with_the_own_entry() -> None:
    run = job_of(JobCommand, ["printf", "%s|", "{}", "x{}"], None, 64, 5.0)

    assert [run(entry)["stdout"] for entry in ("a b", 7, {"k": 1}, "")] == [
        "a b|xa b|",
        "7|x7|",
        '{"k":1}|x{"k":1}|',
        "|x|",
    ]


def test_given_a_script_for_the_shell_then_an_entry_is_a_word_in_it() -> None:
    run = job_of(JobCommand, 'set -- {}; echo $# "$1"', None, 64, 5.0)

    assert run("a  b; $(x)")["stdout"] == "1 a  b; $(x)\n"


def test_given_the_environment_of_a_task_then_it_says_which_one_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaseTask.current, "job_id", 12)
    run = job_of(JobCommand, "env | grep ^CYCLONE_ | sort", None, 4096, 5.0)

    lines = run(3)["stdout"].splitlines()

    assert {"CYCLONE_ENTRY=3", "CYCLONE_ARRAY_INDEX=3", "CYCLONE_JOB_ID=12", "CYCLONE_ATTEMPT=1"} <= set(lines)
    assert f"CYCLONE_TASK_DIR={BaseTask.current.scratch_dir()}" in lines


@pytest.mark.parametrize("stdin", ["ä", b"\0\xff"])
def test_given_standard_input_then_each_task_gets_all_of_it(stdin: str | bytes) -> None:
    run = job_of(JobCommand, ["cat"], stdin, 64, 5.0)
    expected = stdin.encode() if isinstance(stdin, str) else stdin

    assert [run(n)["stdout"].encode("utf-8", "surrogateescape") for n in (1, 2)] == [expected, expected]


def test_given_a_task_by_itself_then_it_needs_no_more_than_a_command() -> None:
    value = rebuilt(JobCommand(["echo", "{}"])).execute()

    assert (value["exit_code"], value["stdout"]) == (0, "{}\n")


@pytest.mark.parametrize(
    ("command", "kind", "message"),
    [
        ("exit {}", CommandFailed, "ended with exit code 3$"),
        ("kill -SEGV $$", CommandFailed, "was killed by SIGSEGV$"),
        (["no-such-command"], CommandNotFound, "^no-such-command cannot be started: no-such-command: No such file"),
        (["/etc/passwd"], CommandNotExecutable, "Permission denied$"),
        (["echo", "{}" * 100_000], CommandFailed, "Argument list too long$"),
    ],
)
def test_given_a_failure_then_it_says_what_happened(command: Any, kind: type[CommandFailed], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        job_of(JobCommand, command, None, 64, 5.0)("333"[:1] if command == "exit {}" else "333")
    assert type(caught.value) is kind


def test_given_much_output_then_its_beginning_is_kept() -> None:
    value = job_of(JobCommand, "seq {} 200000", None, 10, 5.0)(1)

    assert (value["stdout"], value["stdout_bytes"], value["stdout_truncated"]) == ("1\n2\n3\n4\n5\n", 1_288_895, True)


@pytest.mark.parametrize(
    ("command", "output_bytes_max", "message"),
    [
        ("", 0, "^the command is empty$"),
        ([], 0, "^the command is empty$"),
        (["sleep", 1], 0, r"^the command \['sleep', 1\] is neither text nor a list of text$"),
        ("true", -1, "^output_bytes_max is -1: expected 0 to"),
        ("true", OUTPUT_BYTES_MAX + 1, "^output_bytes_max is"),
    ],
)
def test_given_impossible_properties_then_the_task_cannot_be_made(
    command: Any, output_bytes_max: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        JobCommand(command, output_bytes_max=output_bytes_max)


def test_given_the_end_of_the_task_then_the_command_has_its_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(BaseException):
        pass

    read = Output.read

    def end_at_first(output: Output) -> bool:
        """As a signal that arrives while the command runs."""
        monkeypatch.setattr(Output, "read", read)
        raise Ended

    monkeypatch.setattr(Output, "read", end_at_first)
    script = f"trap 'echo ending > {tmp_path / 'file'}; exit' TERM; echo ready; while :; do sleep 0.01; done"

    with pytest.raises(Ended):
        job_of(JobCommand, script, None, 64, 20.0)(1)

    assert (tmp_path / "file").read_text() == "ending\n"
