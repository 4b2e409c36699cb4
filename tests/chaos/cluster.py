"""A cluster of real processes with configuration files as a user writes them, started again whenever one is killed.

Owns the processes and what is noted of their lives; what harms them is ``faults``. Everything that it starts carries a
mark in its environment, by which whatever is left of it can be found.
"""

import asyncio
import json
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from cyclone.config_keys import BY_PLACE
from tests.chaos import history
from tests.chaos.plan import Plan
from tests.chaos.proxy import Link
from tests.chaos.tap import Tap
from tests.support import procfs
from tests.support.lab import MARK, ROOT, free_port, program

PROCESSES, SAMPLES, JOURNAL = "processes.jsonl", "samples.jsonl", "journal.sqlite"
CONTROLLER_TIMEOUT_S = 2.0
CRASH_LIMIT = 5
STOP_TIMEOUT_S = 10.0
_SAMPLE_EVERY_S = 0.5
_RESTART_S = 0.2


@dataclass(frozen=True)
class ClusterOptions:
    """How large, what it works at, whether with keys, and which bug is planted into its processes."""

    plan: Plan
    controllers: int = 3
    workers: int = 2
    keys: bool = False
    bug: str = ""
    clients: int = 0
    rss_max_bytes: int = 250 << 20


class Notes:
    """A file with one JSON object for each thing that happened."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1, encoding="ascii")

    def add(self, **fields: object) -> None:
        """Note it, with the time."""
        self._file.write(json.dumps({"at": history.now_ns(), **fields}) + "\n")

    def close(self) -> None:
        self._file.close()


class Member:
    """One daemon of the cluster, kept running until it ends with 0 by itself.

    ``shot`` are the pids whose end is our doing; every other end that is not 0 is for the checker to blame.
    """

    def __init__(self, name: str, command: list[str], cluster: "Cluster", restart_s: float) -> None:
        self.name = name
        self.starts = 0
        self.shot: set[int] = set()
        self.finished = asyncio.Event()
        self.restart_s = restart_s
        self.environment: dict[str, str] = {}
        self._command = command
        self._cluster = cluster
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """0 while it is not running."""
        return self._process.pid if self._process and self._process.returncode is None else 0

    def start(self) -> None:
        """From now on it is kept running."""
        self._task = asyncio.create_task(self._keep())

    def kill(self) -> int:
        """SIGKILL; its pid, 0 where it was not running."""
        pid = self.pid
        if pid:
            self.shot.add(pid)
            os.kill(pid, signal.SIGKILL)
        return pid

    def signal(self, number: signal.Signals) -> None:
        """To the running process, if there is one."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, and after the grace SIGKILL; it is not started again."""
        self._cluster.ending = True
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._kept()), grace_s)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        await self._kept()

    async def _kept(self) -> None:
        if self._task:
            await self._task

    async def _keep(self) -> None:
        notes, folder = self._cluster.processes, self._cluster.folder
        while not self._cluster.ending:
            self.starts += 1
            environment = {
                **self._cluster.environment,
                **self.environment,
                history.CONTROLLER: f"{self.name}.{self.starts}",
            }
            with (folder / f"{self.name}.out").open("ab") as out:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    cwd=folder,
                    env=environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                )
            pid = self._process.pid
            notes.add(event="start", name=self.name, pid=pid, number=self.starts)
            code = await self._process.wait()
            asked = pid in self.shot or self._cluster.ending
            notes.add(event="end", name=self.name, pid=pid, code=code, asked=asked)
            if code == 0 and not self._cluster.ending:
                break
            await asyncio.sleep(self.restart_s)
        self.finished.set()


