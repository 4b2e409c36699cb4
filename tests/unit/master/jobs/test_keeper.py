"""What the configuration wants of namespaces, against what has been set since."""

import pytest

from cyclone.master.actions import Action, Say
from cyclone.protocol.job_messages import NamespaceRequest
from cyclone.protocol.job_spec import Namespace
from tests.support.job_requests import ask
from tests.support.masters import Master
from tests.unit.master.conftest import NewMaster

WANTED = Namespace(name="night", weight=2.0, jobs_max=5)


def said(actions: list[Action]) -> list[str]:
    return [action.text for action in actions if isinstance(action, Say)]


@pytest.fixture
def started(new_master: NewMaster) -> Master:
    master = new_master(namespaces=(WANTED,))
    master.advance()
    assert master.scheduler.state.jobs.namespaces["night"] == WANTED
    return master


def test_given_what_is_there_already_then_nothing_is_said_of_it(started: Master) -> None:
    started.restart()
    assert said(started.advance()) == []


def test_given_a_namespace_that_was_changed_then_it_stays_so_and_that_is_said(started: Master) -> None:
    changed = Namespace(name="night", weight=3.5, tasks_max=9)
    ask(started, NamespaceRequest(1, "set", changed))
    started.restart()
    assert said(started.advance()) == [
        "namespace=night weight=3.5 tasks_max=9, as it was set before; "
        "the configuration says namespace=night weight=2 jobs_max=5"
    ]
    assert started.scheduler.state.jobs.namespaces["night"] == changed
    assert said(started.advance()) == []
