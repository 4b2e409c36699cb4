"""Ending a task that may have gone on by the time its worker stands still: only what was seen is ended."""

import signal

import pytest

from cyclone.controller import pipe
from cyclone.controller.pool import WorkerProcess
from cyclone.controller.watch import Progress

SEEN_S = 100.0


class Still(WorkerProcess):
    """A worker process that stands still where a test wants it, without a process."""

    def __init__(self, seq: int, stage: int, started_s: float) -> None:
        self.words = memoryview(bytearray(pipe.WORDS * 8)).cast("Q")
        self.words[pipe.LIMIT_SEQ] = pipe.NO_LIMIT
        self.words[pipe.EXECUTING_SEQ], self.words[pipe.EXECUTING] = seq, stage
        self._times = pipe.seconds_view(self.words)
        self._times[pipe.STARTED_S] = started_s
        self.got: list[signal.Signals] = []

    def _stop(self) -> bool:
        return True

    def _signal(self, number: signal.Signals) -> None:
        assert number == signal.SIGCONT

    def _signal_group(self, number: signal.Signals) -> None:
        self.got.append(number)


@pytest.mark.parametrize(
    ("seq", "stage", "started_s", "since_s", "ended"),
    [
        pytest.param(7, pipe.RUNNING, SEEN_S, SEEN_S, True, id="it still runs"),
        pytest.param(7, pipe.PREPARING, SEEN_S, SEEN_S, True, id="it is still being prepared"),
        pytest.param(7, pipe.RUNNING, SEEN_S + 1, SEEN_S, False, id="its preparation has ended just now"),
        pytest.param(7, pipe.RUNNING, SEEN_S + 1, None, True, id="whatever it does"),
        pytest.param(8, pipe.RUNNING, SEEN_S, SEEN_S, False, id="it is in the next one"),
        pytest.param(7, 0, SEEN_S, SEEN_S, False, id="it is through with it"),
    ],
)
def test_given_a_worker_that_stands_still_then_its_task_is_ended_if_it_is_what_was_seen(
    seq: int, stage: int, started_s: float, since_s: float | None, ended: bool
) -> None:
    worker = Still(seq, stage, started_s)
    assert worker.end_task(7, since_s) is ended
    assert worker.got == [signal.SIGTERM] * ended
    assert worker.words[pipe.LIMIT_SEQ] == (8 if ended else pipe.NO_LIMIT)


@pytest.mark.parametrize(
    ("stage", "executing", "preparing"), [(0, False, False), (pipe.RUNNING, True, False), (pipe.PREPARING, True, True)]
)
def test_given_a_stage_then_it_is_told(stage: int, executing: bool, preparing: bool) -> None:
    assert Still(7, stage, SEEN_S).progress() == Progress(7, SEEN_S, executing, preparing)
