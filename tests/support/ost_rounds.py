"""Rounds of probes for OSTs, on a clock of their own."""

from collections.abc import Callable
from typing import Any

import pytest

from cyclone import BaseTask, values
from cyclone.lustre import rounds
from cyclone.lustre.probe import OstProbe
from cyclone.lustre.rounds import OstRoundsGenerator
from cyclone.protocol import states
from cyclone.protocol.messages import ErrorRecord, ResultColumns
from cyclone.results import OpenBlock, RecordedBlock, TaskResult, encode_columns, pack_seconds
from tests.support.drive import packed

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
