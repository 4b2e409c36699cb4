"""A private place for real processes: folder, TMPDIR, port, and a mark in the environment by which all are found.

``Lab.close`` is part of every test: it demands that within 5 s of their end nothing of the processes is left.
"""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tests.support import procfs
from tests.support.procfs import wait_until
from tests.support.workload import FOLDER

ROOT = Path(__file__).parents[2]
MARK = "CYCLONE_TEST_MARK"
GONE_WITHIN_S = 5.0
# So short that a test never waits long for a time-out, long enough for a busy machine with two cores.
CONTROL = {
    "controller_timeout": "2s",
    "heartbeat_interval": "500ms",
    "request_retry_wait_duration": "100ms",
    "stop_timeout": "10s",
}
PROCESSING = {"kill_grace": "500ms", "worker_count": "2", "task_modules": "tasks, cyclone, task_generators, tests"}
SCRIPT = {"class": "tests.support.workload:ScriptGenerator"}
# Below those that the kernel gives out, from a place of this process's own: tests of several run side by side, and a
# port is nobody's while its master is being started, or is killed.
_PORTS = (10_000 + (os.getpid() * 7919 + number) % 20_000 for number in itertools.count())

T = TypeVar("T")
Sections = dict[str, dict[str, str]]


def program(name: str) -> str:
    """The installed command."""
    return str(Path(sys.executable).with_name(name))


