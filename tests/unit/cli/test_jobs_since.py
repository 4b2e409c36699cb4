"""``cyclone jobs --since``: which jobs came or ended since a moment."""

import itertools
import time

import pytest

from cyclone.cli.main import _run
from tests.support.client_double import ClientDouble, client, job

__all__ = ["client"]


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["--since", "10m"], ["3", "2"]),
        (["--since", "2h"], ["4", "3", "2"]),
        (["--since", "2h", "--before", "4"], ["3", "2"]),
        (["--since", "2h", "--limit", "1"], ["4"]),
        (["--since", "10m", "-s", "failed"], ["2"]),
        (["--since", "10m", "1,4"], []),
        (["--since", "1970-01-02"], ["4", "3", "2", "1"]),
    ],
)
def test_given_a_moment_then_those_jobs_are_listed_that_came_or_ended_since(
    words: list[str], ids: list[str], client: ClientDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    client.summaries = [
        job(0, "running", submitted=0.0, finished=0.0),
        job(1, submitted=now - 90000, finished=now - 80000),
        job(2, "failed", submitted=now - 90000, finished=now - 60),
        job(3, "running", submitted=now - 60, finished=0.0),
        job(4, submitted=now - 3700, finished=now - 3600),
    ]
    assert _run(["jobs", *words, "-o", "{id}"]) == 0
    assert capsys.readouterr().out.split() == ids


def test_given_a_limit_then_no_more_jobs_are_read_than_it_takes_to_know_of_another(
    client: ClientDouble, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = (job(number, submitted=time.time()) for number in itertools.count(1000, -1))
    monkeypatch.setattr(client, "jobs", lambda *_, **__: endless)
    assert _run(["jobs", "--since", "2h", "--limit", "2", "-o", "{id}"]) == 0
    printed = capsys.readouterr()
    assert printed.out.split() == ["1000", "999"]
    assert "--before 999 goes on" in printed.err
    assert next(endless).job_id == 997
