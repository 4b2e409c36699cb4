"""Rounds of probes: on time, never mixed, each OST with its record."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from cyclone import BaseTask
from cyclone.errors import ConfigError
from cyclone.protocol import states
from tests.support.ost_rounds import Probe, Rounds, Run, SilentProbe, generator, run


def test_given_rounds_then_each_has_every_ost_on_a_steady_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = run(generator(3), monkeypatch)

    assert seen.osts() == [[0, 1, 2, 3]] * 3
    assert seen.begun == [1000.0, 1060.0, 1120.0]
    assert seen.generator.summary() == {"rounds": 3, "probes": 12, "failed": 0, "left_out": 0, "skipped_rounds": 0}


def test_given_a_round_that_is_begun_late_then_the_next_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Run(generator(4), monkeypatch)
    late = iter((0.0, 5.0, 0.0))

    def busy() -> None:
        seen.complete()
        seen.now_s += next(late, 0.0)

    seen.when_waiting = busy
    seen.run()

    assert seen.begun == [1000.0, 1060.0, 1125.0, 1180.0]


def test_given_rounds_that_could_not_be_begun_then_they_are_left_out_and_the_clock_stays(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Run(generator(3), monkeypatch)
    late = iter((150.0,))

    def busy() -> None:
        seen.complete()
        seen.now_s += next(late, 0.0)

    seen.when_waiting = busy
    with caplog.at_level(logging.WARNING, "cyclone.generator"):
        seen.run()

    assert seen.begun == [1000.0, 1210.0, 1240.0]
    assert "2 rounds were not begun in time, and are left out" in caplog.text


def test_given_an_ost_that_hangs_then_it_is_left_out_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Run(generator(4), monkeypatch)
    hanging: list[BaseTask] = []

    def answer() -> None:
        if not hanging:
            hanging.append(next(task for task in seen.open if isinstance(task, Probe) and task.ost_idx == 2))
        if len(seen.rounds) == 3:
            seen.answer(hanging[0])
        for task in list(seen.open):
            if task not in hanging:
                seen.answer(task)

    seen.when_waiting = answer
    with caplog.at_level(logging.WARNING, "cyclone.generator"):
        seen.run()

    assert seen.osts() == [[0, 1, 2, 3], [0, 1, 3], [0, 1, 3], [0, 1, 2, 3]]
    text = "left out of round {}: the probe of round 1 has no result yet"
    assert seen.records() == [[], [(2, text.format(2))], [(2, text.format(3))], []]
    assert seen.generator.summary()["left_out"] == 2
    assert caplog.text.count("OST 2 left out, still without a result") == 2


def test_given_workers_that_have_no_time_then_records_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Run(generator(50, "0-1"), monkeypatch)
    seen.when_waiting = lambda: None
    seen.run()

    assert len(seen.open) == 4
    assert seen.generator.summary()["left_out"] == 2 * 49


@pytest.mark.parametrize(
    ("status", "error", "kind", "text"),
    [
        (states.FAILED, "OST0000: write: EIO", "cyclone.lustre.probe.ProbeFailed", None),
        (states.FAILED, "no module", "PluginError", "failed: no module"),
        (states.TIMED_OUT, "exceeded its time limit", "TaskTimedOut", "timed_out: exceeded its time limit"),
        (states.QUARANTINED, "killed 3 workers", "Quarantined", "quarantined: killed 3 workers"),
        (states.CANCELLED, "by somebody", "TaskCancelled", "cancelled: by somebody"),
    ],
)
def test_given_a_probe_that_did_not_complete_then_there_is_one_record_of_it(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    error: str,
    kind: str,
    text: str | None,
) -> None:
    seen = Run(generator(1, "0"), monkeypatch)
    seen.when_waiting = lambda: seen.answer(seen.open[0], status, error, kind)
    with caplog.at_level(logging.WARNING, "cyclone.generator"):
        seen.run()

    assert [vars(task) for task in seen.made] == ([{"error": text, "started": 1000.0, "ost_idx": 0}] if text else [])
    assert seen.generator.summary()["failed"] == 1
    assert f"{states.STATE_NAMES[status].replace('_', ' ')}: {error}" in caplog.text


def test_given_an_ost_that_fails_for_long_then_the_log_has_its_begin_and_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Run(generator(4, "0"), monkeypatch)

    def answer() -> None:
        failed = (states.FAILED, "EIO", "cyclone.lustre.probe.ProbeFailed")
        seen.answer(seen.open[0], *(failed if len(seen.rounds) < 4 else ()))

    seen.when_waiting = answer
    with caplog.at_level(logging.INFO, "cyclone.generator"):
        seen.run()

    assert [record.message for record in caplog.records] == [
        "round 1: 1 OSTs are probed",
        "the probe of OST 0 failed: EIO",
        "round 2: 1 OSTs are probed",
        "round 3: 1 OSTs are probed",
        "round 4: 1 OSTs are probed",
        "OST 0 answers again",
    ]


def test_given_tasks_that_make_no_records_then_nobody_makes_them_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Run(generator(3, "0-1", probe={"class": f"{SilentProbe.__module__}:SilentProbe"}), monkeypatch)
    hanging: list[BaseTask] = []

    def answer() -> None:
        hanging.extend(seen.open[:1] if not hanging else [])
        for task in list(seen.open):
            if task not in hanging:
                seen.answer(task, states.FAILED, "no", "OSError")

    seen.when_waiting = answer
    seen.run()

    assert [len(tasks) for tasks in seen.rounds] == [2, 1, 1]
    assert seen.made == []


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"monitoring": {"local_mode": "no"}, "lustre": {"target": ""}}, r"^\[lustre\] target is missing or empty"),
        ({"monitoring": {"measure_interval": "0"}}, r"^\[monitoring\] measure_interval = 0: expected a duration"),
        ({"monitoring": {"measure_interval": "often"}}, r"^\[monitoring\] measure_interval = often: "),
        ({"monitoring": {"local_mode": "maybe"}}, r"^\[monitoring\] local_mode = maybe: "),
        (
            {"monitoring": {"measure_intervall": "5m"}},
            r": no such key; did you mean measure_interval\?$",
        ),
        (
            {"lustre": {"fs_path": "/l"}},
            r"^\[lustre\] fs_path: no such key; it has target, ",
        ),
        ({"lustre": {"ost_select_list": "all"}}, r"^\[lustre\] ost_select_list = all: "),
        ({"probe": {"class": "tasks.empty:EmptyTask"}}, r"^\[probe\] tasks.empty:EmptyTask has no parameter ost_idx"),
    ],
)
def test_given_a_bad_option_then_section_and_key_are_named(sections: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generator(1, **sections)


def test_given_the_sections_of_the_original_then_they_are_read() -> None:
    config = {
        "control": {"local_mode": "on", "measure_interval": "5"},
        "lustre": {"ost_select_list": ""},
        "task": {"class": f"{SilentProbe.__module__}:SilentProbe"},
    }
    made = Rounds(config)

    assert (made.local_mode, made.interval_s, made.rounds_max) == (True, 5.0, 0)
    assert isinstance(next(iter(_first(made))), SilentProbe)


def _first(made: Rounds) -> Iterator[BaseTask]:
    made._wait = lambda _: None
    return made.generate()
