"""A page of the documentation as a session that is run: see tests/integration/test_docs_commands.py for its rules."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.lab import free_port

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"# ([\w./-]+\.\w+)\n")
_MASTER_AND_CONTROLLERS = ("cyclone-master ", "cyclone-controller ")
# With the port on which each listens unless its file says otherwise.
_SINKS = {"cyclone-database-proxy ": "5777", "cyclone-pushgateway-client ": "5888"}
_OTHERS = ("prometheus ",)
_NO_DAEMON = ("--check-config", "--create-table", "--print-ddl")
_COMMAND_S = 50


class Session:
    """A shell in a private copy of this folder, a new one for each command.

    ``path`` comes before everything else in $PATH; ``replaced`` is put in the place of what the page says, such as a
    port or a socket that is another one here. What a page installs goes nowhere, unless a pip in ``path`` says where
    to: no page changes the environment that the tests run in.
    """

    def __init__(
        self,
        folder: Path,
        path: str = "",
        variables: Mapping[str, str] | None = None,
        replaced: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self._replaced = dict(replaced or {})
        self._started: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
        self._shown: dict[str, list[str]] = {}
        port = free_port()
        found = [path, str(Path(sys.executable).parent), os.environ["PATH"]]
        own = {
            "PATH": os.pathsep.join(filter(None, found)),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            # Of every pip, however it is called, the environment that it works on; --python comes before it.
            "PIP_PYTHON": str(folder.parent / "no-environment-of-this-page"),
            "XDG_STATE_HOME": str(folder.parent / "state"),
        }
        self._environment = {**os.environ, **(variables or {}), **own}
        self._port = str(port)

    def run(self, page: str) -> None:
        """Make its files and run its commands, from top to bottom."""
        blocks = _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
        assert any(kind == "console" for kind, _ in blocks)
        for kind, block in blocks:
            named = _FILE_NAME.match(block)
            if named:
                path = self.folder / named[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self._here(block), encoding="utf-8")
            elif kind == "console":
                self._run_console(block)
            else:
                assert kind not in ("python", "ini", "yaml"), f"{page}: this block names no file:\n{block}"

    def end(self, stop: bool = False) -> None:
        """Every daemon ends, by itself or because it is told to, having printed what is shown behind it."""
        for command, shown in reversed(self._shown.items()):
            if stop:
                os.killpg(self._started[command][0].pid, signal.SIGTERM)
            self._compare(command, 0, shown)

    def close(self) -> None:
        """Nothing goes on after a failure: not what a shell has started either."""
        for process, _ in self._started.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _run_console(self, block: str) -> None:
        steps = commands(block)
        for place, (command, shown) in enumerate(steps):
            if command == "echo $?":
                continue
            if command.startswith("make"):
                target = command.split()[1]
                makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"no target: {command}"
                continue
            following = steps[place + 1] if place + 1 < len(steps) else ("", [])
            expected_code = int(following[1][0]) if following[0] == "echo $?" else 0
            self._execute(self._here(command), expected_code, [self._here(line) for line in shown])

    def _here(self, text: str) -> str:
        for theirs, ours in self._replaced.items():
            text = text.replace(theirs, ours)
        return text

    def _execute(self, command: str, expected_code: int, shown: list[str]) -> None:
        """Run a command, which prints what is shown; of a daemon that is known at the end."""
        daemon = self._daemon(command)
        if daemon:
            self._environment["CYCLONE_SERVER"] = f"tcp://127.0.0.1:{self._port}"
            self._start(daemon, f"daemon-{len(self._started)}")
            self._shown[daemon] = shown
            return
        self._start(command, "output")
        self._compare(command, expected_code, shown)
        del self._started[command]

    def _daemon(self, command: str) -> str:
        """The command of a daemon, on a port that is free here; '' for any other command."""
        if any(option in command for option in _NO_DAEMON):
            return ""
        if command.startswith(_MASTER_AND_CONTROLLERS):
            return f"{command} --set comm.port={self._port}"
        for name, port in _SINKS.items():
            if command.startswith(name):
                return f"{command} --set comm.port={self._replaced.get(port, port)}"
        return command if command.startswith(_OTHERS) else ""

    def _compare(self, command: str, expected_code: int, shown: list[str]) -> None:
        process, output = self._started[command]
        try:
            code = process.wait(_COMMAND_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{command}: goes on and on\n{output.read_text(encoding='utf-8')}")
        text = output.read_text(encoding="utf-8")
        assert code == expected_code, f"{command}: exit code {code}\n{text}"
        missing = [line for line in shown if not any(looks_like(line, other) for other in text.splitlines())]
        assert missing == [], f"{command} printed\n{text}"

    def _start(self, command: str, name: str) -> None:
        output = self.folder.parent / name
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._started[command] = (process, output)


def commands(block: str) -> list[tuple[str, list[str]]]:
    """Each command of a console block, with the lines that it is shown to print."""
    found: list[tuple[str, list[str]]] = []
    for line in block.replace("\\\n", "").splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line:
            assert found, f"output without a command: {line}"
            found[-1][1].append(line)
    return found


def looks_like(shown: str, printed: str) -> bool:
    """Whether a line is what is shown: blanks and ``...`` stand for anything, and figures of time and rate differ."""
    words = " ".join(shown.split())
    pattern = re.escape(words).replace(re.escape("..."), ".*")
    if words.startswith(("time ", "rate ")):
        pattern = re.sub(r"\d[\d,]*(\\\.\d+)?", r"[\\d,.]+", pattern)
    return re.fullmatch(pattern, " ".join(printed.split())) is not None
