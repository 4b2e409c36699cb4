"""What the one task of a job prints, shown live while nodes come and go."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from cyclone.cli.live import Live
from cyclone.client.task_output import OutputReader
from cyclone.protocol.job_messages import OutputAnswer
from cyclone.protocol.messages import STDOUT


def printed(attempt: int, offset: int, data: bytes, size: int) -> OutputAnswer:
    return OutputAnswer(1, attempt, offset, [(STDOUT, data)], size, False, "running", "n1")


def nothing(attempt: int, state: str, text: str = "", away: bool = False) -> OutputAnswer:
    return OutputAnswer(1, attempt, 0, [], 0, state == "completed", state, "n1", text, away)


def followed(*answers: OutputAnswer) -> Live:
    """Live, when it has ended; the last answer is given again and again."""
    left = list(answers)
    reader = OutputReader(lambda attempt, offset, wait_s: left.pop(0) if len(left) > 1 else left[0])
    live = Live(cast(Any, SimpleNamespace(read_output=lambda *_: reader)), 7, is_on=True)
    live.follow()
    return live


AWAY = nothing(1, "running", "n1 is not connected", away=True)


def test_given_a_node_that_is_away_while_the_task_goes_on_then_the_next_attempt_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended = OutputAnswer(1, 2, 3, [], 3, True, "completed", "n1")
    live = followed(printed(1, 0, b"one", 3), AWAY, AWAY, printed(2, 0, b"two", 3), ended)
    assert live.shown_bytes(2, "stdout") == 3
    assert capsys.readouterr() == ("onetwo", "cyclone: attempt 1 has ended; this is attempt 2\n")


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(nothing(1, "running", "this node keeps nothing of what tasks print"), id="never"),
        pytest.param(nothing(1, "completed", "n1 is not connected", away=True), id="too late"),
    ],
)
def test_given_nothing_more_that_could_come_then_the_rest_is_left_to_the_result(last: OutputAnswer) -> None:
    assert followed(printed(1, 0, b"one", 3), last).shown_bytes(1, "stdout") == 3
