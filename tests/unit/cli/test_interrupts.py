"""What ends a command that waits: each signal once, and after one that nobody repeats, a limit."""

import signal

import pytest

from cyclone.cli import interrupts, run_command
from cyclone.cli.interrupts import Interrupted
from cyclone.cli.run_command import _Run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_given_a_signal_then_it_is_raised_as_what_a_shell_makes_of_it(number: int) -> None:
    with pytest.raises(Interrupted) as raised, interrupts.raised():
        signal.raise_signal(number)
    assert raised.value.exit_code == 128 + number


class Away(_Run):
    """A run whose master is away: what is asked never ends."""

    def __init__(self, number: int) -> None:
        self._job_id = 1
        self._number = number
        self.cancelled = 0

    def _follow(self) -> None:
        if not self.cancelled:
            signal.raise_signal(self._number)

    def _cancel(self, reason: str) -> None:
        self.cancelled += 1
        signal.pause()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_given_a_run_that_somebody_ends_while_its_master_is_away_then_it_is_not_waited_for_long(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_command, "_LEAVE_S", 0.01)
    run = Away(number)
    with pytest.raises(Interrupted) as raised, interrupts.raised():
        run.code()
    assert (raised.value.exit_code, run.cancelled) == (128 + number, 1)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_given_ctrl_c_then_its_user_says_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_command, "_LEAVE_S", 0.01)
    monkeypatch.setattr(Away, "_cancel", lambda self, reason: setattr(self, "cancelled", 1))
    run = Away(signal.SIGINT)
    with interrupts.raised():
        assert run.code() == 130
