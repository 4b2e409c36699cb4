"""``cyclone cancel``, ``hold``, ``retry``, ``drain``, ``pause`` and their kin: what they ask for, and what is said."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cyclone.cli import output
from cyclone.cli.main import _run
from cyclone.errors import ConfigError, CycloneError, NoSuchJob, NoSuchNamespace, SubmitRefused, UsageError
from cyclone.protocol import limits
from cyclone.protocol.client_messages import Answer, CancelRequest, ControllerStatus
from cyclone.protocol.job_messages import SEALED, NamespaceSummary
from cyclone.protocol.job_spec import JobSelection, JobSpec, Namespace
from cyclone.protocol.messages import Offer
from tests.support.client_double import ClientDouble, client, job, task

__all__ = ["client"]
Printed = pytest.CaptureFixture[str]
KNOWN = [f"node{number:03}" for number in range(1, 171)]
PLAIN = {"indexes": [], "states": (), "reason": "", "dry_run": False}


# --- cancel


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["5"], [("cancel", JobSelection(ids=[(5, 5)]), PLAIN)]),
        (["5", "7-9"], [("cancel", JobSelection(ids=[(5, 5), (7, 9)]), PLAIN)]),
        (["all", "-n", "night"], [("cancel", JobSelection(namespace="night"), PLAIN)]),
        (
            ["last", "--only", "queued,delayed", "--reason", "too late", "--dry-run"],
            [
                (
                    "cancel",
                    JobSelection(ids=[(9, 9)]),
                    {"indexes": [], "states": ("queued", "delayed"), "reason": "too late", "dry_run": True},
                )
            ],
        ),
        (
            ["5.0-9", "7"],
            [
                ("cancel", JobSelection(ids=[(7, 7)]), PLAIN),
                ("cancel", JobSelection(ids=[(5, 5)]), PLAIN | {"indexes": [(0, 9)]}),
            ],
        ),
        (["--tasks", "17-42"], [("ask", CancelRequest(1, 17, 42, "", ""))]),
        (["--tasks", "1,3"], [("ask", CancelRequest(1, 1, 1, "", "")), ("ask", CancelRequest(1, 3, 3, "", ""))]),
        (["--all"], [("ask", CancelRequest(1, 1, limits.ID_MAX, "", ""))]),
        (
            ["--class", "work:Simulate", "--state", "leased"],
            [("ask", CancelRequest(1, 1, limits.ID_MAX, "work:Simulate", "leased"))],
        ),
    ],
)
def test_given_what_is_to_be_cancelled_then_exactly_that_is_asked_for(
    words: list[str], asked: list[Any], client: ClientDouble
) -> None:
    client.summaries = [job(8, "running"), job(9)]
    assert _run(["cancel", *words]) == 0
    assert client.asked == asked


@pytest.mark.parametrize(
    "words", [[], ["5", "--all"], ["5", "--tasks", "3"], ["--all", "--dry-run"], ["--tasks", "3", "--reason", "x"]]
)
def test_given_what_makes_no_sense_then_nothing_is_asked(words: list[str], client: ClientDouble) -> None:
    with pytest.raises(UsageError, match="cancel what|not for the whole master"):
        _run(["cancel", *words])
    assert client.asked == []


def test_given_the_generators_tasks_then_it_is_said_how_they_are_cancelled(client: ClientDouble) -> None:
    with pytest.raises(CycloneError, match="`cyclone cancel --tasks IDS` ends them"):
        _run(["cancel", "0.7"])
    assert client.asked == []


def test_given_an_answer_then_it_is_said_and_decides_the_exit_code(client: ClientDouble, capsys: Printed) -> None:
    assert _run(["cancel", "5"]) == 0
    assert capsys.readouterr() == ("done as wished\n", "")
    client.answer = lambda *_, **__: Answer(1, False, 0, "it is ann's")
    client.summaries = [job(5, "running"), job(6, "failed")]
    assert _run(["cancel", "5"]) == 1
    assert capsys.readouterr() == ("", "it is ann's\n")
    assert _run(["hold", "5", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "schema": "cyclone.answers/1",
        "answers": [{"about": "", "granted": False, "count": 0, "text": "it is ann's", "names": []}],
    }


# --- hold, release, seal, requeue


@pytest.mark.parametrize("words", [["cancel"], ["hold"], ["release"], ["seal"], ["requeue"]])
def test_given_a_job_that_has_ended_or_none_then_that_is_said(
    words: list[str], client: ClientDouble, capsys: Printed
) -> None:
    client.answer = lambda *_, **__: Answer(1, False, 0, "no open job is meant by that")
    client.summaries = [job(4, "running"), job(6, "failed")]
    for name in ("6", "last"):
        assert _run([*words, name]) == 1
        assert capsys.readouterr().err == "job 6 has ended: failed\n"
    # Never an older one that is open still.
    assert "4" not in str(client.asked)
    with pytest.raises(NoSuchJob, match="there is no job 99"):
        _run([*words, "99"])


@pytest.mark.parametrize("reason", ["two\nlines", "x" * 100_000, "\x1b[2J"])
def test_given_a_reason_that_no_list_could_show_then_no_master_is_asked(reason: str, client: ClientDouble) -> None:
    with pytest.raises(UsageError, match="is not a line of text"):
        _run(["cancel", "5", "--reason", reason])
    assert client.asked == []


@pytest.mark.parametrize("verb", ["hold", "release", "seal", "cancel"])
def test_given_the_generators_job_then_it_is_said_what_there_is_for_it(verb: str, client: ClientDouble) -> None:
    client.summaries = [job(0, "running")]
    for name in ("0", "last"):
        with pytest.raises(CycloneError, match="`cyclone pause default` lets its tasks wait"):
            _run([verb, name])
    assert client.asked == []


@pytest.mark.parametrize("verb", ["hold", "release", "seal"])
def test_given_jobs_then_they_are_steered_by_one_question(verb: str, client: ClientDouble) -> None:
    assert _run([verb, "5", "7-9", "--owner", "ann"]) == 0
    assert client.asked == [(verb, JobSelection(ids=[(5, 5), (7, 9)], owner="ann"))]


def test_given_tasks_then_they_are_requeued_job_by_job(client: ClientDouble, capsys: Printed) -> None:
    client.summaries = [job(6), job(7)]
    assert _run(["requeue", "5.0-9", "6-8"]) == 0
    assert client.asked == [("requeue", 5, [(0, 9)]), ("requeue", 7, []), ("requeue", 6, [])]
    with pytest.raises(NoSuchJob, match="there are no jobs 8-9"):
        _run(["requeue", "8-9"])
    for words in (["requeue", "0"], ["results", "0", "--process"], ["results", "0", "--follow"]):
        with pytest.raises(CycloneError, match="job 0 is the generator's"):
            _run(words)
    with pytest.raises(NoSuchJob, match="there is no job 99999999999"):
        _run(["requeue", "99999999999"])


# --- retry


def retried(client: ClientDouble, *words: str) -> tuple[JobSpec, list[bytes], bytes | None]:
    client.asked.clear()
    assert _run(["retry", *words]) == 0
    [(name, spec, args, key)] = client.asked
    assert name == "submit"
    return spec, args, key


@pytest.fixture
def ended(client: ClientDouble) -> ClientDouble:
    client.summaries = [job(5, "failed")]
    client.spec = JobSpec(task_class="tests:Task", shared=b"\x91\x07", tags={"a": "b"}, not_after=5.0, priority=3)
    states = ("completed", "failed", "timed_out", "cancelled", "queued", "failed")
    client.rows[5] = [task(index, state) for index, state in enumerate(states)]
    return client


def test_given_a_job_then_what_did_not_complete_becomes_a_job_with_the_same_options(
    ended: ClientDouble, capsys: Printed
) -> None:
    spec, args, key = retried(ended, "5")
    assert spec == JobSpec(
        task_class="tests:Task", shared=b"\x91\x07", tags={"a": "b", "retry-of": "5"}, not_after=None, priority=3
    )
    assert args == [b"\x91\x01", b"\x91\x02", b"\x91\x03", b"\x91\x05"]
    assert capsys.readouterr().out == "job 77: 4 tasks of job 5\n"
    assert key is not None
    assert len(key) == 16


def test_given_a_retry_then_its_key_follows_from_the_job_and_the_selection(ended: ClientDouble) -> None:
    keys = [
        retried(ended, *words)[2]
        for words in (["5"], ["5", "--only", "failed"], ["5.0-3"], ["5", "--again"], ["5", "--hold"])
    ]
    assert keys[0] == retried(ended, "5")[2] == keys[4]
    assert keys[3] is None
    assert len(set(keys[:3])) == 3
    ended.summaries = [job(5, submitted=1.0)]
    assert retried(ended, "5")[2] != keys[0]


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["5", "--only", "missing", "--parsable"], "77\n"),
        (["5.1-3", "--dry-run"], "3 tasks of job 5 would be submitted again\n"),
        (
            ["5", "--only", "failed", "--json"],
            '{"schema":"cyclone.retry/1","job":77,"of":5,"tasks":2,"dry_run":false}\n',
        ),
        (
            ["last", "-s", "TO", "--dry-run", "--json"],
            '{"schema":"cyclone.retry/1","job":null,"of":5,"tasks":1,"dry_run":true}\n',
        ),
    ],
)
def test_given_a_retry_then_it_is_said_as_asked_for(
    words: list[str], printed: str, ended: ClientDouble, capsys: Printed
) -> None:
    assert _run(["retry", *words]) == 0
    assert capsys.readouterr().out == printed
    assert bool(ended.asked) == ("--dry-run" not in words)


def test_given_nothing_to_retry_then_no_job_is_made(ended: ClientDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, says in (
        (["5", "--only", "quarantined"], "job 5 has no task that is quarantined"),
        (["5", "--only", "queued"], "queued has not ended"),
        (["5-6"], "one job at a time"),
        (["all"], "one job at a time"),
    ):
        with pytest.raises(CycloneError, match=says):
            _run(["retry", *words])
    ended.spec = None
    ended.summaries = [job(0)]
    ended.rows[0] = ended.rows[5]
    with pytest.raises(CycloneError, match="the tasks of job 0 are the generator's"):
        _run(["retry", "0"])
    assert ended.asked == []


def test_given_a_retry_of_what_has_grown_since_then_it_is_said_how_to_go_on(
    ended: ClientDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise SubmitRefused(SEALED, "takes no more")

    monkeypatch.setattr(ended, "submit", refuse)
    with pytest.raises(CycloneError, match="--again makes another job"):
        _run(["retry", "5"])


# --- nodes, drain, status


def controller(number: int, slots: int = 22, mark: str = "", **offer: Any) -> ControllerStatus:
    name = f"node{number:03}"
    return ControllerStatus(name, name, slots, 2, number / 10, mark, 1, Offer(**offer), "3.0", "3.11.2")


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
    assert printed.err.splitlines() == ["6: node[171-176]: no controller is called that; known: node[001-170]"]


@pytest.mark.parametrize("name", ["node001", "a*b", "host-12", "lab/one", "a b"])
def test_given_one_name_then_it_is_taken_as_it_is(name: str, client: ClientDouble) -> None:
    _run(["drain", name])
    assert client.asked == [("drain", name, {"undo": False})]


@pytest.mark.parametrize("text", ["node[1-", "@nobody", "node[3-1]", "a,,b", "", "n" * 256, "node[1-2]" + "n" * 255])
def test_given_no_set_of_nodes_then_nothing_is_asked(text: str, client: ClientDouble) -> None:
    with pytest.raises(UsageError, match="no group|is not a set of nodes|names no node|is longer"):
        _run(["drain", text])
    assert client.asked == []


@pytest.fixture
def cluster(client: ClientDouble) -> ClientDouble:
    client.nodes = [
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


def status_lines(capsys: Printed) -> list[list[str]]:
    lines = capsys.readouterr().out.splitlines()
    return [line.split() for line in lines[lines.index("") + 2 :]]


def test_given_few_controllers_then_status_has_a_line_for_each(client: ClientDouble, capsys: Printed) -> None:
    client.nodes = [controller(number) for number in range(20, 0, -1)]
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


# --- namespaces


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
        (["set", "new"], Namespace(name="new")),
        (["set", "new", "--weight", "2.5", "--tasks-max", "1_000"], Namespace(name="new", weight=2.5, tasks_max=1000)),
        (["set", "night", "--weight", "3"], Namespace(name="night", weight=3.0, paused=True, jobs_max=5)),
        (["set", "night", "--jobs-max", "none"], Namespace(name="night", weight=2.0, paused=True)),
    ],
)
def test_given_a_change_then_what_is_not_named_stays(words: list[str], asked: Namespace, spaces: ClientDouble) -> None:
    assert _run(["namespaces", *words]) == 0
    assert spaces.asked == [("set_namespace", asked)]


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


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (["pause"], UsageError, "pause which namespace"),
        (["resume"], UsageError, "resume what"),
        (["resume", "night", "--nodes", "n1"], UsageError, "resume what"),
        (["pause", "nigth"], NoSuchNamespace, "no namespace 'nigth'; there are default, night"),
        (["namespaces", "purge", "nigth"], NoSuchNamespace, "no namespace 'nigth'"),
        (["namespaces", "set", "two words"], UsageError, "'two words' is not a name: write letters"),
        (["namespaces", "set", "x", "--weight", "1e9"], ConfigError, "no namespace can be like that"),
        (["namespaces", "set", "x", "--weight", "0"], UsageError, "is no weight"),
        (["namespaces", "set", "x", "--jobs-max", "many"], UsageError, "is no number"),
    ],
)
def test_given_what_cannot_be_then_nothing_is_asked(
    words: list[str], error: type[Exception], says: str, spaces: ClientDouble
) -> None:
    with pytest.raises(error, match=says):
        _run(words)
    assert spaces.asked == []


def test_given_options_before_an_action_then_they_hold_for_it(spaces: ClientDouble, capsys: Printed) -> None:
    assert _run(["namespaces", "--json", "set", "new"]) == 0
    assert json.loads(capsys.readouterr().out)["answers"][0]["about"] == "new"


# --- before something is destroyed


@pytest.mark.parametrize(
    ("words", "question"),
    [
        (["cancel", "all", "--only", "queued"], "7 tasks would be cancelled: go on?"),
        (["cancel", "--all"], "every task without a result that fits, of the whole master: cancel them?"),
        (["namespaces", "purge", "night"], "night has 3 open jobs with 6 open tasks: cancel them all?"),
    ],
)
def test_given_a_person_then_what_is_meant_is_shown_before_it_is_done(
    words: list[str], question: str, spaces: ClientDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def no(wanted: Callable[[], str], _: object) -> None:
        asked.append(wanted())
        raise CycloneError("nothing was done")

    monkeypatch.setattr(output, "confirm", no)
    spaces.answer = lambda *_, **__: Answer(1, True, 7, "7 tasks would be cancelled")
    with pytest.raises(CycloneError, match="nothing was done"):
        _run(words)
    assert asked == [question]
    assert [call for call in spaces.asked if not (call[0] == "cancel" and call[-1]["dry_run"])] == []