class Cluster:
    """One master, several controllers, a proxied link for each."""

    def __init__(self, folder: Path, options: ClusterOptions, rng: random.Random) -> None:
        self.folder = folder
        self.options = options
        self.rng = rng
        self.mark = uuid.uuid4().hex
        self.ending = False
        self.processes = Notes(folder / PROCESSES)
        self._samples = Notes(folder / SAMPLES)
        self.tap = Tap(folder)
        self.port = free_port()
        (folder / "tmp").mkdir()
        self.environment = self._environment()
        names = [f"c{number + 1}" for number in range(options.controllers)]
        self.links = {name: Link(name, self.port, self.tap, rng) for name in names}
        self.master = Member("master", [program("cyclone-master"), "-f", "master.conf"], self, _RESTART_S)
        self.controllers = {
            name: Member(name, [program("cyclone-controller"), "-f", f"{name}.conf"], self, _RESTART_S)
            for name in names
        }
        numbers = range(1, options.clients + 1)
        self.client_links = [Link(f"client{number}", self.port, self.tap, rng) for number in numbers]
        self.clients = [
            Member(
                f"client{number}",
                [sys.executable, "-m", "tests.chaos.clients", str(number), str(options.plan.seed)],
                self,
                _RESTART_S,
            )
            for number in numbers
        ]

    async def start(self) -> None:
        """All of it."""
        for link in (*self.links.values(), *self.client_links):
            await link.listen()
        self._write_configuration()
        self.master.start()
        for member in (*self.controllers.values(), *self.clients):
            member.start()
        self._sampler = asyncio.create_task(self._sample())

    async def stop(self) -> None:
        """Whatever is still running ends now."""
        self.ending = True
        members = [*self.controllers.values(), *self.clients, self.master]
        await asyncio.gather(*(member.stop(STOP_TIMEOUT_S + 5.0) for member in members))
        self._sampler.cancel()
        for link in (*self.links.values(), *self.client_links):
            link.close()
        for notes in (self.processes, self._samples, self.tap):
            notes.close()

    def set_clock(self, offset_s: float) -> None:
        """Every process of the cluster takes the time of day for so much later."""
        self._clock[:8] = struct.pack("d", offset_s)

    def children(self, member: Member, part: str) -> list[int]:
        """The pids of a daemon's children with this in their command line."""
        pid = member.pid
        try:
            found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split() if pid else []
        except OSError:
            return []
        return [int(child) for child in found if part in procfs.command(int(child))]

    def _environment(self) -> dict[str, str]:
        clock = self.folder / "clock"
        clock.write_bytes(bytes(8))
        with clock.open("r+b") as file:
            self._clock = mmap.mmap(file.fileno(), 8)
        return {
            **os.environ,
            MARK: self.mark,
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONPATH": f"{ROOT / 'tests' / 'chaos' / 'site'}{os.pathsep}{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "CYCLONE_CHAOS_CLOCK": str(clock),
            "CYCLONE_CHAOS_BUG": self.options.bug,
            history.FOLDER: str(self.folder),
        }

    def _write_configuration(self) -> None:
        plan = self.options.plan
        control = {"controller_timeout": f"{CONTROLLER_TIMEOUT_S:g}s", "heartbeat_interval": "500ms"}
        master: dict[str, dict[str, object]] = {
            "control": {
                **control,
                "state_dir": "state",
                "crash_limit": CRASH_LIMIT,
                "exit_when_done": "yes",
                "stop_timeout": f"{STOP_TIMEOUT_S:g}s",
            },
            "comm": {"port": self.port, "poll_timeout": "200ms"},
            "journal": {"path": JOURNAL, "durability": "full"},
            "task_generator": {
                "class": f"tests.chaos.workload:{'FollowingGenerator' if plan.follow else 'ChaosGenerator'}"
            },
            "chaos": {
                "tasks": plan.tasks,
                "seed": plan.seed,
                "pace": plan.pace,
                "follow": "yes" if plan.follow else "no",
                "exclusive": "yes" if plan.exclusive else "no",
            },
        }
        if self.clients:
            master["clients"] = {"submit": "yes"}
        if self.options.keys:
            self._keys("init", "--address", f"127.0.0.1:{self.port}")
            master["comm"]["keys"] = "keys"
        _write(self.folder / "master.conf", master)
        for name, link in self.links.items():
            controller: dict[str, dict[str, object]] = {
                "control": {"name": name, "request_retry_wait_duration": "100ms", "stop_timeout": "10s"},
                "comm": {"port": link.port, "poll_timeout": "200ms"},
                "processing": {"worker_count": self.options.workers, "kill_grace": "500ms"},
            }
            if ("processing", "task_modules") in BY_PLACE:
                controller["processing"]["task_modules"] = "tests.chaos"
            if self.options.keys:
                told = self._keys("add", name, "--role", "controller")
                controller["comm"]["key_file"] = told.split("key_file=")[1].strip()
            _write(self.folder / f"{name}.conf", controller)
        for client, link in zip(self.clients, self.client_links, strict=True):
            client.environment["CYCLONE_SERVER"] = f"tcp://127.0.0.1:{link.port}"
            if self.options.keys:
                told = self._keys("add", client.name, "--role", "client")
                client.environment["CYCLONE_KEY_FILE"] = told.split("key_file=")[1].strip()

    def _keys(self, *words: str) -> str:
        command = [program("cyclone"), "keys", *words, "--dir", str(self.folder / "keys")]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    async def _sample(self) -> None:
        """What the master needs, now and then."""
        while True:
            await asyncio.sleep(_SAMPLE_EVERY_S)
            if pid := self.master.pid:
                with suppress(psutil.Error):
                    process = psutil.Process(pid)
                    rss_bytes, descriptors = process.memory_info().rss, process.num_fds()
                    self._samples.add(pid=pid, rss_bytes=rss_bytes, descriptors=descriptors)


def _write(path: Path, sections: Mapping[str, Mapping[str, object]]) -> None:
    parts = []
    for section, keys in sections.items():
        parts += [f"[{section}]", *(f"{key} = {value}" for key, value in keys.items()), ""]
    path.write_text("\n".join(parts))
