"""What a task prints: whole lines, nothing that looks like something else, and no more than the bound."""

import io
import logging
import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from cyclone.controller.output import TaskOutput
from cyclone.protocol.limits import LOG_LINE_CHARS_MAX

BOUND = 100
Said = Callable[[], str]


class Worker:
    """The other end; ``row`` is where it says that it is."""

    def __init__(self) -> None:
        readable, self.printing = os.pipe()
        self.output = TaskOutput(readable, BOUND)
        self.row = (1, 11)

    def prints(self, data: bytes) -> None:
        os.write(self.printing, data)
        assert self.output.relay(lambda: self.row)

    def ends(self) -> None:
        os.close(self.printing)
        self.output.close(lambda: self.row)


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
    worker = Worker()
    worker.output = TaskOutput(worker.output.fileno(), 0)
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
    worker.row = (2, 12)
    worker.prints(b"\n" + b"y" * (BOUND - 2) + b"\n")
    assert said() == "x" * BOUND + "\n" + "y" * (BOUND - 2) + "\n"


def test_given_a_task_that_has_printed_too_much_when_the_row_changes_then_what_was_in_the_pipe_is_still_its_own(
    worker: Worker, said: Said, caplog: pytest.LogCaptureFixture
) -> None:
    worker.prints(b"x" * BOUND + b"1234")
    worker.row = (2, 12)
    worker.prints(b"5678")
    assert caplog.messages == ["task=11 printed 8 bytes more, discarded"]
    worker.prints(b"of the next\n")
    assert said() == "x" * BOUND + "\nof the next\n"


def test_given_a_thread_that_prints_on_when_its_task_has_ended_then_the_bound_stays(worker: Worker, said: Said) -> None:
    worker.prints(b"x" * (BOUND - 1) + b"\n")
    for _ in range(5):
        worker.prints(b"on and on\n")
        worker.output.settle(1, executing=False)
    assert said() == "x" * (BOUND - 1) + "\n"


def test_given_a_worker_that_closes_its_end_then_nothing_more_is_to_be_read(worker: Worker) -> None:
    os.close(worker.printing)
    assert not worker.output.relay(lambda: worker.row)
    assert worker.output.closed
