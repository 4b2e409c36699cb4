"""``cyclone namespaces``, ``pause`` and ``resume``: what they ask for, and what is said."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from cyclone.cli.main import _run
from cyclone.errors import ConfigError, NoSuchNamespace, NotGranted, UsageError
from cyclone.protocol.job_messages import NamespaceSummary
from cyclone.protocol.job_spec import Namespace
from tests.support.client_double import ClientDouble, client

__all__ = ["client"]
Printed = pytest.CaptureFixture[str]


@pytest.fixture
def spaces(client: ClientDouble) -> ClientDouble:
    client.spaces = [
        NamespaceSummary(
            Namespace(name="night", weight=2.0, paused=True, jobs_max=5), 3, {"queued": 4, "running": 2}, 0.25
        ),
        NamespaceSummary(Namespace(name="default"), 0, {}),
    ]
    return client


def test_given_namespaces_then_they_are_listed(spaces: ClientDouble, capsys: Printed) -> None:
    assert _run(["namespaces"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["default", "on", "1.0", "0.0", "0", "0"],
        ["night", "paused", "2.0", "0.25", "3", "6", "5"],
    ]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["create", "new"], Namespace(name="new")),
        (["create", "new", "--exist-ok"], Namespace(name="new")),
        (
            ["create", "night", "--exist-ok", "--weight", "3"],
            Namespace(name="night", weight=3.0, paused=True, jobs_max=5),
        ),
        (
            ["create", "new", "--weight", "2.5", "--tasks-max", "1_000"],
            Namespace(name="new", weight=2.5, tasks_max=1000),
        ),
        (["set", "night", "--weight", "3"], Namespace(name="night", weight=3.0, paused=True, jobs_max=5)),
        (["set", "night", "--jobs-max", "none"], Namespace(name="night", weight=2.0, paused=True)),
    ],
)
def test_given_a_change_then_what_is_not_named_stays(words: list[str], asked: Namespace, spaces: ClientDouble) -> None:
    assert _run(["namespaces", *words]) == 0
    assert spaces.asked == [("set_namespace", asked)]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["night"], ["night"]),
        (["night", "default", "night"], ["default", "night"]),
        (["list", "night"], ["night"]),
        (["list"], ["default", "night"]),
        (["--parsable", "night"], ["name", "night"]),
        (["night", "--parsable"], ["name", "night"]),
    ],
)
def test_given_names_then_only_these_are_listed(
    words: list[str], names: list[str], spaces: ClientDouble, capsys: Printed
) -> None:
    assert _run(["namespaces", *words, "-o", "name"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line != "NAME"] == names


def test_given_a_limit_then_it_is_said_that_there_are_more(spaces: ClientDouble, capsys: Printed) -> None:
    for words in (["namespaces", "--limit", "1"], ["namespaces", "list", "--limit", "1"]):
        assert _run([*words, "-o", "{name}"]) == 0
        assert capsys.readouterr() == ("default\n", "there are more: --limit 0 lists all\n")


def test_given_pause_and_resume_then_nothing_else_changes(spaces: ClientDouble) -> None:
    assert _run(["pause", "default"]) == 0
    assert _run(["resume", "night"]) == 0
    assert spaces.asked == [
        ("set_namespace", Namespace(name="default", paused=True)),
        ("set_namespace", Namespace(name="night", weight=2.0, jobs_max=5)),
    ]


@pytest.mark.parametrize(
    ("words", "asked", "says"),
    [
        (["purge", "night", "--dry-run"], [], "night has 3 open jobs with 6 open tasks\n"),
        (["delete", "night", "--dry-run"], [], "night has 3 open jobs with 6 open tasks\n"),
        (["purge", "night", "-y"], [("purge", "night")], "done as wished\n"),
        (["delete", "default"], [("delete_namespace", "default")], "done as wished\n"),
    ],
)
def test_given_delete_and_purge_then_they_can_be_tried_out(
    words: list[str], asked: Sequence[Any], says: str, spaces: ClientDouble, capsys: Printed
) -> None:
    assert _run(["namespaces", *words]) == 0
    assert (spaces.asked, capsys.readouterr().out) == (asked, says)


@pytest.mark.parametrize(("name", "questions"), [("night", 1), ("default", 0)])
def test_given_a_person_who_purges_then_he_is_asked_where_something_is_cancelled(
    name: str, questions: int, spaces: ClientDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("cyclone.cli.output.confirm", lambda question, _: asked.append(question()))
    assert _run(["namespaces", "purge", name]) == 0
    assert len(asked) == questions
    assert spaces.asked == [("purge", name)]


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (["pause"], UsageError, "pause which namespace"),
        (["resume"], UsageError, "resume what"),
        (["resume", "night", "--nodes", "n1"], UsageError, "resume what"),
        (["pause", "nigth"], NoSuchNamespace, "no namespace 'nigth'; there are default, night"),
        (["pause", "2"], NoSuchNamespace, "jobs are held by `cyclone hold`, controllers by `cyclone drain`$"),
        (["resume", "2"], NoSuchNamespace, "for jobs there is `cyclone release`"),
        (["resume", "node001"], NoSuchNamespace, "for controllers `cyclone resume --nodes`$"),
        (["namespaces", "nigth"], NoSuchNamespace, "no namespace 'nigth'; there are default, night"),
        (["namespaces", "set", "nigth"], NoSuchNamespace, "night: `cyclone namespaces create nigth` makes it"),
        (["namespaces", "create", "night"], NotGranted, "namespace 'night' already: `cyclone namespaces set` changes"),
        (["namespaces", "purge", "nigth"], NoSuchNamespace, "no namespace 'nigth'"),
        (["namespaces", "set", "two words"], UsageError, "'two words' is not a name: write letters"),
        (["namespaces", "create", "x", "--weight", "1e9"], ConfigError, "--weight: 1,000,000,000 is too great"),
        (["namespaces", "create", "x", "--weight", "0"], UsageError, "is no weight"),
        (["namespaces", "create", "x", "--jobs-max", "many"], UsageError, "is no number"),
    ],
)
def test_given_what_cannot_be_then_nothing_is_asked(
    words: list[str], error: type[Exception], says: str, spaces: ClientDouble
) -> None:
    with pytest.raises(error, match=says):
        _run(words)
    assert spaces.asked == []


def test_given_options_before_an_action_then_they_hold_for_it(spaces: ClientDouble, capsys: Printed) -> None:
    assert _run(["namespaces", "--json", "create", "new"]) == 0
    assert json.loads(capsys.readouterr().out)["answers"][0]["about"] == "new"
