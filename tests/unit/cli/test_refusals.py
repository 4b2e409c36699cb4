"""What a master does not grant is an error, whatever was asked for: on standard error, with an exit code."""

import json
from typing import Any

import pytest

from cyclone.cli import main
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import NOT_ALLOWED
from tests.support.client_double import GRANTED, ClientDouble, client, job, task

__all__ = ["client"]
Printed = pytest.CaptureFixture[str]
ANNS = Answer(1, False, 0, "it is ann's", [], NOT_ALLOWED)
UNKNOWN = Answer(1, False, 0, "no controller is called that; known:", ["node1", "node2"])


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The program, as a shell starts it."""
    monkeypatch.setattr("sys.argv", ["cyclone", *words])
    monkeypatch.setattr(main, "_open_streams", lambda: None)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    "words",
    [
        ["hold", "5"],
        ["release", "5"],
        ["seal", "5"],
        ["cancel", "5"],
        ["cancel", "--all"],
        ["requeue", "5"],
        ["drain", "node1"],
        ["resume", "--nodes", "node1"],
        ["pause", "default"],
        ["resume", "default"],
        ["namespaces", "set", "default", "--weight", "2"],
        ["namespaces", "purge", "default"],
        ["namespaces", "delete", "default"],
    ],
    ids=" ".join,
)
def test_given_no_right_to_it_then_any_verb_says_so_as_an_error(
    words: list[str], client: ClientDouble, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.answer = lambda *_, **__: ANNS
    client.summaries = [job(5, "running")]
    assert run(monkeypatch, *words) == 77
    assert capsys.readouterr() == ("", "cyclone: it is ann's\n")
    assert run(monkeypatch, *words, "--json") == 77
    printed = capsys.readouterr()
    assert printed.out == ""
    assert json.loads(printed.err) == {"error": {"exit_code": 77, "type": "NotAllowed", "message": "it is ann's"}}


def test_given_another_refusal_then_it_is_one_with_the_code_for_that(
    client: ClientDouble, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.answer = lambda *_, **__: UNKNOWN
    assert run(monkeypatch, "drain", "x") == 1
    assert capsys.readouterr() == ("", "cyclone: no controller is called that; known: node[1-2]\n")
    assert run(monkeypatch, "drain", "x", "--json") == 1
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["type"], error["exit_code"]) == ("NotGranted", 1)


@pytest.mark.parametrize(("refusals", "code"), [([ANNS, ANNS], 77), ([ANNS, UNKNOWN], 1)])
def test_given_several_answers_then_what_was_granted_is_told_and_each_refusal_is_an_error(
    refusals: list[Answer], code: int, client: ClientDouble, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: dict[str, Any] = {"b1": refusals[0], "b2": refusals[1]}
    client.answer = lambda name, **_: answers.get(name, Answer(1, True, 1, f"{name} gets no new tasks"))
    assert run(monkeypatch, "drain", "a[1-2],b[1-2]") == code
    printed = capsys.readouterr()
    assert printed.out == "2: a[1-2]: gets no new tasks\n"
    assert all(line.startswith("cyclone: ") for line in printed.err.splitlines())
    assert run(monkeypatch, "drain", "a[1-2],b[1-2]", "--json") == code
    printed = capsys.readouterr()
    assert [(one["about"], one["granted"]) for one in json.loads(printed.out)["answers"]] == [
        ("a1", True),
        ("a2", True),
    ]
    errors = [json.loads(line)["error"] for line in printed.err.splitlines()]
    assert [one["message"].partition(":")[0] for one in errors] == ["b1", "b2"]


def test_given_no_right_to_process_then_results_end_with_that(
    client: ClientDouble, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.answer = lambda *_, **__: ANNS
    client.rows[5] = [task(0)]
    assert run(monkeypatch, "results", "5", "--process", "-o", "{index}") == 77
    says = "cyclone: nothing of job 5 is printed: results do not count as processed: it is ann's\n"
    assert capsys.readouterr() == ("", says)
    client.answer = lambda _, ranges: ANNS if ranges else GRANTED
    assert run(monkeypatch, "results", "5", "--process", "-o", "{index}") == 77
    says = "cyclone: what was printed last does not count as processed: it is ann's\n"
    assert capsys.readouterr() == ("0\n", says)
