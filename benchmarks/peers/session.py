"""Runs Cyclone and the peers alternately, each run in processes of its own, and keeps what they reported.

It judges nothing: that is report.py's work. A run that fails or takes too long is a result like another. Whatever a run
leaves behind, in processes and files, is cleared away before the next one begins; peers start daemons in sessions of
their own, so they are found by a mark in their environment.
"""

import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.catalogue import Case, Peer
from cyclone import guardian

ROOT = Path(__file__).parents[2]
_MARK = "CYCLONE_PEERS_RUN"
_REASON_CHARS_MAX = 200

Report = dict[str, Any]
Commands = Callable[[Peer, Case], list[str]]


class RunError(Exception):
    """A run gave no figures; the text says why."""


@dataclass
class Outcome:
    """What became of a case: a pair of reports (ours, theirs) for each round, and the reason of each failure."""

    peer: Peer
    case: Case
    pairs: list[tuple[Report, Report]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ours:
    """The commands that are Cyclone's half of a pair, each with the figures that are taken from it."""

    name: str
    command: Sequence[str]
    figures: tuple[str, ...]


def cyclone_runs(tasks: int, round_trips: int, busy: int) -> list[Ours]:
    """Figures are kept as ``name.figure``, since two of the runs report the same."""
    command = [str(Path(sys.executable).with_name("cyclone")), "bench", "--json"]
    throughput = [*command, "--tasks", str(tasks), "--workers", "2", "--durability"]
    latency = [*command, "--mode", "latency", "--tasks", str(round_trips), "--workers", "1"]
    full = [*command, "--mode", "busy", "--task-ms", "1", "--tasks", str(busy), "--workers", "2"]
    return [
        Ours("memory", [*throughput, "off"], ("tasks_per_s",)),
        Ours("durable", [*throughput, "full"], ("tasks_per_s",)),
        Ours("latency", latency, ("p50_us", "p99_us")),
        Ours("busy", full, ("efficiency",)),
    ]


def peer_command(python: Path, peer: Peer, case: Case) -> list[str]:
    """How the adapter of a peer is started."""
    command = [str(python), "-m", "benchmarks.peers.adapter", peer.module, case.variant, "--tasks", str(case.tasks)]
    options = [("--round-trips", case.round_trips), ("--busy", case.busy)]
    return [*command, *(word for option, count in options if count for word in (option, str(count)))]


class Session:
    """One measuring session. ``commands`` says how a case is started, ``ours`` is Cyclone's half of each pair."""

    def __init__(
        self, ours: Sequence[Ours], commands: Commands, rounds: int, timeout_s: float, say: Callable[[str], None]
    ) -> None:
        self._ours = ours
        self._commands = commands
        self._rounds = rounds
        self._timeout_s = timeout_s
        self._say = say

    def measure(self, peers: Sequence[Peer]) -> list[Outcome]:
        """All cases, round by round; within a round Cyclone is measured anew before each peer.

        Raises:
            RunError: a run of Cyclone failed, without which nothing can be compared.
        """
        outcomes = [Outcome(peer, case) for peer in peers for case in peer.cases]
        for number in range(1, self._rounds + 1):
            for peer in peers:
                # What has failed and never succeeded is not tried again: it may cost its time limit each time.
                alive = [o for o in outcomes if o.peer is peer and (o.pairs or not o.failures)]
                if alive:
                    self._round(f"round {number} of {self._rounds}", alive)
        return outcomes

    def _round(self, title: str, outcomes: list[Outcome]) -> None:
        report: Report = {}
        for ours in self._ours:
            found = self._run(ours.command, {})
            report |= {f"{ours.name}.{figure}": found[figure] for figure in ours.figures}
        self._say(f"{title}: Cyclone: {_figures(report)}")
        for outcome in outcomes:
            name = f"{outcome.peer.title}, {outcome.case.variant}"
            command = self._commands(outcome.peer, outcome.case)
            # Where a peer finds its own programs and our adapters.
            path = f"{Path(command[0]).parent}{os.pathsep}{os.environ['PATH']}"
            try:
                theirs = self._run(command, {"PATH": path, "PYTHONPATH": str(ROOT)}, private=True)
            except RunError as error:
                outcome.failures.append(str(error))
                self._say(f"{title}: {name}: {error}")
            else:
                outcome.pairs.append((report, theirs))
                self._say(f"{title}: {name}: {_figures(theirs)}")

    def _run(self, command: Sequence[str], environment: Mapping[str, str], private: bool = False) -> Report:
        """The JSON object that a command prints as its last line. ``private``: its home is a folder that goes away."""
        mark = uuid.uuid4().hex
        # A short name: Ray makes Unix sockets deep in it, and the path of one has 107 bytes.
        with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            homes = {"HOME": name, "TMPDIR": name} if private else {}
            with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
                process = subprocess.Popen(
                    command,
                    env={**os.environ, **environment, **homes, _MARK: mark},
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                )
                try:
                    code = process.wait(self._timeout_s)
                except subprocess.TimeoutExpired:
                    code = None
                finally:
                    guardian.clear(f"{_MARK}={mark}".encode(), {process.pid})
                    process.wait()
            return self._reported(code, folder)

    def _reported(self, code: int | None, folder: Path) -> Report:
        printed = [line for line in _lines(folder / "stdout") if line.startswith("{")]
        # One that printed its figures and then did not end has been measured.
        if printed and code in (0, None):
            report: Report = json.loads(printed[-1])
            return report
        if code is None:
            raise RunError(f"no result within {self._timeout_s:g} s")
        reason = (_lines(folder / "stderr") or [f"exit code {code}"])[-1]
        raise RunError(reason[:_REASON_CHARS_MAX])


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]


def _figures(report: Report) -> str:
    return ", ".join(f"{name} {value:,.4g}" for name, value in report.items() if isinstance(value, float))
