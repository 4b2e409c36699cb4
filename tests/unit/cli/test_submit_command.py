"""``cyclone submit`` with a client of its own making: what is sent, what is printed, how it exits."""

import json
import re
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from cyclone.cli import arrays, common, parsing
from cyclone.cli.interrupts import Interrupted
from cyclone.cli.submit import submit
from cyclone.cli.submit_values import key_of
from cyclone.errors import NoSuchNamespace, NotAllowed, QuotaExceeded, Unreachable
from tests.support.fake_client import FakeClient, printed, result


def call(*words: str) -> int:
    return submit(parsing.parser(["submit"]).parse_args(["submit", *words]))


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["--", "true"], "job 7: 1 task\n"),
        (["--parsable", "--", "true"], "7\n"),
        (["--json", "--", "true"], '{"schema":"cyclone.submit/1","job":7,"tasks":1}\n'),
        (["--array", "0-1999", "--", "true"], "job 7: 2,000 tasks\n"),
    ],
)
def test_given_a_job_then_its_number_is_printed_as_asked_for(
    words: list[str], out: str, client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*words) == common.EXIT_OK
    assert capsys.readouterr() == (out, "")
    assert client.calls[-1] == ("close",)


@pytest.mark.parametrize("words", [["-n", "8"], ["-n", "8", "--array", "0-99999"]])
def test_given_a_namespace_that_is_not_there_then_who_meant_tasks_is_told_how(
    words: list[str], client: FakeClient
) -> None:
    client.failure = NoSuchNamespace("no_namespace", "there is no namespace '8'")
    with pytest.raises(NoSuchNamespace, match="no namespace '8': -n is the namespace, and --array makes several tasks"):
        call(*words, "--", "true")


def test_given_a_key_then_the_job_has_it(client: FakeClient) -> None:
    call("--key", "mine", "--", "true")
    call("--", "true")
    assert [made[3] for made in client.calls if made[0] == "submit"] == [key_of("mine"), None]


