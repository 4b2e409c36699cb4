"""``cyclone nodes``, ``drain`` and ``status``: which nodes are meant, and how many of them are shown in few lines."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from cyclone.cli.main import _run
from cyclone.errors import CycloneError, UsageError
from cyclone.protocol.client_messages import Answer, ControllerStatus
from cyclone.protocol.messages import Offer
from tests.support.client_double import ClientDouble, client

__all__ = ["client"]
Printed = pytest.CaptureFixture[str]
KNOWN = [f"node{number:03}" for number in range(1, 171)]


def controller(number: int, slots: int = 22, mark: str = "", resting: int = 0, **offer: Any) -> ControllerStatus:
    name = f"node{number:03}"
    return ControllerStatus(name, name, slots, 2, number / 10, mark, 1, Offer(**offer), "3.0", "3.11.2", resting)


def answered(name: str, **_: object) -> Answer:
    if name not in KNOWN:
        return Answer(1, False, 0, f"no controller is called {name!r}; known:", KNOWN)
    text = f"{name} is drained already" if name in KNOWN[-2:] else f"{name} gets no new tasks"
    return Answer(1, True, 1, text)


@pytest.mark.parametrize(
    ("words", "undo"), [(["drain"], False), (["drain", "--undo"], True), (["resume", "--nodes"], True)]
)
def test_given_a_set_of_nodes_then_each_is_asked_for_and_the_answers_are_one_summary(
    words: list[str], undo: bool, client: ClientDouble, capsys: Printed
) -> None:
    client.answer = answered
    assert _run([*words, "node[001-176]"]) == 1
    assert client.asked == [("drain", f"node{number:03}", {"undo": undo}) for number in range(1, 177)]
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "168: node[001-168]: gets no new tasks",
        "2: node[169-170]: is drained already",
    ]
    assert printed.err.splitlines() == ["cyclone: 6: node[171-176]: no controller is called that; known: node[001-170]"]


@pytest.mark.parametrize("name", ["node001", "a*b", "host-12", "lab/one", "a b"])
def test_given_one_name_then_it_is_taken_as_it_is(name: str, client: ClientDouble) -> None:
    _run(["drain", name])
    assert client.asked == [("drain", name, {"undo": False})]


def test_given_the_name_of_a_host_then_all_controllers_there_are_meant_unless_one_is_called_so(
    client: ClientDouble,
) -> None:
    names = {"big-17": "big", "big-18": "big", "small": "small", "small-9": "small"}
    client.controllers = [replace(controller(1), name=name, host=host) for name, host in names.items()]
    _run(["drain", "big,small,other"])
    assert [name for _, name, _ in client.asked] == ["big-17", "big-18", "other", "small"]


@pytest.mark.parametrize("text", ["node[1-", "@nobody", "node[3-1]", "a,,b", "", "n" * 256, "node[1-2]" + "n" * 255])
def test_given_no_set_of_nodes_then_nothing_is_asked(text: str, client: ClientDouble) -> None:
    with pytest.raises(UsageError, match="no group|is not a set of nodes|names no node|is longer"):
        _run(["drain", text])
    assert client.asked == []


@pytest.fixture
def cluster(client: ClientDouble) -> ClientDouble:
    client.controllers = [
        *(controller(number) for number in range(1, 171)),
        *(controller(number, slots=8, labels=("gpu",), resources={"gpus": 2}) for number in range(171, 175)),
        controller(175, mark="suspected", namespaces=("night",)),
        controller(176, mark="drained"),
    ]
    return client


def test_given_many_nodes_then_those_that_are_alike_share_a_line(cluster: ClientDouble, capsys: Printed) -> None:
    assert _run(["nodes", "--fold", "-o", "name,count,state,slots,busy,tasks,silent_s,labels,resources"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["node[001-170]", "170", "up", "3,740", "170", "340", "17.0s"],
        ["node[171-174]", "4", "up", "32", "4", "8", "17.4s", "gpu", "gpus=2"],
        ["node176", "1", "drained", "22", "1", "2", "17.6s"],
        ["node175", "1", "suspected", "22", "1", "2", "17.5s"],
    ]
    assert _run(["nodes", "--no-header"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 176
    assert _run(["nodes", "--json"]) == 0
    nodes = json.loads(capsys.readouterr().out)["nodes"]
    assert [one["name"] for one in nodes[:170]] == KNOWN
    assert nodes[170]["resources"] == {"gpus": 2}


@pytest.mark.parametrize("words", [[], ["--fold"]])
def test_given_slots_at_rest_then_a_column_has_them_and_scripts_ask_for_it(
    words: list[str], client: ClientDouble, capsys: Printed
) -> None:
    client.controllers = [controller(1), controller(2, mark="drained")]
    assert _run(["nodes", *words]) == 0
    assert "RESTING" not in capsys.readouterr().out
    client.controllers = [controller(1, slots=8, resting=1), controller(2, mark="drained")]
    assert _run(["nodes", *words]) == 0
    head, *lines = [line.split()[:6] for line in capsys.readouterr().out.splitlines()]
    assert head == ["NAME", "STATE", "SLOTS", "BUSY", "RESTING", "TASKS"]
    assert sorted(lines) == [["node001", "up", "8", "1", "1", "2"], ["node002", "drained", "22", "1", "0", "2"]]
    assert _run(["nodes", "--json"]) == 0
    assert [one["resting"] for one in json.loads(capsys.readouterr().out)["nodes"]] == [1, 0]
    assert _run(["nodes", "--parsable"]) == 0
    assert "resting" not in capsys.readouterr().out
    assert _run(["nodes", "-o", "{name} {resting}"]) == 0
    assert capsys.readouterr().out.splitlines() == ["node001 1", "node002 0"]
    assert _run(["status", "--json"]) == 0
    assert [one["resting"] for one in json.loads(capsys.readouterr().out)["controllers"]] == [1, 0]


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["node[001-003]"], 3),
        (["-s", "drained"], 1),
        (["-s", "up"], 174),
        (["-C", "gpu"], 4),
        (["-n", "night"], 176),
        (["-n", "day"], 175),
        (["--idle"], 175),
    ],
)
def test_given_filters_then_only_those_nodes_are_listed(
    words: list[str], count: int, cluster: ClientDouble, capsys: Printed
) -> None:
    assert _run(["nodes", *words, "--no-header"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == count


def test_given_names_that_are_not_there_then_they_are_named(cluster: ClientDouble, capsys: Printed) -> None:
    assert _run(["nodes", "node[175-179]"]) == 0
    assert capsys.readouterr().err == "not among them: node[177-179]\n"
    with pytest.raises(CycloneError, match=r"there is no node node\[177-179\]: `cyclone nodes` lists them"):
        _run(["nodes", "node[177-179]"])
    assert _run(["nodes", "node[175-176]", "-s", "up"]) == 0


def status_lines(capsys: Printed) -> list[list[str]]:
    lines = capsys.readouterr().out.splitlines()
    return [line.split() for line in lines[lines.index("") + 2 :]]


def test_given_few_controllers_then_status_has_a_line_for_each(client: ClientDouble, capsys: Printed) -> None:
    client.controllers = [controller(number) for number in range(20, 0, -1)]
    assert _run(["status"]) == 0
    printed = capsys.readouterr().out
    assert "awaited    node[001-003]: may still run tasks of before the restart" in printed
    assert [line.split()[0] for line in printed.splitlines()[-20:]] == KNOWN[:20]


def test_given_many_controllers_then_status_folds_those_that_are_alike(cluster: ClientDouble, capsys: Printed) -> None:
    assert _run(["status"]) == 0
    assert status_lines(capsys) == [
        ["170", "3,740", "340", "17.0", "s", "node[001-170]"],
        ["4", "32", "8", "17.4", "s", "node[171-174]"],
        ["1", "22", "2", "17.6", "s", "drained", "node176"],
        ["1", "22", "2", "17.5", "s", "suspected", "node175"],
    ]
    assert _run(["status", "--each"]) == 0
    assert len(status_lines(capsys)) == 176
    assert _run(["status", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["schema"], report["awaited"]) == ("cyclone.status/1", ["node003", "node001", "node002"])
    assert [one["name"] for one in report["controllers"]][:170] == KNOWN
