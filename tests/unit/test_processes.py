"""How ends of processes are told."""

import signal

import pytest

from cyclone.processes import end_text, signal_name


@pytest.mark.parametrize(
    ("status", "text"),
    [(0, "exit code 0"), (78, "exit code 78"), (-9, "signal 9 (SIGKILL)"), (-40, "signal 40")],
)
def test_given_a_return_code_then_it_is_told_as_text(status: int, text: str) -> None:
    assert end_text(status) == text


@pytest.mark.parametrize(("number", "name"), [(signal.SIGSEGV, "SIGSEGV"), (11, "SIGSEGV"), (40, ""), (0, "")])
def test_given_a_signal_then_it_has_its_name_or_none(number: int, name: str) -> None:
    assert signal_name(number) == name
