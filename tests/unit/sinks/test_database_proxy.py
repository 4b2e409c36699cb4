"""The database proxy's consumer: a real spool before it, and a store that does what a test tells it."""

import contextlib
import json
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cyclone.errors import CycloneError
from cyclone.sinks.database_proxy import DatabaseProxy
from cyclone.sinks.layouts import load_layout
from cyclone.sinks.rejects import RejectFile
from cyclone.sinks.spool import Spool, SpoolFull
from cyclone.sinks.stores.base import Batch, Outcome, Rejected, StoreUnavailable
from tests.support.procfs import wait_until
from tests.support.sink_sender import JOURNAL, block, probe

LAYOUT = load_layout("lustre")
PROBES = LAYOUT.tables[0]


class OneTenth(random.Random):
    """No chance: a retry comes after a twentieth of a second, and not after half of one."""

    def uniform(self, a: float, b: float) -> float:
        return 0.02


class FakeStore:
    """Keeps what is committed. ``trouble`` is raised once each by the step that it names."""

    def __init__(self) -> None:
        self.trouble: list[tuple[str, Exception]] = []
        self.bad: set[str] = set()
        self.batches: list[list[Any]] = []
        self.known: set[int] = set()
        self.open = threading.Event()
        self.open.set()
        self._pending: list[Any] = []
        self.closed = False

    def _step(self, name: str) -> None:
        self.open.wait(10.0)
        if self.trouble and self.trouble[0][0] == name:
            raise self.trouble.pop(0)[1]

    def has(self, journal_id: str, number: int) -> bool:
        self._step("has")
        return number in self.known

    def insert(self, batch: Batch) -> Outcome:
        self._step("insert")
        rows = batch.rows.get(PROBES, [])
        rejected = [Rejected(PROBES, place, "bad") for place, cells in enumerate(rows) if cells[1] in self.bad]
        self._pending = [cells[1] for cells in rows if cells[1] not in self.bad]
        return Outcome(rejected, {PROBES: len(self._pending)}, 0)

    def commit(self) -> None:
        self._step("commit")
        self.batches.append(self._pending)

    def close(self) -> None:
        self.closed = True


class Bench:
    """A consumer with all that it needs."""

    def __init__(self, folder: Path, spool: Spool) -> None:
        self.folder = folder
        self.spool = spool
        self.store = FakeStore()
        self.wakes = 0
        self._number = 0

    def proxy(self, count: int = 3, timeout_s: float = 0.01) -> DatabaseProxy:
        rejects = RejectFile(self.folder / "rejected.jsonl")
        return DatabaseProxy(self.spool, self.store, LAYOUT, rejects, count, timeout_s, OneTenth())

    def put(self, *records: dict[str, Any] | None, name: str = "lustre_ost_io") -> None:
        self._number += 1
        self.spool.put(JOURNAL, self._number, [block(self._number * 100, records, name)])

    def wake(self) -> None:
        self.wakes += 1

    def rejected(self) -> list[dict[str, Any]]:
        path = self.folder / "rejected.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with contextlib.closing(Spool(tmp_path / "spool", 1 << 30)) as spool:
        yield Bench(tmp_path, spool)


@contextlib.contextmanager
def running(bench: Bench, proxy: DatabaseProxy) -> Iterator[None]:
    proxy.start(bench.wake)
    try:
        yield
    finally:
        proxy.stop(5.0)
    assert bench.store.closed


def until(condition: Callable[[], bool]) -> None:
    wait_until(condition, "the consumer does it", 5.0)


def names(*numbers: int) -> list[str]:
    return [f"OST{number:04x}" for number in numbers]


def test_given_blocks_when_they_are_enough_then_they_are_stored_at_once_and_the_spool_forgets_them(
    bench: Bench,
) -> None:
    for number in range(4):
        bench.put(probe(number))
    proxy = bench.proxy(count=3, timeout_s=3600)
    with running(bench, proxy):
        until(lambda: bool(bench.store.batches))
        assert bench.store.batches == [names(0, 1, 2)]
        until(lambda: bench.spool.waiting_blocks == 1)
    # The stop flushes what has waited for others.
    assert bench.store.batches == [names(0, 1, 2), names(3)]
    assert bench.spool.waiting_blocks == 0
    assert proxy.counts.stored == Counter(lustre_ost_io=4)
    assert sum(proxy.counts.flush_seconds.buckets().counts) == 2