class Started:
    """A running command; what it writes goes to files."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str], **options: Any) -> None:
        self.name = f"{Path(command[0]).name}-{uuid.uuid4().hex[:6]}"
        self._stdout, self._stderr = folder / f"{self.name}.stdout", folder / f"{self.name}.stderr"
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            options = {"stdin": subprocess.DEVNULL, "cwd": folder, "stdout": out, "stderr": err, **options}
            self.process = subprocess.Popen(command, env=environment, **options)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stdout(self) -> str:
        return self._stdout.read_text(errors="replace")

    def stdout_bytes(self) -> bytes:
        return self._stdout.read_bytes()

    def stderr(self) -> str:
        return self._stderr.read_text(errors="replace")

    def says(self, text: str, deadline_s: float = 20.0) -> None:
        """Wait until this stands in its standard error."""
        wait_until(lambda: text in self.stderr(), f"{self.name} says {text!r}; it says:\n{self.stderr()}", deadline_s)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exits(self, deadline_s: float = 30.0) -> int:
        """Its exit code, as soon as it has one; negative for a signal."""
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended within {deadline_s:g} s:\n{self.stderr()}") from None


class Lab:
    """See the module."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.port = free_port()
        self.environment = {
            **os.environ,
            MARK: self.mark,
            FOLDER: str(folder),
            "TMPDIR": str(self.temporary),
            "XDG_STATE_HOME": str(folder / "state"),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._started: list[Started] = []

    # Starting.

    def config(self, sections: Sections | None = None, name: str = "test.conf") -> Path:
        """A file with short time-outs, the given sections on top."""
        merged: Sections = {
            "control": dict(CONTROL),
            "comm": {"port": str(self.port), "poll_timeout": "200ms"},
            "processing": dict(PROCESSING),
        }
        for section, keys in (sections or {}).items():
            merged.setdefault(section, {}).update(keys)
        merged.setdefault("task_generator", SCRIPT)
        path = self.folder / name
        path.write_text(
            "".join(
                f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
                for section, keys in merged.items()
            )
        )
        return path

    def script(self, *tasks: dict[str, Any], **sections: dict[str, str]) -> Path:
        """A configuration whose generator yields these tasks."""
        return self.config({"script": {"tasks": json.dumps(tasks)}, **sections})

    def start(self, name: str, *arguments: str | Path, **options: Any) -> Started:
        """One of our commands, or any other."""
        command = [program(name) if name.startswith("cyclone") else name, *map(str, arguments)]
        environment = self.environment | options.pop("environment", {})
        started = Started(command, self.folder, environment, **options)
        self._started.append(started)
        return started

    def run(self, config: Path, *arguments: str | Path, **options: Any) -> Started:
        """``cyclone run``."""
        return self.start("cyclone", "run", "-f", config, *arguments, **options)

    def master(self, config: Path, *sets: str) -> Started:
        """A master that is ready."""
        started = self.start("cyclone-master", "-f", config, *_sets(sets))
        started.says("master at ")
        return started

    def controller(self, config: Path, name: str, *sets: str, welcomed: bool = True) -> Started:
        """A controller of this name, which is in session if so wished."""
        started = self.start("cyclone-controller", "-f", config, *_sets((f"control.name={name}", *sets)))
        started.says("welcomed by the master" if welcomed else f"controller={name} started")
        return started

    def records(self, config: Path, *arguments: str | Path, exit_code: int) -> list[dict[str, Any]]:
        """What ``cyclone run`` has recorded when it has ended with this exit code."""
        results = self.folder / "results.jsonl"
        started = self.run(config, "--results", results, *arguments)
        assert started.exits() == exit_code, started.stderr()
        return read_records(results)

    # Looking.

    def notes(self, kind: str = "", **fields: Any) -> list[dict[str, Any]]:
        """What processes noted, in order."""
        try:
            # A note is there when its end is: who reads while it is written may see a part of it.
            lines = (self.folder / "notes").read_text().rpartition("\n")[0].splitlines()
        except FileNotFoundError:
            return []
        found = [json.loads(line) for line in lines]
        wanted = {"kind": kind, **fields} if kind else fields
        return [entry for entry in found if wanted.items() <= entry.items()]

    def noted(self, kind: str, count: int = 1, **fields: Any) -> list[dict[str, Any]]:
        """The notes, as soon as there are so many."""
        self.wait_until(lambda: len(self.notes(kind, **fields)) >= count, f"{count} x {kind} {fields} noted")
        return self.notes(kind, **fields)

    def wait_until(self, condition: Callable[[], T], what: str, deadline_s: float = 20.0) -> T:
        """Like the function, and tells what everything here has said where it fails."""
        try:
            return wait_until(condition, what, deadline_s)
        except AssertionError as error:
            said = [f"--- {started.name}\n{started.stderr()[-4000:]}" for started in self._started]
            raise AssertionError("\n".join([str(error), *map(str, self.notes()[-20:]), *said])) from None

    def open(self, gate: str) -> None:
        """Let the tasks behind this gate pass."""
        (self.folder / gate).touch()

    def processes(self, part: str = "") -> dict[int, str]:
        """What runs of this lab, of those with this in their command line."""
        return {pid: text for pid, text in procfs.marked(MARK, self.mark).items() if part in text}

    def process(self, part: str) -> int:
        """The one process with this in its command line, as soon as it is there."""
        found = self.wait_until(lambda: self.processes(part), f"a process of {part}")
        assert len(found) == 1, found
        return next(iter(found))

    def scratch_folders(self) -> list[str]:
        """What Cyclone has left in TMPDIR."""
        return sorted(path.name for path in self.temporary.iterdir())

    # The end.

    def all_gone(self) -> None:
        """Within 5 s nothing is left: no process, no scratch folder."""
        # In the middle of exec(2) a process has no environment by which it could be found: its folder tells of it.
        try:
            wait_until(lambda: not (self.processes() or self.scratch_folders()), "nothing is left", GONE_WITHIN_S)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.processes()}, {self.scratch_folders()}") from None

    def close(self) -> None:
        """Kill what the test has started and not ended; then everything else must go by itself."""
        for started in self._started:
            if started.alive:
                started.signal(signal.SIGCONT)
                started.process.kill()
            started.process.wait()
        try:
            self.all_gone()
        finally:
            procfs.kill_all(list(self.processes()))


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a .jsonl results file in the order of their task ids."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(found, key=lambda record: int(record["task_id"]))


def _sets(overrides: tuple[str, ...]) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


@contextlib.contextmanager
def new_lab(folder: Path) -> Iterator[Lab]:
    """A lab that is cleared, and checked, at the end."""
    lab = Lab(folder)
    try:
        yield lab
    finally:
        lab.close()


def free_port() -> int:
    """A TCP port that nobody listens on, and that no other test is told of, nor any connection gets by itself."""
    while True:
        port = next(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
