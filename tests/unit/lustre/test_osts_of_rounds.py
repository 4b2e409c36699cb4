"""Which OSTs a round has: those that there are, as far as anybody could tell."""

import logging
from typing import Any

import pytest

from cyclone import values
from cyclone.errors import ConfigError
from cyclone.lustre import rounds
from cyclone.lustre.lfs import Lfs, LfsError
from tests.support.lustre_calls import refusal
from tests.support.ost_rounds import INTERVAL_S, Rounds, Run, generator, run


class Checks:
    """What ``lfs check osts`` says, round by round."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, float, float]] = []
        monkeypatch.setattr(rounds, "CheckedOsts", self.made)

    def made(self, lfs: Lfs, target: str, max_age_s: float) -> "Checks":
        self.asked.append((target, max_age_s, lfs.timeout_s))
        return self

    def states(self) -> dict[int, str]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict.fromkeys(answer, "active")


def lustre(number: int, osts: str = "") -> Rounds:
    return generator(number, osts, monitoring={"local_mode": "no"})


def test_given_osts_that_come_and_go_then_each_round_has_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = Checks(monkeypatch, [0, 1], [0, 1, 2], [2])
    seen = run(lustre(3), monkeypatch)

    assert seen.osts() == [[0, 1], [0, 1, 2], [2]]
    # Who knows the OSTs of before waits for a check that hangs no longer than a quarter of the interval.
    assert checks.asked == [("lustrefs", 10.0, limit_s) for limit_s in (60.0, INTERVAL_S / 4, INTERVAL_S / 4)]


def test_given_selected_osts_then_those_that_vanish_later_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Checks(monkeypatch, [0, 1, 2, 3], [0, 3], [0, 1, 2, 3])

    assert run(lustre(3, "1-2"), monkeypatch).osts() == [[1, 2], [], [1, 2]]


def test_given_a_selected_ost_that_there_is_not_then_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Checks(monkeypatch, refusal("timeout"), [0, 1, 2])
    with pytest.raises(ConfigError, match=r"^\[lustre\] ost_select_list: lustrefs has no OST 7-8; it has 0-2$"):
        run(lustre(3, "1,7-8"), monkeypatch)


@pytest.mark.parametrize("error", [refusal("unknown", "a moment's fault"), OSError("a moment's fault")])
def test_given_a_check_that_fails_then_the_osts_are_those_of_before_and_only_the_first_round_is_skipped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    Checks(monkeypatch, error, [0, 1], refusal("not run", "a moment's fault"), [1])
    with caplog.at_level(logging.WARNING, "cyclone.generator"):
        seen = run(lustre(4), monkeypatch)

    assert seen.osts() == [[], [0, 1], [0, 1], [1]]
    assert seen.generator.summary()["skipped_rounds"] == 1
    assert [record.message for record in caplog.records] == [
        "round 1: a moment's fault; it is skipped",
        "round 3: a moment's fault; the OSTs are those of before: 0-1",
    ]


def test_given_a_check_that_fails_after_a_restart_then_the_osts_are_those_of_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Checks(monkeypatch, [0, 1, 2], refusal("timeout"))
    first = run(lustre(1), monkeypatch)
    second = Run(lustre(2), monkeypatch)
    second.generator.resume(values.decode(values.encode(first.generator.cursor())))

    assert second.run().osts() == [[], [0, 1, 2]]


def test_given_no_lfs_at_the_beginning_then_the_error_names_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    Checks(monkeypatch, LfsError("lfs: No such file", reason=refusal("not run").reason))
    with pytest.raises(ConfigError, match=r"^\[lustre\] lfs_bin = lfs, sudo = no: lfs: No such file$"):
        run(lustre(1), monkeypatch)
