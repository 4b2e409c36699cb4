"""``cyclone cancel``, ``hold``, ``retry``, ``pause`` and their kin: what they ask for, and what is said."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cyclone.cli import output
from cyclone.cli.main import _run
from cyclone.errors import CycloneError, NoSuchJob, NotGranted, SubmitRefused, UsageError
from cyclone.protocol import limits
from cyclone.protocol.client_messages import Answer, CancelRequest
from cyclone.protocol.job_messages import SEALED, NamespaceSummary
from cyclone.protocol.job_spec import JobSelection, JobSpec, Namespace
from tests.support.client_double import ClientDouble, client, job, task

__all__ = ["client"]
Printed = pytest.CaptureFixture[str]
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
    client.spaces.append(NamespaceSummary(Namespace(name="night"), 0, {}))
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
    assert _run(["hold", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": "cyclone.answers/1",
        "answers": [{"about": "", "granted": True, "count": 1, "text": "done as wished", "names": []}],
    }


# --- hold, release, seal, requeue


@pytest.mark.parametrize("words", [["cancel"], ["hold"], ["release"], ["seal"], ["requeue"]])
def test_given_a_job_that_has_ended_or_none_then_that_is_said(words: list[str], client: ClientDouble) -> None:
    client.answer = lambda *_, **__: Answer(1, False, 0, "no open job is meant by that")
    client.summaries = [job(4, "running"), job(6, "failed")]
    for name in ("6", "last"):
        with pytest.raises(NotGranted, match="^job 6 has ended: failed$"):
            _run([*words, name])
    # Never an older one that is open still.
    assert "4" not in str(client.asked)
    with pytest.raises(NoSuchJob, match="there is no job 99"):
        _run([*words, "99"])


@pytest.mark.parametrize("state", ["running", "failed"])
@pytest.mark.parametrize("is_granted", [True, False])
def test_given_tasks_that_a_job_never_had_then_it_is_said_which_it_has(
    state: str, is_granted: bool, client: ClientDouble
) -> None:
    client.summaries = [job(6, state), job(7, state, tasks={}, sealed=False), job(8, state, tasks={"queued": 1})]
    client.answer = lambda *_, **__: Answer(1, is_granted, 0, "nothing to do")
    for words, said in (
        ("6.99", "job 6 has no task 99: its indexes are 0-9"),
        ("6.10-11,15", "job 6 has no task 10-11,15: its indexes are 0-9"),
        ("7.0", "job 7 has no task 0: it has none so far"),
        ("last.1", "job 8 has no task 1: its only index is 0"),
    ):
        with pytest.raises(NotGranted, match=f"^{said}$"):
            _run(["cancel", words])
        with pytest.raises(CycloneError, match="^" + said.replace("10-11,15", "10")):
            _run(["show", words.partition("-")[0]])


def test_given_tasks_that_a_job_has_had_then_that_nothing_is_left_of_them_is_no_error(
    client: ClientDouble, capsys: Printed
) -> None:
    client.summaries = [job(6)]
    client.answer = lambda *_, **__: Answer(1, True, 0, "what is meant has ended already")
    for words in ("6.9-99", "5.99"):
        assert _run(["cancel", words]) == 0
        assert capsys.readouterr().out == "what is meant has ended already\n"


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
    counts = {"completed": 1, "failed": 2, "timed_out": 1, "cancelled": 1, "queued": 1}
    client.summaries = [job(5, "failed", tasks=counts)]
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


def test_given_a_retry_that_was_made_before_then_it_is_said_what_has_become_of_it(
    ended: ClientDouble, capsys: Printed
) -> None:
    ended.summaries.append(job(77, "cancelled"))
    retried(ended, "5")
    assert "job 77 was made of them before (cancelled): --again makes another one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["5", "--only", "missing", "--parsable"], "77\n"),
        (["5", "--dry-run"], "4 tasks of job 5 would be submitted again\n"),
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


# --- before something is destroyed


@pytest.fixture
def spaces(client: ClientDouble) -> ClientDouble:
    client.spaces = [
        NamespaceSummary(
            Namespace(name="night", weight=2.0, paused=True, jobs_max=5), 3, {"queued": 4, "running": 2}, 0.25
        ),
        NamespaceSummary(Namespace(name="default"), 0, {}),
    ]
    return client


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
