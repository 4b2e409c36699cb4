"""``cyclone run -- cmd`` with a client of its own making: what is printed, and how it exits."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cyclone.cli import common, interrupts, parsing, run_command, run_options
from cyclone.errors import UsageError
from cyclone.protocol.messages import OUTPUT_RECORD
from tests.support.fake_client import JOB, FakeClient, printed, result


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeClient:
    fake = FakeClient()

    @contextlib.contextmanager
    def opened(args: object, spec: object) -> Iterator[FakeClient]:
        yield fake

    monkeypatch.setattr(run_command, "_client", opened)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CYCLONE_NAMESPACE", raising=False)
    return fake


def call(*words: str) -> int:
    return run_options.run(parsing.parser(["run"]).parse_args(["run", *words]))


def failed(index: int, kind: str, message: str, state: str = "failed") -> SimpleNamespace:
    return result(index, state=state, error=SimpleNamespace(type=kind, message=message))


def ended_with(index: int, code: int) -> SimpleNamespace:
    return failed(index, "cyclone.programs.command.CommandFailed", f"false ended with exit code {code}")


def test_given_a_command_then_its_outputs_are_ours_and_nothing_else_is_printed(
    client: FakeClient, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    client.told = [result(0, printed("out\udcff", "err"))]
    assert call("--", "true") == 0
    assert capfdbinary.readouterr() == (b"out\xff", b"err")


def test_given_a_command_that_fails_then_its_outputs_are_ours_too(
    client: FakeClient, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    end = ended_with(0, 3)
    end.records = [("other", {}), (OUTPUT_RECORD, {"stdout": b"out\xff", "stderr": b"err"})]
    client.told = [end]
    assert call("--", "false") == 3
    assert capfdbinary.readouterr() == (b"out\xff", b"err")


def test_given_more_output_than_is_kept_then_it_is_said(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    client.told = [result(0, printed("beginning") | {"stdout_truncated": True, "stdout_bytes": 99})]
    call("--", "yes")
    assert capsys.readouterr() == ("beginning", "cyclone: task 7.0: its stdout is cut: 9 of 99 bytes are here\n")


@pytest.mark.parametrize(
    ("live", "value", "expected"),
    [
        pytest.param([], {}, (b"out\xff", b"err"), id="nothing"),
        pytest.param([("stdout", b"o"), ("stderr", b"er")], {}, (b"out\xff", b"err"), id="the beginning"),
        pytest.param([("stdout", b"ou"), ("stderr", b"err"), ("stdout", b"t\xff")], {}, (b"out\xff", b"err"), id="all"),
        pytest.param(
            [("stdout", b"out\xff and more"), ("stderr", b"err")],
            {"stdout_truncated": True, "stdout_bytes": 13},
            (b"out\xff and more", b"err"),
            id="more than the result has",
        ),
    ],
)
def test_given_what_was_shown_live_then_the_end_adds_only_the_rest(
    client: FakeClient,
    capfdbinary: pytest.CaptureFixture[bytes],
    live: list[tuple[str, bytes]],
    value: dict[str, object],
    expected: tuple[bytes, bytes],
) -> None:
    client.live = {1: live}
    client.told = [result(0, printed("out\udcff", "err") | value)]
    assert call("--", "true") == 0
    assert capfdbinary.readouterr() == expected


def test_given_attempts_then_all_are_shown_live_and_only_the_last_ones_end_is_added(
    client: FakeClient, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    client.live = {1: [("stdout", b"first\n")], 2: [("stdout", b"sec")]}
    end = result(0, printed("second\n"))
    end.attempt = 2
    client.told = [end]
    assert call("--", "true") == 0
    assert capfdbinary.readouterr() == (
        b"first\nsecond\n",
        b"cyclone: attempt 1 has ended; this is attempt 2\n",
    )


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ([result(0, printed(""))], 0),
        ([ended_with(0, 3)], 3),
        ([failed(0, "cyclone.programs.command.CommandFailed", "x was killed by SIGSEGV")], 139),
        ([failed(0, "cyclone.programs.command.CommandNotFound", "no such command")], 127),
        ([failed(0, "cyclone.programs.command.CommandNotExecutable", "no program")], 126),
        ([failed(0, "cyclone.TaskTimedOut", "took longer than 1 s", "timed_out")], 124),
        ([failed(0, "ValueError", "no")], 1),
        ([failed(0, "FileNotFoundError", "no folder", "setup_failed")], 1),
        ([result(0, state="cancelled")], 1),
        ([ended_with(0, 3), ended_with(1, 7), result(2, printed(""))], 7),
        ([], 0),
    ],
)
def test_given_ends_of_tasks_then_the_exit_code_is_the_largest(
    ends: list[SimpleNamespace], code: int, client: FakeClient
) -> None:
    client.told = ends
    assert call("--array", f"1-{max(1, len(ends))}", "--", "x") == code


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (ended_with(0, 3), ""),
        (failed(0, "ValueError", "no"), "cyclone: task 7.0 failed: ValueError: no"),
        (
            failed(0, "a.TaskTimedOut", "took longer than 1 s", "timed_out"),
            "cyclone: task 7.0 timed_out: TaskTimedOut: took longer",
        ),
        (
            failed(0, "a.CommandNotFound", "x cannot be started"),
            "cyclone: task 7.0 failed: CommandNotFound: x cannot be started",
        ),
    ],
)
def test_given_one_task_then_only_what_it_cannot_say_itself_is_said(
    end: SimpleNamespace, said: str, client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.told = [end]
    call("--", "x")
    out, err = capsys.readouterr()
    assert (out, bool(err)) == ("", bool(said))
    assert err.startswith(said)


def test_given_an_array_then_it_is_said_which_failed(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    client.told = [ended_with(1, 3), result(0, printed("a\n"))]
    assert call("-q", "--array", "0-1", "--", "x") == 3
    assert capsys.readouterr() == ("a\n", "cyclone: task 7.1 failed: CommandFailed: false ended with exit code 3\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_given_a_signal_then_the_job_is_cancelled_and_what_has_ended_prints_once(
    number: signal.Signals, client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.told = [result(0, printed("a\n")), number, result(2, printed("b\n")), result(1, state="cancelled")]
    before = signal.getsignal(number)
    assert call("-q", "--array", "0-2", "--", "x") == 128 + number
    assert ("cancel", [(JOB, JOB)], "interrupted by its user") in client.calls
    out, err = capsys.readouterr()
    assert out == "a\nb\n"
    assert err.startswith("cancelling job 7; once more leaves it to itself\n")
    assert signal.getsignal(number) is before


def test_given_a_second_signal_then_the_job_is_left_to_itself(client: FakeClient) -> None:
    client.told = [signal.SIGINT, signal.SIGTERM, result(0, printed(""))]
    with pytest.raises(interrupts.Interrupted) as told:
        call("--", "x")
    assert told.value.exit_code == 128 + signal.SIGTERM
    assert [made[0] for made in client.calls].count("cancel") == 1


def test_given_nobody_who_reads_what_is_printed_then_the_rest_of_the_job_is_cancelled(
    client: FakeClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(run_command, "pass_on", refuse)
    client.told = [result(0, printed("a\n")), result(1, printed("b\n"))]
    with pytest.raises(BrokenPipeError):
        call("-q", "--array", "0-1", "--", "x")
    assert ("cancel", [(JOB, JOB)], "what it prints cannot be written") in client.calls
    client.calls.clear()
    client.told = [result(0, printed("a\n"))]
    with pytest.raises(BrokenPipeError):
        call("--", "x")
    assert "cancel" not in [made[0] for made in client.calls]


def test_given_the_output_of_a_bundle_then_it_follows_what_its_program_has_printed(
    client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.told = [result(0, printed("said\n") | {"output": "left\n", "log": "", "error": ""})]
    assert call("--", "x") == 0
    assert capsys.readouterr().out == "said\nleft\n"


def test_given_an_ignored_signal_then_it_stays_ignored(client: FakeClient) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        client.told = [signal.SIGHUP, result(0, printed(""))]
        assert call("--", "x") == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_given_more_output_wanted_than_of_a_job_then_a_run_asks_for_all_that_there_may_be(client: FakeClient) -> None:
    from cyclone.cli.submit_plan import OUTPUT_BYTES
    from cyclone.values import decode

    call("--", "x")
    (spec,) = [made[1] for made in client.calls if made[0] == "submit"]
    assert decode(spec.shared)[2] > OUTPUT_BYTES


@pytest.mark.parametrize(
    "words",
    [
        ["-f", "x.conf", "--", "x"],
        ["-f", "x.conf", "--cpus", "2"],
        ["--resume", "folder", "--", "x"],
        ["--results", "a.jsonl", "--", "x"],
        ["--set", "a.b=c", "--", "x"],
        ["-D", "--", "x"],
        [],
    ],
)
def test_given_a_command_and_what_is_for_a_generator_then_it_is_refused(words: list[str], client: FakeClient) -> None:
    with pytest.raises(UsageError):
        call(*words)
    assert client.calls == []


def test_given_a_dry_run_then_nothing_is_submitted(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--dry-run", "--", "x") == common.EXIT_OK
    assert client.calls == []
    assert '["x"]' in capsys.readouterr().out
