"""Namespaces: what is wished of them, and what follows for the jobs inside."""

from typing import Any

import pytest

from cyclone.master.events import NamespaceSet
from cyclone.protocol.job_messages import (
    NamespaceRequest,
    NamespacesReport,
    NamespacesRequest,
)
from cyclone.protocol.job_spec import Namespace
from tests.support.job_requests import answer, ask, events, submit, told
from tests.support.masters import Master, leases
from tests.unit.master.conftest import NewMaster


class TestNamespaces:
    @pytest.mark.parametrize(
        ("actions", "granted", "text"),
        [
            pytest.param([("set", "night")], True, "is made", id="made"),
            pytest.param([("set", "night"), ("set", "night")], True, "is set", id="again"),
            pytest.param([("set", "night"), ("delete", "night")], True, "is deleted", id="deleted"),
            pytest.param([("delete", "night")], True, "there is no namespace night", id="never made"),
            pytest.param([("delete", "default")], False, "always there", id="the default one"),
            pytest.param([("purge", "default")], True, "1 job with 1 task cancelled", id="purged"),
        ],
    )
    def test_given_wishes_then_the_last_is_answered_so(
        self, master: Master, actions: list[tuple[Any, str]], granted: bool, text: str
    ) -> None:
        submit(master, 1)
        for action, name in actions:
            found = answer(ask(master, NamespaceRequest(1, action, Namespace(name=name))))
        assert found.granted == granted
        assert text in found.text

    def test_given_one_with_open_jobs_then_it_stays_until_they_have_ended(self, master: Master) -> None:
        ask(master, NamespaceRequest(1, "set", Namespace(name="night")))
        submit(master, 2, namespace="night")
        assert not answer(ask(master, NamespaceRequest(1, "delete", Namespace(name="night")))).granted
        ask(master, NamespaceRequest(1, "purge", Namespace(name="night")))
        master.advance()
        assert answer(ask(master, NamespaceRequest(1, "delete", Namespace(name="night")))).granted

    def test_given_one_that_is_paused_then_nothing_of_it_is_leased(self, master: Master) -> None:
        session = master.join()
        ask(master, NamespaceRequest(1, "set", Namespace(name="night", paused=True)))
        submit(master, 2, namespace="night")
        assert leases(master.lease(session, 9)) == []
        ask(master, NamespaceRequest(1, "set", Namespace(name="night")))
        master.advance()
        assert leases(master.advance()) == [("c1", 1, 2, 1)]

    def test_given_namespaces_of_the_configuration_then_they_are_made_where_nobody_has(
        self, new_master: NewMaster
    ) -> None:
        wanted = (Namespace(name="night", weight=2.0), Namespace(name="default", weight=3.0))
        master = new_master(namespaces=wanted)
        master.advance()
        assert {event.namespace.name for event in events(master, NamespaceSet)} == {"night", "default"}
        ask(master, NamespaceRequest(1, "set", Namespace(name="night", weight=5.0)))
        master.restart()
        master.advance()
        assert master.scheduler.state.jobs.namespaces["night"].weight == 5.0
        assert master.scheduler.state.jobs.namespaces["default"].weight == 3.0
        assert len(events(master, NamespaceSet)) == 3

    def test_given_work_in_one_then_the_list_has_it_and_its_share(self, master: Master, running: int) -> None:
        report = told(ask(master, NamespacesRequest(7)))
        assert isinstance(report, NamespacesReport)
        (default,) = report.namespaces
        assert (default.open_jobs, default.tasks, default.share) == (2, {"queued": 4, "leased": 2}, 1.0)
