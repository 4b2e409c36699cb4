"""``cyclone submit --key`` with a client of its own making: a job that is there already, and what is told of it."""

import re
from pathlib import Path
from typing import Any

import pytest

from cyclone.cli import common, parsing
from cyclone.cli.submit import submit
from cyclone.errors import NoSuchJob, SubmitRefused
from tests.support.fake_client import JOB, FakeClient


def call(*words: str) -> int:
    return submit(parsing.parser(["submit"]).parse_args(["submit", *words]))


def test_given_the_key_of_a_job_that_has_ended_then_it_is_that_one(
    client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.is_over, client.ended = True, {"completed": 9000, "failed": 1000}
    assert call("--key", "mine", "--array", "0-9999", "--", "true") == common.EXIT_OK
    assert capsys.readouterr() == ("job 7: 10,000 tasks\n", "")
    assert common.guarded("cyclone", lambda argv: call("--key", "mine", "--array", "0-10000", "--", "true"))
    said = "job 7 takes no more tasks: it has ended with 10000 of them: another --key makes another job"
    err = capsys.readouterr().err
    assert said in err
    assert "waits for them" not in err


def test_given_a_key_whose_job_takes_no_more_then_another_key_is_proposed(
    client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.failure = SubmitRefused("sealed", "job 7 takes no more tasks")
    assert common.guarded("cyclone", lambda argv: call("--key", "mine", "--array", "0-5", "--", "true"))
    assert "job 7 takes no more tasks: another --key makes another job of these tasks" in capsys.readouterr().err


def made_before(client: FakeClient, count: int = 1) -> None:
    """Job 7 is there already, of `echo one` for 0, 1, 2 and so on where it has several tasks."""
    call("--key", "mine", *(["--array", f"0-{count - 1}"] if count > 1 else []), "--", "echo", "one")
    client.spec, client.newest = client.calls[0][1], JOB
    client.ended, client.entries, client.sent = {"completed": count}, client.sent, []


def test_given_a_key_whose_job_takes_no_more_behind_the_first_block_then_nothing_waits_for_the_rest(
    client: FakeClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(*_: object, **__: object) -> None:
        raise SubmitRefused("sealed", "job 7 takes no more tasks")

    monkeypatch.setattr(client, "add", add)
    assert common.guarded("cyclone", lambda argv: call("--key", "mine", "--array", "0-9999", "--", "true"))
    told = "cyclone: job 7 takes no more tasks: another --key makes another job of these tasks\n"
    assert capsys.readouterr().err == told
    assert not [made for made in client.calls if made[0] == "cancel"]


@pytest.mark.parametrize(
    ("words", "differs"),
    [
        (["--", "echo", "one"], ""),
        (["--name", "echo", "--", "echo", "two"], "; different from now: what it runs"),
        (["--name", "other", "--hold", "--", "echo", "one"], "; different from now: name, held at submit"),
        (["--array", "0", "--", "echo", "one"], "; different from now: the entries"),
    ],
)
def test_given_a_key_that_has_made_a_job_before_then_it_is_said_with_what_would_be_different(
    words: list[str], differs: str, client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    made_before(client)
    capsys.readouterr()
    assert call("--key", "mine", *words) == common.EXIT_OK
    made = "job 7 was made with this key before, and is not submitted again: it is of "
    out, err = capsys.readouterr()
    assert out == "job 7: 1 task\n"
    assert err.removesuffix("\n").endswith(made + differs), err


@pytest.mark.parametrize(
    ("array", "differs"),
    [
        pytest.param("0-9", "", id="the same"),
        pytest.param("0-4", "; it has 10 tasks, this command line gives 5", id="fewer"),
        pytest.param("0-11", "; it has 10 tasks, this command line gives 12", id="more"),
        pytest.param("5-14", "; different from now: the entries", id="others"),
        pytest.param("0-8,99", "; different from now: the entries", id="the last one is another"),
    ],
)
@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--parsable"], "7\n"),
        ([], "job 7: 10 tasks\n"),
        (["--json"], '{"schema":"cyclone.submit/1","job":7,"tasks":10}\n'),
        (
            ["--json", "--wait"],
            '{"schema":"cyclone.submit/1","job":7,"tasks":10,"state":"completed","ended":{"completed":10}}\n',
        ),
    ],
)
def test_given_a_key_of_other_tasks_then_the_number_is_that_of_the_job_and_what_differs_is_said(
    more: list[str],
    told: str,
    array: str,
    differs: str,
    client: FakeClient,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made_before(client, 10)
    capsys.readouterr()
    assert call("--key", "mine", *more, "--array", array, "--", "echo", "one") == common.EXIT_OK
    out, err = capsys.readouterr()
    assert out == told
    # For programs the note stands in an object.
    assert re.split(r'"?}?\n', err.partition(" it is of ")[2])[0] == differs


@pytest.mark.parametrize(
    ("kept", "differs"),
    [
        pytest.param([], False, id="no task"),
        pytest.param([None, None, None], False, id="no arguments"),
        pytest.param([None, [1], None], False, id="those of one, which are the same"),
        pytest.param([None, [99], None], True, id="those of one"),
        pytest.param([[0], [99]], True, id="those of the first tasks"),
        pytest.param([[0], [1]], False, id="those of the first tasks, which are the same"),
    ],
)
def test_given_a_job_whose_arguments_are_not_all_kept_then_others_are_told_only_where_they_are_known(
    kept: list[Any], differs: bool, client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    made_before(client, 3)
    client.entries = kept
    call("--key", "mine", "--array", "0-2", "--", "echo", "one")
    assert ("different from now: the entries" in capsys.readouterr().err) == differs


@pytest.mark.parametrize(
    ("array", "told", "number"),
    [
        pytest.param("0-9999", "", "10,000", id="the rest"),
        pytest.param("1-10000", "; different from now: the entries", "10,000", id="another rest"),
        pytest.param("0-4999", "; it has 6,000 tasks, this command line gives 5,000", "6,000", id="less than it has"),
    ],
)
def test_given_a_job_that_waits_for_the_rest_then_that_is_no_other_number(
    array: str, told: str, number: str, client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    made_before(client, 6000)
    client.is_sealed = False
    capsys.readouterr()
    assert call("--key", "mine", "--array", array, "--", "echo", "one") == common.EXIT_OK
    out, err = capsys.readouterr()
    assert out == f"job 7: {number} tasks\n"
    assert err.partition(" it is of ")[2].strip() == told


def test_given_fewer_lines_than_tasks_where_only_reading_tells_then_it_is_said_at_the_end(
    client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lines").write_text("x\n" * 5000)
    call("--key", "mine", "--each-line", "lines", "--", "echo", "one")
    client.spec, client.newest, client.ended = client.calls[0][1], JOB, {"completed": 6000}
    capsys.readouterr()
    assert call("--key", "mine", "--each-line", "lines", "--", "echo", "one") == common.EXIT_OK
    out, err = capsys.readouterr()
    assert out == "job 7: 6,000 tasks\n"
    assert err.endswith("\njob 7: it has 6,000 tasks, this command line gives 5,000\n")


def test_given_the_key_of_a_job_that_is_not_kept_any_more_then_another_key_is_proposed(
    client: FakeClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def detail(*_: object, **__: object) -> None:
        raise NoSuchJob("no_job", "there is no job 7")

    client.newest = JOB
    monkeypatch.setattr(client, "detail", detail)
    assert call("--key", "mine", "--", "true") == common.EXIT_OK
    said = "not submitted again, though nothing of it is kept any more: another --key makes another job of these tasks"
    assert said in capsys.readouterr().err
