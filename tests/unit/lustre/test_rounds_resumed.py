"""Rounds of probes after a restart: none is begun twice, and none is forgotten."""

from collections import Counter
from pathlib import Path

import pytest

from cyclone import values
from cyclone.errors import ConfigError
from tests.support.generator_lives import Book, live
from tests.support.ost_rounds import Record, Rounds, Run, SilentProbe, generator


def test_given_a_restart_then_the_round_goes_on_and_the_next_one_is_not_too_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Run(generator(2), monkeypatch)
    source = first.generator.generate()
    handed_out = [next(source) for _ in range(2)]
    second = Run(generator(2), monkeypatch)
    second.generator.resume(values.decode(values.encode(first.generator.cursor())))
    second.open += handed_out
    second.run()

    assert second.osts() == [[2, 3], [0, 1, 2, 3]]
    assert second.begun == [1000.0, 1060.0]
    assert second.generator.summary()["probes"] == 8


def test_given_a_restart_before_the_records_of_those_left_out_then_they_are_made_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Run(generator(2, "0-1"), monkeypatch)
    first.when_waiting = lambda: None
    source = first.generator.generate()
    # Two probes of the first round, and of the second, in which none has a result, one record.
    handed_out = [next(source) for _ in range(3)]
    second = Run(generator(2, "0-1"), monkeypatch)
    second.generator.resume(values.decode(values.encode(first.generator.cursor())))
    second.open += handed_out
    second.run()

    text = "left out of round 2: the probe of round 1 has no result yet"
    assert [(task.ost_idx, task.error) for task in [*handed_out, *second.rounds[0]] if isinstance(task, Record)] == [
        (0, text),
        (1, text),
    ]


def test_given_another_class_of_tasks_after_a_restart_then_the_error_says_what_to_do() -> None:
    other = generator(2, probe={"class": f"{SilentProbe.__module__}:SilentProbe"})
    with pytest.raises(
        ConfigError, match=r"^\[probe\] makes tasks of .*:SilentProbe, and this run was begun with .*:Probe:"
    ):
        other.resume(generator(2).cursor())


@pytest.mark.parametrize("seed", range(25))
def test_given_a_crash_at_any_time_then_each_ost_has_its_task_or_its_record_in_each_round(
    seed: int, tmp_path: Path
) -> None:
    number, osts = 5, 4
    lives: list[Rounds] = []

    def make() -> Rounds:
        lives.append(generator(number, f"0-{osts - 1}"))
        return lives[-1]

    book = live(Book(seed, value_of=lambda _: None), make, [seed, seed, 2 * seed])

    names = Counter(name.rpartition(":")[2] for name in book.classes)
    assert book.summary is not None
    assert book.summary["rounds"] == number
    # None is probed twice in a round, and none is forgotten.
    assert names["Probe"] + book.summary["left_out"] == number * osts
    assert book.summary["probes"] == names["Probe"]
    assert names["Record"] <= book.summary["left_out"]
    assert lives[-1].cursor()[2:6] == [[], [], [], []], "nothing counts as open for ever"
