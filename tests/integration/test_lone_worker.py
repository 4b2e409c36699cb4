"""A worker process by itself: what becomes of each row of a batch, and what it publishes meanwhile."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cyclone.controller import pipe
from cyclone.controller.worker import EX_IOERR
from cyclone.protocol import limits, states
from tests.support.lone_worker import LoneWorker, args, columns_of, outcomes_of, records_of


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[LoneWorker]:
    worker = LoneWorker(tmp_path)
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneWorker]:
    """For the tests that leave it as it was."""
    worker = LoneWorker(tmp_path_factory.mktemp("worker"))
    yield worker
    worker.close()


@pytest.fixture
def started(tmp_path: Path) -> Path:
    """Tells of a task that hangs."""
    os.mkfifo(tmp_path / "started")
    return tmp_path / "started"


@pytest.mark.parametrize(
    "value", [None, True, False, 0, -1, 2**64 - 1, -(2**63), 0.5, "", "text", b"\0", [1, [2]], {"a": [None]}]
)
def test_given_a_value_that_has_a_form_then_it_comes_back_as_it_is(shared: LoneWorker, value: Any) -> None:
    ((status, found),) = shared.run(args("echo", value))
    assert (status, found, type(found)) == (states.COMPLETED, value, type(value))


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        pytest.param(args("shift", 64), "NotSerialisable", "more than 64 bits", id="an integer of 65 bits"),
        pytest.param(args("fail", "of its own"), "OverflowError", "of its own", id="an OverflowError of the task's"),
        pytest.param(args("text", limits.VALUE_BYTES_MAX), "PayloadTooLarge", "the limit is", id="too much text"),
        pytest.param(b"\x92\xa4echo", "DecodeError", "truncated", id="truncated properties"),
        pytest.param(args("echo") + b"\x90", "DecodeError", "trailing", id="properties and more"),
        pytest.param(b"\x05", "ValidationError", "Expected `array`", id="a number for properties"),
        pytest.param(b"\x81\xa4what\xa4echo", "ValidationError", "Expected `array`", id="a map for properties"),
        pytest.param(b"\x90", "TypeError", "what", id="a property too few"),
        pytest.param(b"\x93\xa4echo\xc0\xc0", "TypeError", "positional", id="a property too many"),
    ],
)
def test_given_a_row_that_fails_then_that_is_said_of_it_and_its_neighbours_have_their_own_values(
    shared: LoneWorker, row: bytes, error: str, message: str
) -> None:
    first, (status, record), *others = shared.run(args("echo", 1), row, args("echo", 3), row, args("echo", 5))
    assert status == states.FAILED
    assert record.type.rpartition(".")[2] == error
    assert message in record.message
    assert [first, others[0], others[2]] == [(states.COMPLETED, value) for value in (1, 3, 5)]
    assert others[1][0] == states.FAILED


def test_given_a_class_that_is_not_allowed_then_each_row_is_refused(shared: LoneWorker) -> None:
    outcomes = shared.run(args("echo"), args("echo"), task_class="tasks.empty:EmptyTask")
    assert [status for status, _ in outcomes] == [states.REFUSED] * 2


def test_given_records_then_each_travels_with_the_result_of_its_row_also_of_one_that_failed(worker: LoneWorker) -> None:
    rows = [[], [1, 2], [], [3, -1], [4]]
    base = worker.start(*(args("make_records", sizes) for sizes in rows))
    reports = worker.reports()
    assert records_of(reports, base) == [(1, "sample", 1), (1, "sample", 2), (3, "sample", 3), (4, "sample", 4)]
    assert bytes(status for done in reports for status in done.statuses) == b"\0\0\0\1\0"


def test_given_many_records_then_there_are_several_reports_and_each_record_is_in_its_row(worker: LoneWorker) -> None:
    size = limits.BATCH_BYTES_TARGET // 2 + 1
    base = worker.start(*[args("make_records", [size])] * 5)
    reports = worker.reports()
    assert records_of(reports, base) == [(row, "sample", size) for row in range(5)]
    assert len(reports) == 3


def test_given_more_records_than_a_task_may_make_then_it_fails_with_those_before_and_the_next_is_as_ever(
    worker: LoneWorker,
) -> None:
    half = limits.RECORDS_BYTES_MAX // 2 - 100
    base = worker.start(args("make_records", [half, half, half]), args("make_records", [half, half]))
    reports = worker.reports()
    assert records_of(reports, base) == [(row, "sample", half) for row in (0, 0, 1, 1)]
    (failure, *_) = outcomes_of(reports[0])
    assert (failure.type, failure.message) == (
        "ValueError",
        "the record 'sample' is one too many: all of a task take 2097152 bytes at most",
    )
    assert max(len(done.body) for done in reports) < limits.BODY_BYTES_MAX


def test_given_large_values_then_there_are_several_reports_and_each_failure_is_in_its_row(worker: LoneWorker) -> None:
    size = limits.BATCH_BYTES_TARGET // 2 + 1
    rows = [args("fail", "0"), args("text", size), args("text", size), args("fail", "3"), args("echo", 4)]
    worker.start(*rows)
    reports = worker.reports()
    assert [(done.base, done.statuses) for done in reports] == [(1, b"\1\0\0"), (4, b"\1\0")]


def test_given_failures_with_long_messages_then_they_count_as_large_values(worker: LoneWorker) -> None:
    rows = [args("fail", "x" * 100_000)] * 25
    worker.start(*rows)
    assert len(worker.reports()) > 1


def test_given_a_limit_then_no_row_from_it_on_starts_and_the_number_says_where_it_stopped(worker: LoneWorker) -> None:
    worker.words[pipe.LIMIT_SEQ] = 4
    assert worker.run(*(args("echo", value) for value in range(10))) == [
        (states.COMPLETED, value) for value in (0, 1, 2)
    ]
    assert worker.words[pipe.EXECUTING_SEQ] == 4
    assert worker.words[pipe.EXECUTING] == 0


def test_given_a_row_in_execution_then_its_number_and_start_are_published_and_a_nudge_brings_what_is_finished(
    worker: LoneWorker, started: Path, tmp_path: Path
) -> None:
    before = time.monotonic()
    base = worker.start(args("echo"), args("fail"), args("hang", str(tmp_path)), args("echo"))
    assert started.read_bytes() == b"started"
    assert (worker.words[pipe.EXECUTING_SEQ], worker.words[pipe.EXECUTING]) == (base + 2, 1)
    assert before < pipe.seconds_view(worker.words)[pipe.STARTED_S] < time.monotonic()
    worker.nudge()
    done = worker.report()
    assert (done.base, done.statuses, done.ended) == (base, b"\0\1", False)


def test_given_sigterm_in_a_task_then_what_is_finished_is_reported_and_the_task_tidies_up(
    worker: LoneWorker, started: Path, tmp_path: Path
) -> None:
    worker.start(args("echo", 1), args("hang", str(tmp_path)))
    assert started.read_bytes() == b"started"
    worker.process.terminate()
    assert worker.process.wait(10) == 128 + signal.SIGTERM
    assert worker.report().statuses == b"\0"
    assert (tmp_path / "tidied").exists()


def test_given_sigterm_while_it_waits_then_it_ends_with_the_same_code(worker: LoneWorker) -> None:
    assert worker.run(args("echo", 1)) == [(states.COMPLETED, 1)]
    worker.process.terminate()
    assert worker.process.wait(10) == 128 + signal.SIGTERM


def test_given_a_task_that_only_closes_the_pipe_then_it_ends_in_exactly_that_row(worker: LoneWorker) -> None:
    rows = [args("echo")] * 3 + [args("close", worker.channel_fd)] + [args("echo")] * 1000
    base = worker.start(*rows)
    assert worker.process.wait(10) == EX_IOERR
    assert (worker.words[pipe.EXECUTING_SEQ], worker.words[pipe.EXECUTING]) == (base + 3, 1)


def test_given_a_long_row_among_short_ones_then_it_is_measured_by_itself(worker: LoneWorker) -> None:
    worker.start(*[args("echo")] * 500, args("busy", 0.02), *[args("echo")] * 500)
    (done,) = worker.reports()
    columns = columns_of(done)
    measured = {row: (cpu_s, peak) for row, cpu_s, peak in columns.usage}
    cpu_s, peak = measured[500]
    assert 0.018 < cpu_s < 0.03
    assert peak > 1 << 20
    assert 0 < columns.cpu_s < 0.02
