"""Rounds of probes: on time, never mixed, each OST with its record, also after any crash."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cyclone import BaseTask, values
from cyclone.errors import ConfigError
from cyclone.lustre import rounds
from cyclone.lustre.lfs import Lfs, LfsError
from cyclone.lustre.probe import OstProbe
from cyclone.lustre.rounds import OstRoundsGenerator
from cyclone.protocol import states
from cyclone.protocol.messages import ErrorRecord, ResultColumns
from cyclone.results import OpenBlock, RecordedBlock, TaskResult, encode_columns, pack_seconds
from tests.support.drive import packed
from tests.support.generator_lives import Book, live
from tests.support.lustre_calls import refusal

INTERVAL_S = 60.0


class Record(BaseTask):
    """What speaks for a probe that cannot."""

    def __init__(self, error: str, started: float | None, ost_idx: int) -> None:
        self.error = error
        self.started = started
        self.ost_idx = ost_idx


class Probe(OstProbe):
    """Has its OST behind another property."""

    def __init__(self, lfs_target: str, ost_idx: int, local_mode: bool = False) -> None:
        self.lfs_target = lfs_target
        self.ost_idx = ost_idx
        self.local_mode = local_mode

    def lost(self, error: str, started: float | None) -> Record:
        """See ``OstProbe``."""
        return Record(error, started, self.ost_idx)


class SilentProbe(BaseTask):
    """A task for an OST that has nothing to do with Lustre."""

    def __init__(self, ost_idx: int) -> None:
        self.ost_idx = ost_idx


class Rounds(OstRoundsGenerator):
    """Of these probes."""

    default_class = f"{__name__}:Probe"


def generator(number: int = 3, osts: str = "0-3", **sections: dict[str, str]) -> Rounds:
    config = {
        "monitoring": {"local_mode": "yes", "rounds": str(number)},
        "lustre": {"ost_select_list": osts, "target": "lustrefs"},
    }
    for name, keys in sections.items():
        config[name] = config.get(name, {}) | keys
    return Rounds(config)


def ended(task: BaseTask, status: int = states.COMPLETED, error: str = "", kind: str = "OSError") -> TaskResult:
    """The result of a task."""
    path, arguments = packed(task)
    outcome = values.encode(None) if status == states.COMPLETED else encode_columns(ErrorRecord(kind, error))
    body = encode_columns(ResultColumns([outcome], pack_seconds([0.5]), 1000.0, 1))
    (result,) = OpenBlock(RecordedBlock(1, 1, [(path, 1)], [arguments], bytes([status]), None, body, "c1"))
    return result


class Run:
    """A generator on a clock of its own; ``when_waiting`` may answer the tasks of the round that was begun last."""

    def __init__(self, made: OstRoundsGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        self.generator = made
        self.when_waiting: Callable[[], None] = self.complete
        self.rounds: list[list[BaseTask]] = [[]]
        self.open: list[BaseTask] = []
        self.made: list[BaseTask] = []
        self.begun: list[float] = []
        monkeypatch.setattr(rounds.time, "monotonic", lambda: self.now_s)  # type: ignore[attr-defined]
        made._wait = self.wait

    def run(self) -> "Run":
        """To the end; the last round is answered, too."""
        for task in self.generator.generate():
            if isinstance(task, Probe | SilentProbe) and not self.rounds[-1]:
                self.begun.append(self.now_s)
            self.rounds[-1].append(task)
            self.open.append(task)
        self.when_waiting()
        return self

    def wait(self, seconds: float) -> None:
        if seconds:
            self.now_s += seconds
            self.when_waiting()
            self.rounds.append([])

    def answer(self, task: BaseTask, *outcome: Any) -> None:
        self.open.remove(task)
        made = self.generator.on_result(ended(task, *outcome))
        if made is not None:
            self.made.append(made)
            self.generator.on_result(ended(made))

    def complete(self) -> None:
        for task in list(self.open):
            self.answer(task)

    def osts(self) -> list[list[int]]:
        return [[probe.ost_idx for probe in tasks if isinstance(probe, Probe)] for tasks in self.rounds]

    def records(self) -> list[list[tuple[int, str]]]:
        return [[(task.ost_idx, task.error) for task in tasks if isinstance(task, Record)] for tasks in self.rounds]


def run(made: OstRoundsGenerator, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(made, monkeypatch).run()


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


def test_given_tasks_that_make_no_records_then_nobody_makes_them_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Run(generator(3, "0-1", probe={"class": f"{__name__}:SilentProbe"}), monkeypatch)
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
        "task": {"class": f"{__name__}:SilentProbe"},
    }
    made = Rounds(config)

    assert (made.local_mode, made.interval_s, made.rounds_max) == (True, 5.0, 0)
    assert isinstance(next(iter(_first(made))), SilentProbe)


def _first(made: Rounds) -> Iterator[BaseTask]:
    made._wait = lambda _: None
    return made.generate()


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
    other = generator(2, probe={"class": f"{__name__}:SilentProbe"})
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
