"""What a program that failed has printed and left: in ``cyclone results``, and where its output is followed."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from cyclone.cli.main import _run
from cyclone.cli.submit_wait import pass_on
from cyclone.client.job_results import OpenJobBlock
from cyclone.client.pacing import Batch
from cyclone.protocol import states
from cyclone.protocol.job_messages import JobBlock
from cyclone.protocol.messages import OUTPUT_RECORD, ErrorRecord, ResultColumns
from cyclone.results import encode_columns, pack_seconds
from cyclone.values import encode
from tests.support.client_double import ClientDouble, client, job, task

__all__ = ["client"]
LEFT = {"stdout": b"said\n", "stderr": b"\xff", "log": b"", "error": b"the reason\n", "output": b"half\n"}
SHOWN = {"stdout": "said\n", "stderr": {"base64": "/w=="}, "log": "", "error": "the reason\n", "output": "half\n"}
ROWS = 3


def block() -> OpenJobBlock:
    """A task that completed, and two that failed, of which the second had a program."""
    error = encode_columns(ErrorRecord("CommandFailed", "x ended with exit code 3"))
    records = [(0, "own", encode({})), (2, "own", encode({"n": 1})), (2, OUTPUT_RECORD, encode(LEFT))]
    columns = ResultColumns([b"\x07", error, error], pack_seconds([0.1] * ROWS), 1.7e9, 4711, records=records)
    statuses = bytes([states.COMPLETED, states.FAILED, states.FAILED])
    return OpenJobBlock(5, "m:A", JobBlock(10, 17, 1, statuses, None, encode_columns(columns), "node1"), bytes)


def test_given_records_then_each_row_has_its_own() -> None:
    assert [result.records for result in block()] == [
        [("own", {})],
        [],
        [("own", {"n": 1}), (OUTPUT_RECORD, LEFT)],
    ]


@pytest.mark.parametrize("words", [[], ["--follow"]])
def test_given_a_program_that_failed_then_its_result_has_what_it_left(
    words: list[str], client: ClientDouble, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client.summaries = [job(5)]
    client.rows[5] = [task(10), task(11, "failed"), task(12, "failed", printed=encode(LEFT))]
    monkeypatch.setattr(client, "result_batches", lambda *_, **__: [Batch(list(block()))], raising=False)
    assert _run(["results", "5", *words]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["index"], one["printed"]) for one in found] == [(10, None), (11, None), (12, SHOWN)]


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ({}, ""),
        (
            {"output_truncated": True, "output_bytes": 9_000},
            "cyclone: task 5.3: its output is cut: 5 of 9,000 bytes are here\n",
        ),
    ],
)
def test_given_a_bundle_that_failed_when_its_output_is_passed_on_then_so_is_what_it_left(
    more: dict[str, Any], note: str, capfd: pytest.CaptureFixture[str]
) -> None:
    left = LEFT | {"stderr": b""} | more
    result = SimpleNamespace(job_id=5, index=3, attempt=1, ok=False, value=None, records=[(OUTPUT_RECORD, left)])
    live = SimpleNamespace(shown_bytes=lambda *_: 0)
    pass_on(result, live)  # type: ignore[arg-type]
    assert capfd.readouterr() == ("said\nhalf\n", note)
