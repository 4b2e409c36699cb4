"""OstRoundsGenerator: a probe of each OST, round after round, on a clock that does not drift.

Owns what is a round, and what follows from a probe that does not come back. An OST whose probe of an earlier round has
no result yet is left out of the next, so that it blocks one worker and never a round; a small task makes the record
which it owes. So does one for a probe that ended without making its own, killed at its time limit or with its worker:
in each round each OST has its record, as long as there is a worker to make one.

What is open is counted, not listed: after a crash results are told again, perhaps before the probe is yielded again
that they belong to. A round's list is in the cursor before its first task is handed out.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from cyclone.config_text import did_you_mean
from cyclone.errors import ConfigError
from cyclone.generator import BaseTaskGenerator, Config
from cyclone.lustre.checked import CheckedOsts
from cyclone.lustre.configured_task import ConfiguredTask, present_section
from cyclone.lustre.lfs import Lfs, LfsError, Reason
from cyclone.lustre.probe import OstProbe, ProbeFailed
from cyclone.plugins import class_path
from cyclone.ranges import fold_ranges, range_set
from cyclone.results import TaskResult
from cyclone.task import BaseTask, property_names

# What there is without a Lustre.
LOCAL_OSTS = range(100)
_MONITORING_KEYS = ("local_mode", "measure_interval", "rounds")
_LUSTRE_KEYS = ("target", "lfs_bin", "ost_select_list", "sudo")
_CHECK_AGE_S_MAX = 10.0
_CHECK_S_MAX = 60.0
# The type of the error of a task that has made its record, and failed.
_PROBE_FAILED = f"{ProbeFailed.__module__}.{ProbeFailed.__qualname__}"


class OstRoundsGenerator(BaseTaskGenerator):
    """Yields a task for each OST in each round. Derive from it and name the default class of the tasks.

    Options: [monitoring] ``local_mode``, ``measure_interval``, ``rounds`` (0, the default: without end); [lustre]
    ``lfs_bin``, ``target``, ``ost_select_list``, ``sudo``; [probe] as ``configured_task`` has it. In a file of the
    generator's own [monitoring] is [control], as it was in the original.
    """

    default_class: ClassVar[str]
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, config: Config, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        section = present_section(self, "monitoring", "control")
        self._refuse_unknown(section, _MONITORING_KEYS)
        self._refuse_unknown("lustre", _LUSTRE_KEYS)
        self.local_mode = self.switch_option(section, "local_mode", False)
        self.interval_s = self.duration_option(section, "measure_interval", "1m")
        if not self.interval_s:
            raise ConfigError(f"[{section}] measure_interval = 0: expected a duration, such as 1m")
        self.rounds_max = self.integer_option(section, "rounds", 0)
        self.target = self.option("lustre", "target", "local" if self.local_mode else None)
        self.sudo = self.switch_option("lustre", "sudo", False)
        self.lfs_bin = self.option("lustre", "lfs_bin", "lfs")
        self.selected = frozenset(self.range_option("lustre", "ost_select_list", ""))
        self.task = self._configured_task()
        self._read_classes()
        self._resumed = False
        # The OSTs that there were in the last round, folded as the cursor has them; "" before the first one.
        self._known = ""
        self.round = 0
        """The number of the round that was begun last."""
        # What is still to be handed out of it, the next one last: probes, and records that probes owe.
        self._todo: list[int] = []
        self._overdue: list[int] = []
        # How many probes of an OST have no result, and the round of the latest one; how many of the other tasks.
        self._open: dict[int, tuple[int, int]] = {}
        self._records_open: dict[int, int] = {}
        self._failing: set[int] = set()
        self.probes = self.failed = self.left_out = self.skipped_rounds = 0

    def generate(self) -> Iterator[BaseTask]:
        # Who goes on after a crash does not know when the last round was: it was given up to one interval ago.
        tick_s = time.monotonic() + (self.interval_s if self._resumed else 0.0)
        yield from self._rest_of_round()
        while not self.rounds_max or self.round < self.rounds_max:
            tick_s = self._await_tick(tick_s) + self.interval_s
            self._begin_round()
            # So that the cursor has this round's list before any of its tasks is on its way.
            self.wait(0.0)
            yield from self._rest_of_round()

    def on_result(self, result: TaskResult) -> BaseTask | None:
        if result.task_class != self._probe_path:
            self._add_record(result.args[self._record_place], -1)
            return None
        ost = result.args[self._probe_place]
        self._add_open(ost, -1)
        self.probes += 1
        error = result.error
        if error is None:
            if ost in self._failing:
                self._failing.remove(ost)
                self.log.info("OST %d answers again", ost)
            return None
        self.failed += 1
        if ost not in self._failing:
            self._failing.add(ost)
            self.log.warning("the probe of OST %d %s: %s", ost, result.state.replace("_", " "), error.message)
        if error.type == _PROBE_FAILED:
            return None
        return self._record_of(ost, f"{result.state}: {error.message}", result.started or None)

    def cursor(self) -> list[Any]:
        # By what they share: nearly always all of them do, and a cursor is taken with each batch of results.
        known: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for ost, shared in self._open.items():
            known[shared].append(ost)
        open_osts = [[*shared, osts] for shared, osts in known.items()]
        records = [list(item) for item in self._records_open.items()]
        counts = [self.probes, self.failed, self.left_out, self.skipped_rounds]
        return [self._probe_path, self.round, self._todo, self._overdue, open_osts, records, counts, self._known]

    def resume(self, cursor: list[Any]) -> None:
        path, self.round, todo, overdue, open_osts, records, counts, self._known = cursor
        if path != self._probe_path:
            raise ConfigError(
                f"[{self.task.section}] makes tasks of {self._probe_path}, and this run was begun with {path}: "
                "begin a new one, with another journal"
            )
        self._todo, self._overdue = list(todo), list(overdue)
        self._open = {ost: (count, number) for count, number, osts in open_osts for ost in osts}
        self._records_open = dict(records)
        self.probes, self.failed, self.left_out, self.skipped_rounds = counts
        self._resumed = True

    def summary(self) -> Mapping[str, Any]:
        return {
            "rounds": self.round,
            "probes": self.probes,
            "failed": self.failed,
            "left_out": self.left_out,
            "skipped_rounds": self.skipped_rounds,
        }

    def _refuse_unknown(self, section: str, known: Sequence[str]) -> None:
        for key in self.config.get(section, {}):
            if key not in known:
                near = did_you_mean(key, known)
                hint = f"did you mean {near}?" if near else f"it has {', '.join(known)}"
                raise ConfigError(f"[{section}] {key}: no such key; {hint}")

    def _configured_task(self) -> ConfiguredTask:
        known = {
            "lfs_bin": self.lfs_bin,
            "lfs_target": self.target,
            "sudo": self.sudo,
            "local_mode": self.local_mode,
        }
        return ConfiguredTask(self, self.default_class, {**self.defaults, **known})

    def _read_classes(self) -> None:
        """Which results are whose, and where they have their OST. Raises ConfigError, also for missing properties."""
        path = class_path(self.task.task_class)
        if "ost_idx" not in self.task.names:
            raise ConfigError(f"[{self.task.section}] {path} has no parameter ost_idx: it is no task for an OST")
        self._probe_path, self._probe_place = path, self.task.names.index("ost_idx")
        probe = self.task.build(ost_idx=0)
        record = probe.lost("", None) if isinstance(probe, OstProbe) else None
        self._record_place = property_names(type(record)).index("ost_idx") if record else 0

    def _await_tick(self, tick_s: float) -> float:
        """Wait until a round is due; when it was. What should have begun meanwhile is left out."""
        if (left_s := tick_s - time.monotonic()) > 0:
            self.wait(left_s)
        missed = int((time.monotonic() - tick_s) // self.interval_s)
        if missed > 0:
            self.log.warning("%d rounds were not begun in time, and are left out", missed)
            tick_s += missed * self.interval_s
        return tick_s

    def _begin_round(self) -> None:
        self.round += 1
        present = self._present()
        if not present:
            self.skipped_rounds += 1
            return
        wanted = sorted(present & self.selected if self.selected else present, reverse=True)
        open_osts = {ost for ost, (count, _) in self._open.items() if count > 0}
        self._todo = [ost for ost in wanted if ost not in open_osts]
        late = [ost for ost in wanted if ost in open_osts]
        self.log.info("round %d: %d OSTs are probed", self.round, len(self._todo))
        if late:
            self.left_out += len(late)
            self.log.warning("round %d: OST %s left out, still without a result", self.round, fold_ranges(late))
        # Where not even the last record was made yet, the workers have no time for another one.
        self._overdue = [ost for ost in late if self._records_open.get(ost, 0) <= 0]

    def _present(self) -> set[int]:
        """The OSTs that there are, active or not; none where nobody has ever known them. Raises ConfigError."""
        try:
            present = self._listed()
        except (LfsError, OSError) as error:
            if not self._known and isinstance(error, LfsError) and error.reason == Reason.NOT_RUN:
                sudo = "yes" if self.sudo else "no"
                raise ConfigError(f"[lustre] lfs_bin = {self.lfs_bin}, sudo = {sudo}: {error}") from error
            # Something ails, perhaps a single OST, and of all times now nobody would look at the others.
            then = f"the OSTs are those of before: {self._known}" if self._known else "it is skipped"
            self.log.warning("round %d: %s; %s", self.round, error, then)
            return set(range_set(self._known)) if self._known else set()
        unknown = self.selected - present
        if unknown and not self._known:
            raise ConfigError(
                f"[lustre] ost_select_list: {self.target} has no OST {fold_ranges(unknown)}; "
                f"it has {fold_ranges(present)}"
            )
        self._known = fold_ranges(present)
        return present

    def _listed(self) -> set[int]:
        if self.local_mode:
            return set(LOCAL_OSTS)
        # A check that hangs must not take the time of the round, where it can do without.
        limit_s = min(_CHECK_S_MAX, self.interval_s / 4) if self._known else _CHECK_S_MAX
        lfs = Lfs(self.lfs_bin, self.sudo, limit_s)
        return set(CheckedOsts(lfs, self.target, min(_CHECK_AGE_S_MAX, self.interval_s / 2)).states())

    def _rest_of_round(self) -> Iterator[BaseTask]:
        """What is to be handed out still; the state is that behind a task before it is yielded."""
        while self._overdue:
            ost = self._overdue.pop()
            _, number = self._open.get(ost, (0, self.round))
            text = f"left out of round {self.round}: the probe of round {number} has no result yet"
            if record := self._record_of(ost, text, None):
                yield record
        while self._todo:
            ost = self._todo.pop()
            self._add_open(ost, 1, self.round)
            yield self.task.build(ost_idx=ost)

    def _record_of(self, ost: int, error: str, started: float | None) -> BaseTask | None:
        """The task that makes the record which a probe has not made."""
        probe = self.task.build(ost_idx=ost)
        record = probe.lost(error, started) if isinstance(probe, OstProbe) else None
        if record:
            self._add_record(ost, 1)
        return record

    def _add_open(self, ost: int, count: int, number: int = 0) -> None:
        before, known = self._open.pop(ost, (0, 0))
        if before + count:
            self._open[ost] = (before + count, number or known)

    def _add_record(self, ost: int, count: int) -> None:
        total = self._records_open.pop(ost, 0) + count
        if total:
            self._records_open[ost] = total
