"""Filters that nothing can pass: whoever has mistyped a namespace or an owner is told which there are."""

import pytest

from cyclone.cli.main import _run
from cyclone.errors import ConfigError, NoSuchNamespace
from tests.support.client_double import ClientDouble, client, job

__all__ = ["client"]
Printed = pytest.CaptureFixture[str]


@pytest.mark.parametrize("words", [["jobs"], ["top", "--once", "-d", "100ms"]])
def test_given_an_unknown_namespace_then_those_that_there_are_are_named(client: ClientDouble, words: list[str]) -> None:
    client.summaries = [job(1)]
    with pytest.raises(NoSuchNamespace, match="there is no namespace 'nigth'; there are default"):
        _run([*words, "-n", "nigth"])


def test_given_a_namespace_without_jobs_then_the_list_is_empty(client: ClientDouble, capsys: Printed) -> None:
    assert _run(["jobs", "-n", "default", "--parsable"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("owners", "said"),
    [
        (["me", "you", ""], "no job is nobody's; there are jobs of me, you\n"),
        ([""], "no job is nobody's; there are jobs of nobody with a key\n"),
        (["nobody"], ""),
    ],
)
def test_given_an_owner_without_jobs_then_those_who_have_some_are_named(
    client: ClientDouble, capsys: Printed, owners: list[str], said: str
) -> None:
    client.summaries = [job(number, owner=owner) for number, owner in enumerate(owners, 1)]
    assert _run(["jobs", "--owner", "nobody"]) == 0
    assert capsys.readouterr().err == said


def test_given_a_filter_out_of_bounds_then_its_bound_is_told_in_words(client: ClientDouble) -> None:
    with pytest.raises(ConfigError, match="no job can be meant by that: owner: too long: write at most 255 characters"):
        _run(["jobs", "--owner", "x" * 999])


@pytest.mark.parametrize("words", [["wait", "all"], ["wait", "last"], ["cancel", "all", "-y"], ["hold", "last"]])
def test_given_an_unknown_namespace_then_nothing_is_done_to_its_jobs_and_not_said_to_be(
    client: ClientDouble, words: list[str]
) -> None:
    client.summaries = [job(1)]
    with pytest.raises(NoSuchNamespace, match="there is no namespace 'nigth'; there are default"):
        _run([*words, "-n", "nigth"])
    assert client.asked == []
