"""What a task prints: whole lines, nothing that looks like something else, and no more than the bound."""

import io
import logging
import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from cyclone.controller.output import Rows, TaskOutput
from cyclone.controller.printed import DROPPED, LOG, MARK_BYTES, marked
from cyclone.protocol.limits import LOG_LINE_CHARS_MAX
from cyclone.protocol.messages import CUT, STDERR, STDOUT, TaskRange

BOUND = 100
MARK = bytes(range(0xF0, 0xF0 + MARK_BYTES))
Said = Callable[[], str]
Kept = list[tuple[int, int, int, bytes]]


class Worker:
    """The other end; ``row`` is where it says that it is, of the tasks from 11 on."""

    def __init__(self, bytes_max: int = BOUND, keeps: bool = False, is_logged: bool = True) -> None:
        readable, self.printing = os.pipe()
        self.kept: Kept = []
        self.row = 1
        # Rows from here on are out at the worker.
        self.out_from = 1
        rows = Rows(lambda: self.row, self._lease)
        self.output = TaskOutput(readable, MARK, rows, bytes_max, self._keep if keeps else None, is_logged)

    def prints(self, data: bytes) -> None:
        os.write(self.printing, data)
        assert self.output.relay()

    def ends(self) -> None:
        os.close(self.printing)
        self.output.close()

    def _lease(self, seq: int) -> TaskRange | None:
        return TaskRange(10 + seq, 1, 7, 2) if seq >= self.out_from else None

    def _keep(self, lease: TaskRange, offset: int, stream: int, data: bytes) -> None:
        assert (lease.epoch, lease.attempt) == (7, 2)
        self.kept.append((lease.first, offset, stream, data))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    stream = io.StringIO()
    # Not in ``sys``: pytest puts its own there before each phase of a test.
    monkeypatch.setattr("cyclone.controller.output.sys", SimpleNamespace(stderr=stream))
    return stream.getvalue


@pytest.fixture
def worker() -> Iterator[Worker]:
    one = Worker()
    yield one
    if not one.output.closed:
        one.ends()


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param([b"one\ntwo\n"], "one\ntwo\n", id="lines"),
        pytest.param([b"on", b"e\ntw", b"o\n"], "one\ntwo\n", id="lines in pieces"),
        pytest.param([b"no end"], "", id="a line without an end waits for it"),
        pytest.param([b"\xc3", b"\xa9\n"], "é\n", id="a character in pieces"),
        pytest.param([b"\xff\n"], "\\xff\n", id="not text"),
        pytest.param([b"a\r\nb\tc\n"], "a\nb\tc\n", id="ends of lines of another system"),
        pytest.param([b"\x1b[2J\rforged\x00\n"], "\\x1b[2J\\rforged\\x00\n", id="control characters"),
    ],
)
def test_given_output_then_whole_lines_are_passed_on(
    worker: Worker, said: Said, pieces: list[bytes], expected: str
) -> None:
    for piece in pieces:
        worker.prints(piece)
    assert said() == expected


def test_given_a_line_without_an_end_when_the_worker_ends_then_it_is_passed_on(worker: Worker, said: Said) -> None:
    os.write(worker.printing, b"last words")
    worker.ends()
    assert said() == "last words\n"


def test_given_a_line_that_is_too_long_then_it_is_broken(said: Said) -> None:
    worker = Worker(bytes_max=0)
    worker.prints(b"x" * (LOG_LINE_CHARS_MAX + 1))
    worker.ends()
    assert said() == "x" * (LOG_LINE_CHARS_MAX + 1) + "\n"


def test_given_more_than_the_bound_then_the_rest_is_counted_and_said_once_when_the_task_has_ended(
    worker: Worker, said: Said, caplog: pytest.LogCaptureFixture
) -> None:
    worker.prints(b"x" * (BOUND - 1) + b"\n")
    worker.prints(b"more\n")
    worker.prints(b"still more\n")
    assert said() == "x" * (BOUND - 1) + "\n"
    assert worker.output.discarding
    worker.output.settle(1, executing=True)
    assert caplog.messages == []
    worker.output.settle(1, executing=False)
    worker.output.settle(1, executing=False)
    assert caplog.record_tuples == [("cyclone.controller", logging.WARNING, "task=11 printed 16 bytes more, discarded")]


def test_given_another_row_then_it_has_a_bound_of_its_own(worker: Worker, said: Said) -> None:
    worker.prints(b"x" * BOUND)
    worker.row = 2
    worker.prints(b"\n" + b"y" * (BOUND - 2) + b"\n")
    assert said() == "x" * BOUND + "\n" + "y" * (BOUND - 2) + "\n"


def test_given_a_task_that_has_printed_too_much_when_the_row_changes_then_what_was_in_the_pipe_is_still_its_own(
    worker: Worker, said: Said, caplog: pytest.LogCaptureFixture
) -> None:
    worker.prints(b"x" * BOUND + b"1234")
    worker.row = 2
    worker.prints(b"5678")
    assert caplog.messages == ["task=11 printed 8 bytes more, discarded"]
    worker.prints(b"of the next\n")
    assert said() == "x" * BOUND + "\nof the next\n"


