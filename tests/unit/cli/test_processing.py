"""``cyclone results --process``: what counts as processed, and when."""

import contextlib
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from cyclone.cli import output, results
from cyclone.cli.main import _run
from cyclone.client.pacing import Batch
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import TaskRow
from tests.support.client_double import GRANTED, ClientDouble, client, job, task

__all__ = ["client"]


class Consumer:
    """Standard output, and what counts as processed of what came there."""

    def __init__(self, capsys: pytest.CaptureFixture[str], client: ClientDouble) -> None:
        self._capsys = capsys
        self._read = ""
        # What was written, by word, whenever something came to count.
        self.marked: list[tuple[list[str], list[tuple[int, int]]]] = []
        client.answer = self._processed

    def written(self) -> list[str]:
        """All of it."""
        self._read += self._capsys.readouterr().out
        return self._read.split()

    def _processed(self, _: int, ranges: list[tuple[int, int]]) -> Answer:
        if ranges:
            self.marked.append((self.written(), ranges))
        return GRANTED


def result(index: int) -> Any:
    place = {"index": index, "task_id": 1000 + index, "state": "completed", "attempt": 1, "controller": "node1"}
    figures = {"started": 1.0, "seconds": 0.5, "cpu_s": 0.0, "peak_bytes": 0}
    return SimpleNamespace(**place, **figures, error=None, value=b"\x07")


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], client: ClientDouble) -> Consumer:
    monkeypatch.setattr(results, "_PROCESSED_EVERY_S", 0.0)
    client.summaries = [job(5), job(6)]
    client.rows = {5: [task(0), task(1)], 6: [task(0)]}
    return Consumer(capsys, client)


@pytest.mark.parametrize("form", [["-o", "{index}"], ["-o", "index", "--parsable"]])
def test_given_time_then_each_counts_when_it_was_written_and_not_before(
    form: list[str], client: ClientDouble, consumer: Consumer
) -> None:
    assert _run(["results", "5", "6", "--process", *form]) == 0
    assert [([word for word in written if word != "index"], ranges) for written, ranges in consumer.marked] == [
        (["0"], [(0, 0)]),
        (["0", "1"], [(1, 1)]),
        (["0", "1", "0"], [(0, 0)]),
    ]


def test_given_ctrl_c_while_nothing_comes_then_what_was_written_counts(
    client: ClientDouble, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_PROCESSED_EVERY_S", 1000.0)

    def broken_off() -> Iterator[TaskRow]:
        yield from (task(0), task(1))
        raise KeyboardInterrupt

    client.rows[5] = broken_off()
    with pytest.raises(KeyboardInterrupt):
        _run(["results", "5", "--process", "-o", "{index}"])
    assert consumer.marked == [(["0", "1"], [(0, 1)])]


def test_given_follow_then_what_was_processed_before_is_left_out(client: ClientDouble, consumer: Consumer) -> None:
    client.rows[5] = [task(0, "processed"), task(1, "processed"), task(2), task(3, "processed")]

    client.result_batches = lambda *_, **__: iter([Batch(map(result, (3, 2, 0, 1, 4)))])  # type: ignore[attr-defined]
    assert _run(["results", "5", "--follow", "--process", "-o", "{index}"]) == 0
    assert consumer.written() == ["2", "4"]


@pytest.mark.parametrize("how", [[], ["--in-order"]])
def test_given_nothing_more_for_now_then_what_was_written_counts_at_once(
    how: list[str], client: ClientDouble, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_PROCESSED_EVERY_S", 1000.0)
    monkeypatch.setattr(results, "_LOOK_MIN_S", 0.0)
    seen: list[list[Any]] = []

    def batches(*_: object, **__: object) -> Iterator[Batch[Any]]:
        yield Batch([result(0), result(1)])
        yield Batch([])
        seen.append(list(consumer.marked))
        yield Batch([result(2)])

    def looked(_: float) -> None:
        seen.append(list(consumer.marked))
        client.rows[5] = [task(0), task(1), task(2)]
        client.summaries = [job(5)]

    monkeypatch.setattr(time, "sleep", looked)
    client.result_batches = batches  # type: ignore[attr-defined]
    client.summaries = [job(5, "running")]
    client.rows[5] = [task(0), task(1), task(2, "running")] if how else []
    assert _run(["results", "5", "--follow", "--process", *how, "-o", "{index}"]) == 0
    assert seen == [[(["0", "1"], [(0, 1)])]]
    assert consumer.marked[1:] == [(["0", "1", "2"], [(2, 2)])]


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_given_an_end_while_something_is_written_then_what_was_written_before_counts(
    error: type[BaseException], client: ClientDouble, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_PROCESSED_EVERY_S", 1000.0)
    write = output.write

    def breaking(line: str, is_json: bool) -> None:
        if line == "1":
            raise error
        write(line)

    monkeypatch.setattr(output, "write", breaking)
    with contextlib.suppress(error):
        _run(["results", "5", "--process", "-o", "{index}"])
    assert consumer.marked == [(["0"], [(0, 0)])]
