"""How the end of a command reads, and what a shell would have made of it. Running one: test_command_task.py."""

import signal

import pytest

from cyclone import BaseTask, values
from cyclone.failure import error_record
from cyclone.programs.command import (
    Command,
    CommandFailed,
    CommandNotExecutable,
    CommandNotFound,
    CommandTimedOut,
    exit_code_of,
    how_it_ended,
)
from cyclone.protocol.messages import OUTPUT_RECORD

PATH = {"PATH": "/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("command", "limit_s", "kind", "exit_code"),
    [
        ("exit 3", None, CommandFailed, 3),
        ("echo 'x ended with exit code 4' >&2; exit 5", None, CommandFailed, 5),
        ("kill -TERM $$", None, CommandFailed, 128 + signal.SIGTERM),
        ("kill -40 $$", None, CommandFailed, 168),
        ("sleep 100", 0.05, CommandTimedOut, 124),
        ("no-such-command", None, CommandNotFound, 127),
        (["no-such-command"], None, CommandNotFound, 127),
        (["/etc/passwd/x"], None, CommandNotFound, 127),
        ("/etc/passwd", None, CommandNotExecutable, 126),
        (["/etc/passwd"], None, CommandNotExecutable, 126),
        (["/"], None, CommandNotExecutable, 126),
        (["true", "a\0b"], None, CommandFailed, None),
    ],
)
def test_given_a_command_that_fails_then_its_record_tells_a_shells_exit_code(
    command: str | list[str], limit_s: float | None, kind: type[CommandFailed], exit_code: int | None
) -> None:
    with pytest.raises(CommandFailed) as caught:
        Command(command, PATH, time_limit_s=limit_s).run().check()

    record = error_record(caught.value)
    assert type(caught.value) is kind
    assert exit_code_of(record.type, record.message) == exit_code
    assert record.traceback == ""


@pytest.mark.parametrize(
    ("error_type", "message"),
    [
        ("ValueError", "sh -c x ended with exit code 3"),
        ("cyclone.programs.command.CommandFailed", "no word of an end"),
        ("", ""),
    ],
)
def test_given_another_failure_then_there_is_no_exit_code(error_type: str, message: str) -> None:
    assert exit_code_of(error_type, message) is None


def test_given_nothing_on_standard_error_then_the_failure_ends_with_standard_output() -> None:
    with pytest.raises(CommandFailed, match="exit code 1; standard output ends with:\nthe reason$"):
        Command("echo the reason; exit 1", PATH).run().check()


def test_given_a_command_that_fails_then_what_was_kept_of_its_outputs_is_a_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records: list[tuple[str, bytes]] = []
    monkeypatch.setattr(BaseTask.current, "records", records)

    Command("echo out", PATH).run().check()
    assert records == []
    with pytest.raises(CommandFailed):
        Command("printf 'out\\377'; echo err >&2; exit 1", PATH, output_bytes_max=4).run().check()

    [(name, kept)] = records
    assert (name, values.decode(kept)) == (OUTPUT_RECORD, {"stdout": b"out\xff", "stderr": b"err\n"})

    records.clear()
    with pytest.raises(CommandFailed):
        Command("echo longer; exit 1", PATH, output_bytes_max=4).run().check()
    [(_, kept)] = records
    assert values.decode(kept) == {"stdout": b"long", "stderr": b"", "stdout_bytes": 7, "stdout_truncated": True}


@pytest.mark.parametrize(
    ("code", "text"),
    [(3, "ended with exit code 3"), (-9, "was killed by SIGKILL"), (-40, "was killed by signal 40")],
)
def test_given_an_exit_code_then_it_has_words(code: int, text: str) -> None:
    assert how_it_ended(code) == text