@pytest.mark.parametrize("how", ["the row changes", "it is settled"])
def test_given_a_last_byte_that_could_begin_a_mark_then_it_is_counted_with_all_others(
    worker: Worker, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker.prints(b"x" * BOUND + b"123" + MARK[:2])
    if how == "the row changes":
        worker.row = 2
        worker.prints(MARK[:1])
    else:
        worker.output.drain()
        worker.output.settle(1, executing=False)
    worker.output.settle(worker.row, executing=False)
    assert caplog.messages == [f"task=11 printed {6 if how == 'the row changes' else 5} bytes more, discarded"]


def test_given_a_thread_that_prints_on_when_its_task_has_ended_then_the_bound_stays(worker: Worker, said: Said) -> None:
    worker.prints(b"x" * (BOUND - 1) + b"\n")
    for _ in range(5):
        worker.prints(b"on and on\n")
        worker.output.settle(1, executing=False)
    assert said() == "x" * (BOUND - 1) + "\n"


def test_given_a_worker_that_closes_its_end_then_nothing_more_is_to_be_read(worker: Worker) -> None:
    os.close(worker.printing)
    assert not worker.output.relay()
    assert worker.output.closed


def _framed(seq: int, stream: int, data: bytes) -> bytes:
    return b"".join(marked(MARK, seq, stream, data))


def test_given_marks_then_each_piece_is_kept_for_the_task_of_its_row_behind_what_that_has_printed() -> None:
    worker = Worker(keeps=True, is_logged=False)
    worker.row = 3
    worker.prints(_framed(1, STDOUT, b"one\n") + _framed(1, STDERR, b"two\n") + _framed(2, STDOUT, b"three\n"))
    worker.ends()
    assert worker.kept == [(11, 0, STDOUT, b"one\n"), (11, 4, STDERR, b"two\n"), (12, 0, STDOUT, b"three\n")]


@pytest.mark.parametrize(
    ("row", "printed", "expected"),
    [
        pytest.param(2, b"raw", [(12, b"raw")], id="alone: of the row that the worker is in"),
        pytest.param(3, _framed(1, STDOUT, b"a") + b"raw" + _framed(1, STDOUT, b"b"), [(11, b"arawb")], id="within"),
        pytest.param(3, b"raw" + _framed(2, STDOUT, b""), [(12, b"raw")], id="before a mark that is nothing more"),
        pytest.param(3, b"raw" + _framed(2, STDOUT, b"a"), [(12, b"rawa")], id="before a mark: not of a later row"),
        pytest.param(2, _framed(1, STDOUT, b"a") + b"raw", [(11, b"a"), (12, b"raw")], id="behind"),
    ],
)
def test_given_bytes_without_a_mark_then_they_belong_to_the_row_that_was_there(
    row: int, printed: bytes, expected: list[tuple[int, bytes]]
) -> None:
    worker = Worker(keeps=True, is_logged=False)
    worker.row = row
    worker.prints(printed)
    worker.ends()
    found: dict[int, bytes] = {}
    for task_id, offset, _, data in worker.kept:
        assert offset == len(found.get(task_id, b""))
        found[task_id] = found.get(task_id, b"") + data
    assert list(found.items()) == expected


@pytest.mark.parametrize(
    ("keeps", "is_logged", "expected"),
    [
        pytest.param(True, False, "warned\n", id="kept: what is logged is the log's"),
        pytest.param(True, True, "printed\nwarned\n", id="both"),
        pytest.param(False, True, "printed\nwarned\n", id="nobody keeps it"),
    ],
)
def test_given_output_that_is_kept_then_the_log_has_what_it_is_to_have(
    said: Said, keeps: bool, is_logged: bool, expected: str
) -> None:
    worker = Worker(keeps=keeps, is_logged=is_logged)
    worker.prints(_framed(1, STDOUT, b"printed\n") + _framed(1, LOG, b"warned\n"))
    worker.ends()
    assert said() == expected
    assert [data for *_, data in worker.kept] == ([b"printed\n", b"warned\n"] if keeps else [])


def test_given_what_the_worker_has_dropped_already_then_it_counts_with_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = Worker(keeps=True, is_logged=False)
    worker.prints(_framed(1, STDOUT, b"x" * (BOUND + 1)) + _framed(1, DROPPED, (1 << 40).to_bytes(8, "little")))
    worker.ends()
    assert caplog.messages == [f"task=11 printed {(1 << 40) + 1} bytes more, discarded"]


def test_given_what_is_of_no_task_then_it_is_in_the_log(said: Said) -> None:
    worker = Worker(keeps=True, is_logged=False)
    worker.out_from = 2
    worker.prints(_framed(1, STDOUT, b"of an import\n"))
    worker.ends()
    assert worker.kept == []
    assert said() == "of an import\n"


def test_given_more_than_the_bound_then_so_much_is_kept_of_each_task() -> None:
    worker = Worker(keeps=True, is_logged=False)
    for _ in range(3):
        worker.prints(_framed(1, STDOUT, b"x" * 60))
    worker.prints(_framed(2, STDOUT, b"y"))
    worker.ends()
    cut = b"80 more bytes were discarded: [processing] stdout_max_bytes = 100\n"
    assert worker.kept == [
        (11, 0, STDOUT, b"x" * 60),
        (11, 60, STDOUT, b"x" * 40),
        (11, 100, CUT, cut),
        (12, 0, STDOUT, b"y"),
    ]
    assert worker.output.discarded_bytes == 80
