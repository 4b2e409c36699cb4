"""``cyclone events``: pages become one stream, what is missing is said, and what is asked for is chosen."""

import datetime
import json
from typing import Any

import msgspec
import pytest

from cyclone.cli import events
from cyclone.cli.main import _run
from cyclone.client.event_log import Reader, Since
from cyclone.errors import UsageError
from cyclone.protocol.event_messages import EventsReport, Happening
from tests.support.client_double import ClientDouble, client, job

__all__ = ["client"]
Printed = pytest.CaptureFixture[str]
HAPPENED = [
    Happening(4, 1e9, "job_submitted", "ann", 7, "night", "scan", text="a:Task"),
    Happening(5, 1e9 + 1, "controller_joined", controller="node1"),
    Happening(6, 1e9 + 2, "task_failed", "", 7, "night", "scan", "node2", {"failed": 1}, "task 3: pkg.E: no\x1b[2J"),
    Happening(7, 1e9 + 3, "job_ended", "", 7, "night", "scan", "", {"completed": 9, "failed": 1}, "failed"),
    Happening(8, 1e9 + 4, "namespace_paused", "root", None, "night"),
    Happening(9, 1e9 + 5, "job_ended", "", 8, "default", "", "", {"completed": 1}, "completed"),
]


class Log:
    """An event log of pages of two."""

    def __init__(self, happened: list[Happening], epoch: int = 3) -> None:
        self.happened, self.epoch = happened, epoch
        self.asked: list[tuple[int, int]] = []

    def __call__(self, after: int, epoch: int) -> EventsReport:
        self.asked.append((after, epoch))
        after = after if epoch == self.epoch else 0
        page = [event for event in self.happened if event.number > after][:2]
        first, last = self.happened[0].number, self.happened[-1].number
        return EventsReport(1, self.epoch, first, last, page)


def read(reader: Reader) -> list[tuple[int, str]]:
    found = reader.read()
    while not reader.is_at_end:
        found += reader.read()
    return [(told.event.number, told.event.kind) for told in found]


