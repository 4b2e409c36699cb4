"""``cyclone status`` and ``cyclone drain``: sets of nodes taken apart for the master, and folded for people."""

import json
from collections.abc import Sequence
from typing import Self

import pytest

from cyclone.cli import ask
from cyclone.cli.main import _run
from cyclone.errors import ConfigError
from cyclone.protocol.client_messages import Answer, ControllerStatus, DrainRequest, StatusReport, StatusRequest
from cyclone.protocol.job_messages import AnyFromClient, AnyToClient

KNOWN = [f"node{number:03}" for number in range(1, 171)]


class MasterDouble:
    """Answers as a master does that knows node001 to node170, of which the last two are drained."""

    controllers: Sequence[ControllerStatus] = ()

    def __init__(self) -> None:
        self.asked: list[AnyFromClient] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, request: AnyFromClient) -> AnyToClient:
        self.asked.append(request)
        if isinstance(request, StatusRequest):
            awaited = ["node003", "node001", "node002"]
            return StatusReport(1, "3", "on", 2, {"queued": 1}, 5, False, False, awaited, list(self.controllers))
        assert isinstance(request, DrainRequest)
        name = request.controller
        if name not in KNOWN:
            return Answer(request.request, False, 0, f"no controller is called {name!r}; known:", KNOWN)
        text = f"{name} is drained already" if name in KNOWN[-2:] else f"{name} gets no new tasks"
        return Answer(request.request, True, 1, text)


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> MasterDouble:
    double = MasterDouble()
    monkeypatch.setattr(ask, "Connection", lambda _address, _timeout_s: double)
    return double


def controller(number: int, slots: int = 22, mark: str = "") -> ControllerStatus:
    return ControllerStatus(f"node{number:03}", f"node{number:03}", slots, 2, number / 10, mark)


def test_given_a_set_of_nodes_when_drained_then_each_is_asked_for_and_the_answers_are_one_summary(
    master: MasterDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["drain", "node[001-176]"]) == 1

    asked = [request for request in master.asked if isinstance(request, DrainRequest)]
    assert [request.controller for request in asked] == [f"node{number:03}" for number in range(1, 177)]
    assert len({request.request for request in asked}) == 176
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "168: node[001-168]: gets no new tasks",
        "2: node[169-170]: is drained already",
    ]
    assert printed.err.splitlines() == ["6: node[171-176]: no controller is called that; known: node[001-170]"]


def test_given_a_set_that_is_all_known_then_it_is_granted(
    master: MasterDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["drain", "node[001-010]!node005"]) == 0
    assert capsys.readouterr().out == "9: node[001-004,006-010]: gets no new tasks\n"
    assert len(master.asked) == 9


@pytest.mark.parametrize("name", ["node001", "a*b", "host-12", "lab/one", "a b"])
def test_given_one_name_then_it_is_taken_as_it_is(name: str, master: MasterDouble) -> None:
    _run(["drain", name])
    [request] = master.asked
    assert isinstance(request, DrainRequest)
    assert request.controller == name


@pytest.mark.parametrize("text", ["node[1-", "@nobody", "node[3-1]", "a,,b", "", "n" * 256, "node[1-2]" + "n" * 255])
def test_given_no_set_of_nodes_then_nothing_is_asked(text: str, master: MasterDouble) -> None:
    with pytest.raises(ConfigError, match="no group|is not a set of nodes|names no node|is longer"):
        _run(["drain", text])
    assert master.asked == []


def test_given_few_controllers_then_each_has_a_line(master: MasterDouble, capsys: pytest.CaptureFixture[str]) -> None:
    master.controllers = [controller(number) for number in range(20, 0, -1)]
    assert _run(["status"]) == 0
    printed = capsys.readouterr().out
    assert "awaited    node[001-003]: may still run tasks of before the restart" in printed
    assert [line.split()[0] for line in printed.splitlines()[-20:]] == KNOWN[:20]


def test_given_many_controllers_then_those_that_are_alike_share_a_line(
    master: MasterDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    master.controllers = [
        *(controller(number) for number in range(1, 171)),
        *(controller(number, slots=8) for number in range(171, 175)),
        controller(175, mark="suspected"),
        controller(176, mark="drained"),
    ]
    assert _run(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[lines.index("") + 2 :]] == [
        ["170", "3,740", "340", "17.0", "s", "node[001-170]"],
        ["4", "32", "8", "17.4", "s", "node[171-174]"],
        ["1", "22", "2", "17.6", "s", "drained", "node176"],
        ["1", "22", "2", "17.5", "s", "suspected", "node175"],
    ]
    assert _run(["status", "--each"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == lines.index("") + 2 + 176


def test_given_json_then_names_are_not_folded(master: MasterDouble, capsys: pytest.CaptureFixture[str]) -> None:
    master.controllers = [controller(number) for number in range(1, 31)]
    assert _run(["status", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["awaited"] == ["node003", "node001", "node002"]
    assert [one["name"] for one in report["controllers"]] == KNOWN[:30]
