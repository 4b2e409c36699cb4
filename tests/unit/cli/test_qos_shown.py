"""Classes of service: what completion offers, and how a job and the master tell what they mean."""

import argparse
import json

import pytest

from cyclone.cli import parsing
from cyclone.cli.main import _run
from cyclone.protocol.job_spec import JobSpec
from tests.support.client_double import ClientDouble, client, job

__all__ = ["client"]
Printed = pytest.CaptureFixture[str]


@pytest.mark.parametrize("verb", ["submit", "run"])
def test_given_a_master_then_its_classes_are_offered_with_what_they_mean(client: ClientDouble, verb: str) -> None:
    option = next(one for one in _options(verb) if "--qos" in one.option_strings)
    offered = option.completer(parsed_args=argparse.Namespace())  # type: ignore[attr-defined]
    assert offered == {"normal": "priority 0, weight 1", "gold": "priority 5, weight 2"}


@pytest.mark.parametrize(
    ("qos", "line"),
    [
        ("gold", "qos        gold: adds 5 to its priority, and multiplies its namespace's weight by 2"),
        ("lead", "qos        lead: this master has no such class any more, and takes it for normal"),
    ],
)
def test_given_a_job_of_a_class_then_show_tells_what_the_class_means(
    client: ClientDouble, capsys: Printed, qos: str, line: str
) -> None:
    client.summaries = [job(3)]
    client.spec = JobSpec(task_class="a:B", qos=qos)
    assert _run(["show", "3"]) == 0
    assert line in capsys.readouterr().out.splitlines()


def test_given_a_job_of_no_class_then_show_says_nothing_of_it(client: ClientDouble, capsys: Printed) -> None:
    client.summaries = [job(3)]
    client.spec = JobSpec(task_class="a:B")
    assert _run(["show", "3"]) == 0
    assert "qos" not in capsys.readouterr().out


def test_given_programs_then_status_tells_them_the_classes(client: ClientDouble, capsys: Printed) -> None:
    assert _run(["status", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["qos"]
    assert told == {"normal": {"priority": 0, "weight": 1.0}, "gold": {"priority": 5, "weight": 2.0}}


def _options(verb: str) -> list[argparse.Action]:
    (verbs,) = (one for one in parsing.parser([verb])._actions if isinstance(one, argparse._SubParsersAction))
    return list(verbs.choices[verb]._actions)