@pytest.mark.parametrize(
    ("words", "may_be_done", "note"),
    [
        ((), True, "perhaps there is a job all the same: .*; with --key the same command could be repeated\n"),
        (("--key", "k"), True, "perhaps there is a job all the same: .*; the same command again makes no second one\n"),
        ((), False, ""),
    ],
)
def test_given_an_answer_that_does_not_come_then_it_is_told_what_may_have_become_of_it(
    words: tuple[str, ...], may_be_done: bool, note: str, client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.failure = lost = Unreachable("no answer")
    lost.may_be_done = may_be_done
    with pytest.raises(Unreachable):
        call(*words, "--", "true")
    assert re.fullmatch(note, capsys.readouterr().err)


def test_given_more_tasks_than_a_block_then_the_rest_is_streamed_and_then_sealed(client: FakeClient) -> None:
    assert call("--array", "0-9999", "--", "true") == common.EXIT_OK
    assert [made[2:] for made in client.calls if made[0] == "submit"] == [(4096, None, False)]
    assert ("add", 7, 4096, True) in client.calls
    assert client.sent == [[number] for number in range(10_000)]


def test_given_entries_that_come_slowly_then_the_first_of_them_do_not_wait_for_a_whole_block(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "_blocks", lambda path: iter([arrays.Pause(), b"a\nb\n", arrays.Pause(), b"c\n"]))
    assert call("--each-line", "-", "--", "true") == common.EXIT_OK
    assert [made[2:] for made in client.calls if made[0] == "submit"] == [(2, None, False)]
    assert ("add", 7, 2, True) in client.calls
    assert client.sent == [["a", 0], ["b", 1], ["c", 2]]


def test_given_an_array_that_the_namespace_can_never_take_then_it_is_not_begun(
    client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.tasks_max = 9_999
    assert common.guarded("cyclone", lambda argv: call("--array", "0-9999", "--", "true")) == common.EXIT_CONFIG
    assert "10,000 tasks are too many for one job: namespace default may have 9,999" in capsys.readouterr().err
    assert not [made for made in client.calls if made[0] == "submit"]


def test_given_a_key_that_is_used_up_by_half_a_job_then_it_is_said(
    client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "entries").write_text("\n".join(["1"] * 5000 + ["wrong"]))
    common.guarded("cyclone", lambda argv: call("--key", "mine", "--from-json", "entries", "--", "true"))
    assert "its key stands for it, take another one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "failure", "said"),
    [
        (
            ["--key", "mine"],
            QuotaExceeded("quota", "full"),
            "the same command sends them, cyclone seal or cancel 7 ends it",
        ),
        (["--key", "mine"], KeyboardInterrupt(), "the same command sends them, cyclone seal or cancel 7 ends it"),
        ([], Unreachable("no answer"), "and waits for them: cyclone seal or cancel 7 ends it"),
        ([], QuotaExceeded("quota", "full"), "job 7 is cancelled: not all of its tasks could be sent"),
        ([], Interrupted(15), "job 7 is cancelled: not all of its tasks could be sent"),
    ],
)
def test_given_a_submission_that_breaks_off_then_the_job_is_cancelled_unless_the_rest_may_come(
    words: list[str],
    failure: BaseException,
    said: str,
    client: FakeClient,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def add(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(client, "add", add)
    assert common.guarded("cyclone", lambda argv: call(*words, "--array", "0-9999", "--", "true")) != common.EXIT_OK
    assert said in capsys.readouterr().err
    assert bool([made for made in client.calls if made[0] == "cancel"]) == ("cancelled" in said)


def test_given_a_job_that_is_ended_by_another_while_it_is_sent_then_that_is_an_error(client: FakeClient) -> None:
    client.is_over = True
    assert common.guarded("cyclone", lambda argv: call("--array", "0-9999", "--", "true")) == common.EXIT_FAILED
    assert not [made for made in client.calls if made[0] == "cancel"]


def test_given_large_tasks_then_no_more_than_a_message_of_them_is_held(client: FakeClient, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("\n".join("x" * 600_000 for _ in range(5)))
    assert call("--each-line", "lines", "--", "true") == common.EXIT_OK
    assert [made[2:] for made in client.calls if made[0] == "submit"] == [(2, None, False)]
    assert ("add", 7, 2, True) in client.calls
    assert len(client.sent) == 5


def test_given_a_wrong_entry_behind_the_first_block_then_the_job_is_cancelled(
    client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "entries").write_text("\n".join(["1"] * 5000 + ["wrong"]))
    code = common.guarded("cyclone", lambda argv: call("--from-json", "entries", "--", "true"))
    assert code == common.EXIT_CONFIG
    assert ("cancel", [(7, 7)], "its submission broke off") in client.calls
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(
        "job 7 is cancelled: not all of its tasks could be sent\ncyclone: entries: line 5001:"
    )


@pytest.mark.parametrize(
    ("ended", "code"), [({"completed": 2}, 0), ({"completed": 1, "failed": 1}, 1), ({"expired": 1}, 1)]
)
def test_given_wait_then_the_exit_code_says_whether_every_task_completed(
    ended: dict[str, int], code: int, client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.ended = ended
    assert call("--wait", "--", "true") == code
    out, err = capsys.readouterr()
    assert out == "job 7: 1 task\n"
    assert err.startswith("job 7 failed: " if code else "job 7 completed: ")


def test_given_wait_and_json_then_one_value_tells_how_it_ended(
    client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.ended = {"completed": 1, "failed": 2}
    assert call("--wait", "--json", "--", "true") == common.EXIT_FAILED
    assert json.loads(capsys.readouterr().out) == {
        "schema": "cyclone.submit/1",
        "job": 7,
        "tasks": 1,
        "state": "failed",
        "ended": {"completed": 1, "failed": 2},
    }


def test_given_follow_then_what_tasks_print_is_passed_on_and_nothing_else(
    client: FakeClient, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    client.told = [
        result(1, printed("caf\udce9\n", "warning\n")),
        result(0, {"bytes": 3}),
        result(3, None),
        result(
            2, state="timed_out", error=SimpleNamespace(type="cyclone.TaskTimedOut", message="took longer than 1 s")
        ),
    ]
    client.ended = {"completed": 3, "timed_out": 1}
    assert call("--follow", "--", "true") == common.EXIT_FAILED
    captured = capfdbinary.readouterr()
    assert captured.out == b'caf\xe9\n{"bytes":3}\n'
    assert captured.err == (
        b"job 7: 1 task\nwarning\ncyclone: task 7.2 timed_out: TaskTimedOut: took longer than 1 s\n"
        b"job 7 failed: 3 completed, 1 timed_out; cyclone show 7 says why\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_given_a_signal_while_waiting_then_it_is_said_that_the_job_goes_on(
    number: signal.Signals, client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.told = [number]
    code = common.guarded("cyclone", lambda argv: call("--follow", "--", "true"))
    assert code == 128 + number
    assert capsys.readouterr().err.endswith("job 7 goes on: cyclone wait 7, or cyclone cancel 7\n")


def test_given_a_master_that_is_gone_while_waiting_then_it_is_said_that_the_job_goes_on(
    client: FakeClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object) -> None:
        raise Unreachable("no answer")

    monkeypatch.setattr(client, "wait", unreachable)
    code = common.guarded("cyclone", lambda argv: call("--wait", "--", "true"))
    assert code == common.EXIT_UNAVAILABLE
    assert "job 7 goes on as soon as its master does: cyclone wait 7\n" in capsys.readouterr().err


def test_given_dry_run_then_nothing_is_sent_and_all_is_told(
    client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        call("--dry-run", "--array", "0-99%5", "-t", "10m", "--begin", "2026-11-22T18:30:00Z", "--", "echo", "{}") == 0
    )
    assert client.calls == []
    out = capsys.readouterr().out
    for line in ("tasks", "command", "time_limit_s", "not_before"):
        assert line in out
    assert "task 2: entry = 2\nand 97 more\n" in out
    assert '["echo","{}"]' in out
    assert "2026-11-22T18:30:00Z" in out


def test_given_dry_run_and_json_then_it_is_one_value(
    client: FakeClient, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    call("--dry-run", "--json", "-c", "2", "--", "echo", ":::", "a", "b", "c", "d")
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "cyclone.submit-dry-run/1"
    assert (found["tasks"], found["first"]) == (
        4,
        [{"entry": entry, "index": index} for index, entry in enumerate("abc")],
    )
    assert found["shared"]["command"] == ["echo", "{}"]
    assert found["options"] == {
        "task_class": "tasks.job_command:JobCommand",
        "name": "echo",
        "cpus": 2,
        "directory": str(tmp_path),
    }


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Unreachable("no answer"), common.EXIT_UNAVAILABLE),
        (QuotaExceeded("quota", "too many jobs"), common.EXIT_TEMPORARY),
        (NotAllowed("a monitor only looks"), common.EXIT_NOT_ALLOWED),
    ],
)
def test_given_a_refusal_then_the_exit_code_says_of_which_kind(
    failure: Exception, code: int, client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.failure = failure
    assert common.guarded("cyclone", lambda argv: call("--", "true")) == code
    assert capsys.readouterr() == ("", f"cyclone: {failure}\n")


@pytest.mark.parametrize("other", ["--json", "--parsable", "--progress"])
def test_given_follow_with_another_output_then_it_is_refused(other: str, client: FakeClient) -> None:
    code = common.guarded("cyclone", lambda argv: call("--follow", other, "--", "true"))
    assert (code, client.calls) == (common.EXIT_USAGE, [])