@pytest.mark.parametrize(
    ("since", "numbers"),
    [
        (Since(), [4, 5, 6, 7, 8, 9]),
        (Since(moment=1e9 + 3), [7, 8, 9]),
        (Since(after=6), [7, 8, 9]),
        (Since(after=6, epoch=3), [7, 8, 9]),
        # Of the first three nobody knows any more; of another epoch, nothing at all.
        (Since(after=1), [3, 4, 5, 6, 7, 8, 9]),
        (Since(after=6, epoch=2), [3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_given_where_to_begin_then_all_from_there_on_is_told_once(since: Since, numbers: list[int]) -> None:
    found = read(Reader(Log(HAPPENED), since))
    assert [number for number, _ in found] == numbers
    assert [kind for number, kind in found if number == 3] == ["missed"] * (3 in numbers)


def test_given_a_master_that_is_started_again_then_it_is_said_and_what_was_told_is_not_told_again() -> None:
    log = Log(HAPPENED)
    reader = Reader(log, Since())
    read(reader)
    before = [
        msgspec.structs.replace(event, number=number, restored=True) for number, event in enumerate(HAPPENED[-2:], 1)
    ]
    news = [
        Happening(3, 1e9 + 50, "job_ended", job_id=9, restored=True),
        Happening(4, 1e9 + 60, "master_started"),
    ]
    log.happened, log.epoch = [*before, *news], 4
    assert read(reader) == [(0, "missed"), (3, "job_ended"), (4, "master_started")]
    log.happened.append(Happening(5, 1e9 + 61, "controller_joined"))
    assert read(reader) == [(5, "controller_joined")]


def test_given_events_that_were_forgotten_before_they_were_read_then_it_is_said_how_many() -> None:
    log = Log(HAPPENED)
    reader = Reader(log, Since())
    read(reader)
    log.happened = [Happening(30, 1e9 + 9, "master_stopping")]
    found = reader.read()
    assert [told.event.text for told in found] == ["20 events of before were forgotten", ""]


@pytest.fixture
def log(client: ClientDouble) -> ClientDouble:
    client.event_page = Log(HAPPENED)  # type: ignore[attr-defined]
    client.summaries = [job(7), job(8)]
    return client


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ([], [4, 5, 6, 7, 8, 9]),
        (["--job", "7"], [4, 6, 7]),
        (["--job", "last"], [9]),
        (["--job", "all"], [4, 6, 7, 9]),
        (["-n", "night"], [4, 6, 7, 8]),
        (["--node", "node[1-2]"], [5, 6]),
        (["--node", "node1"], [5]),
        (["--kind", "job"], [4, 7, 9]),
        (["--kind", "job_ended,controller"], [5, 7, 9]),
        (["--limit", "2"], [8, 9]),
        (["--kind", "job", "--limit", "2"], [7, 9]),
        (["--since", "3.7"], [8, 9]),
        (["--since", "7"], [8, 9]),
        (["--since", "2001-09-09T01:46:44+00:00"], [8, 9]),
        (["--since", "1m"], []),
    ],
)
def test_given_filters_then_only_those_are_printed(
    words: list[str], numbers: list[int], log: ClientDouble, capsys: Printed
) -> None:
    assert _run(["events", *words, "-o", "{number}"]) == 0
    assert [int(line) for line in capsys.readouterr().out.split()] == numbers


def test_given_json_then_each_event_is_a_line_with_its_schema(log: ClientDouble, capsys: Printed) -> None:
    assert _run(["events", "--json", "--since", "6"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {
        "schema": "cyclone.events/1",
        "epoch": 3,
        "number": 7,
        "time": "2001-09-09T01:46:43Z",
        "kind": "job_ended",
        "by": "",
        "job": 7,
        "namespace": "night",
        "name": "scan",
        "node": "",
        "tasks": {"completed": 9, "failed": 1},
        "count": 10,
        "text": "failed",
        "restored": False,
    }
    assert len(lines) == 3


def test_given_people_then_an_event_is_a_sentence_without_what_a_terminal_would_obey(
    log: ClientDouble, capsys: Printed
) -> None:
    assert _run(["events"]) == 0
    lines = [line.split(maxsplit=1)[1] if " " in line else line for line in capsys.readouterr().out.splitlines()]
    assert lines[0].endswith("job_submitted         job 7 scan in night  a:Task  (by ann)")
    assert lines[1].endswith("controller_joined     node1")
    assert lines[2].endswith("task_failed           job 7 scan in night  node2  task 3: E: no\\x1b[2J")
    assert lines[3].endswith("job_ended             job 7 scan in night  9 completed, 1 failed  failed")
    assert lines[4].endswith("namespace_paused      night  (by root)")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--kind", "nix"], "'nix' begins no kind of event"),
        (["--kind", ","], "',' begins no kind of event"),
        (["--since", "yesterday"], "'yesterday' is no moment and no event"),
        (["--since", "25:99"], "'25:99' is no moment and no event"),
    ],
)
def test_given_what_cannot_be_understood_then_it_is_said(words: list[str], reason: str, log: ClientDouble) -> None:
    with pytest.raises(UsageError, match=reason):
        _run(["events", *words])


def test_given_a_time_of_day_then_it_is_the_last_such() -> None:
    now = datetime.datetime.now()
    for clock in ("00:00", "23:59:59"):
        moment = events._since(clock).moment
        assert now.timestamp() - 86400 - 3600 <= moment <= now.timestamp()


def test_given_a_follower_then_it_prints_what_comes_until_somebody_ends_it(
    log: ClientDouble, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(_: float) -> None:
        asked: Any = log.event_page
        if asked.happened[-1].number == 10:
            raise KeyboardInterrupt
        asked.happened = [*HAPPENED, Happening(10, 1e9 + 9, "master_stopping", text="SIGTERM")]

    monkeypatch.setattr("cyclone.cli.events.time.sleep", wait)
    with pytest.raises(KeyboardInterrupt):
        _run(["events", "-f", "--limit", "1", "-o", "{number} {text}"])
    assert capsys.readouterr().out.splitlines() == ["9 completed", "10 SIGTERM"]