def test_given_a_row_alone_when_the_time_is_up_then_it_is_stored_without_others(bench: Bench) -> None:
    proxy = bench.proxy(count=1000, timeout_s=0.05)
    with running(bench, proxy):
        bench.put(probe(1))
        proxy.stored(time.monotonic())
        until(lambda: bench.store.batches == [names(1)])
        bench.put(probe(2))
        proxy.stored(time.monotonic())
        until(lambda: bench.store.batches == [names(1), names(2)])


def test_given_results_without_records_then_the_spool_forgets_them_and_nothing_is_stored(bench: Bench) -> None:
    bench.put(None, None)
    with running(bench, bench.proxy()):
        until(lambda: bench.spool.waiting_blocks == 0)
    assert bench.store.batches == []


@pytest.mark.parametrize("step", ["has", "insert", "commit"])
def test_given_a_store_that_is_away_when_it_is_back_then_every_row_is_stored_and_both_are_said_once(
    bench: Bench, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.store.trouble = [(step, StoreUnavailable("gone")), (step, StoreUnavailable("gone"))]
    bench.put(probe(1))
    proxy = bench.proxy()
    with running(bench, proxy):
        until(lambda: bench.spool.waiting_blocks == 0)
    assert bench.store.batches == [names(1)]
    assert proxy.counts.errors == 2
    assert [record.message.split(" after")[0] for record in caplog.records] == [
        "cannot store, rows stay in the spool and it is tried again: gone",
        "storing again",
    ]
    assert bench.wakes >= 2


def test_given_an_outage_when_asked_then_the_state_says_so_and_why(bench: Bench) -> None:
    bench.store.trouble = [("insert", StoreUnavailable("gone"))] * 1000
    bench.put(probe(1))
    proxy = bench.proxy()
    assert proxy.state() == "0 rows stored"
    with running(bench, proxy):
        until(lambda: "cannot store since 0 s: gone" in proxy.state())
    # A stop does not wait for who is away.
    assert bench.spool.waiting_blocks == 1


def test_given_bad_rows_when_the_batch_is_tried_again_and_again_then_each_is_in_the_file_once(bench: Bench) -> None:
    bench.store.bad = {"OST0002"}
    bench.store.trouble = [("commit", StoreUnavailable("gone"))] * 3
    bench.put(probe(1), probe(2), probe(3) | {"ost": "OST12345678"})
    proxy = bench.proxy()
    with running(bench, proxy):
        until(lambda: bench.spool.waiting_blocks == 0)
    assert bench.store.batches == [names(1)]
    found = [(line["table"], line["task_id"], line["error"]) for line in bench.rejected()]
    assert found == [
        ("lustre_ost_io", 102, "ost CHAR(7): 'OST12345678' is longer than 7 characters"),
        ("lustre_ost_io", 101, "bad"),
    ]
    assert bench.rejected()[1]["fields"] == probe(2)
    assert proxy.counts.rejected == Counter(lustre_ost_io=2)
    assert proxy.state() == "1 rows stored, 2 rejected"


def test_given_a_file_of_rejects_that_cannot_be_written_then_the_batch_waits(bench: Bench) -> None:
    bench.store.bad = {"OST0001"}
    bench.put(probe(1))
    (bench.folder / "rejected.jsonl").mkdir()
    proxy = bench.proxy()
    with running(bench, proxy):
        until(lambda: proxy.counts.errors > 0)
        assert bench.store.batches == []
        (bench.folder / "rejected.jsonl").rmdir()
        until(lambda: bench.spool.waiting_blocks == 0)
    assert len(bench.rejected()) == 1


def test_given_blocks_that_the_store_knows_then_they_are_passed_over(bench: Bench) -> None:
    for number in (1, 2):
        bench.put(probe(number))
    bench.store.known = {1}
    with running(bench, bench.proxy()):
        until(lambda: bench.spool.waiting_blocks == 0)
    assert bench.store.batches == [names(2)]


def test_given_records_of_no_table_then_they_are_counted_and_said_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.put(probe(1), probe(2), name="else")
    proxy = bench.proxy()
    with running(bench, proxy):
        until(lambda: bench.spool.waiting_blocks == 0)
    assert proxy.counts.unknown == {"else": 2}
    assert [record.message for record in caplog.records] == [
        "records called 'else' are in no table of layout lustre: not stored"
    ]


def test_given_a_block_that_cannot_be_read_then_its_loss_is_in_the_file_and_the_next_one_is_stored(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.spool.put(JOURNAL, 1, [b"rubbish", block(5, [probe(1)])])
    proxy = bench.proxy()
    with running(bench, proxy):
        until(lambda: bench.spool.waiting_blocks == 0)
    assert bench.store.batches == [names(1)]
    [line] = bench.rejected()
    assert line["error"].startswith("UnreadableRow: this block cannot be read")
    assert "a row of (unreadable) is rejected" in caplog.text


def test_given_names_that_a_task_makes_up_then_they_are_counted_and_said_in_bounded_space(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(105):
        bench.put({}, name=f"n{number}")
    proxy = bench.proxy()
    with running(bench, proxy):
        until(lambda: bench.spool.waiting_blocks == 0)
    assert len(proxy.counts.unknown) == 101
    assert proxy.counts.unknown["..."] == 5
    assert len(caplog.records) == 101


def test_given_a_spool_without_room_to_forget_when_there_is_again_then_nothing_is_stored_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, troubles = bench.spool.done, [SpoolFull("disk"), SpoolFull("disk")]

    def trouble(sequence: int) -> None:
        if troubles:
            raise troubles.pop()
        done(sequence)

    monkeypatch.setattr(bench.spool, "done", trouble)
    bench.put(probe(1))
    proxy = bench.proxy()
    with running(bench, proxy):
        until(lambda: bench.spool.waiting_blocks == 0)
    assert bench.store.batches == [names(1)]
    assert proxy.counts.errors == 2


@pytest.mark.parametrize("error", [CycloneError("spool broken"), ZeroDivisionError("of ours")])
def test_given_an_error_that_nothing_mends_then_the_state_raises_it_and_the_loop_is_woken(
    bench: Bench, error: Exception
) -> None:
    bench.store.trouble = [("insert", error)]
    bench.put(probe(1))
    proxy = bench.proxy()
    with running(bench, proxy):
        until(lambda: bench.wakes > 0)
        with pytest.raises(CycloneError, match=str(error)):
            proxy.state()
    assert bench.spool.waiting_blocks == 1


def test_given_a_store_that_hangs_when_stopped_then_the_stop_returns_in_time_and_the_block_stays(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.store.open.clear()
    bench.put(probe(1))
    proxy = bench.proxy()
    proxy.start(bench.wake)
    began = time.monotonic()
    proxy.stop(0.05)
    assert time.monotonic() - began < 2.0
    assert "has not answered within stop_timeout" in caplog.text
    assert bench.spool.waiting_blocks == 1
    bench.store.open.set()
    until(lambda: bench.store.closed)


def test_given_large_rows_then_they_are_stored_before_they_are_many(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cyclone.sinks.database_proxy._BATCH_BYTES_MAX", 1000)
    bench.put(probe(1, error="x" * 800))
    with running(bench, bench.proxy(count=1000, timeout_s=3600)):
        until(lambda: bench.store.batches == [names(1)])


def test_given_a_stop_while_much_is_passed_over_then_what_is_behind_it_is_stored_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cyclone.sinks.database_proxy._BATCH_BYTES_MAX", 1000)
    # A block at a time.
    monkeypatch.setattr("cyclone.sinks.spool._TAKEN_BYTES_MAX", 1)
    bench.put(probe(1, error="x" * 1000))
    bench.put({"text": "x" * 1000}, name="else")
    bench.put(probe(2))
    bench.store.open.clear()
    proxy = bench.proxy(count=1000, timeout_s=3600)
    proxy.start(bench.wake)
    stopping = threading.Thread(target=proxy.stop, args=(5.0,))
    stopping.start()
    until(lambda: proxy._stop_at is not None)
    bench.store.open.set()
    stopping.join()
    assert bench.store.batches == [names(1), names(2)]
