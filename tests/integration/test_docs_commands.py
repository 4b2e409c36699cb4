"""Every command of README.md and of the tutorial does what the page says.

A page is one session in a private copy of this folder, read from top to bottom:

- a block whose first line is a comment with a file name alone (``# words.py``) is that file;
- in a ``console`` block, lines with ``$`` are commands for the shell, the others are what they print: each must come
  out, in whatever order, since standard output and standard error are two streams; ``...`` stands for anything, and
  figures behind ``time`` and ``rate`` may differ;
- a command exits with 0, unless the next one is ``echo $?``;
- a daemon keeps running beside what follows, and must end by itself with 0 when the page is over, having printed what
  is shown behind it; other commands find its port in ``$CYCLONE_SERVER``, as another master may run on this machine;
- of ``make`` only the target is looked up: these tests are one of them.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "docs/tutorial.md", "docs/security.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# ([\w./-]+\.\w+)\n")
DAEMONS = ("cyclone-master ", "cyclone-controller ")
COMMAND_S = 50
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "tests")


class Session:
    """A shell in a private copy of this folder, a new one for each command."""

    def __init__(self, folder: Path, installs: bool) -> None:
        self.folder = folder
        self._started: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
        self._shown: dict[str, list[str]] = {}
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        programs = Path(sys.executable).parent
        if installs:
            venv.create(folder.parent / "environment", with_pip=True)
            programs = folder.parent / "environment" / "bin"
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "XDG_STATE_HOME": str(folder.parent / "state")}
        self._environment = {**os.environ, **own, "CYCLONE_SERVER": f"tcp://127.0.0.1:{port}"}
        self._sets = f" --set comm.port={port}"

    def execute(self, command: str, expected_code: int, shown: list[str]) -> None:
        """Run a command, which prints what is shown; of a daemon that is known at the end."""
        if command.startswith(DAEMONS) and "--check-config" not in command:
            self._start(command + self._sets, f"daemon-{len(self._started)}")
            self._shown[command + self._sets] = shown
            return
        self._start(command, "output")
        self._compare(command, expected_code, shown)
        del self._started[command]

    def end(self) -> None:
        """Every daemon ends by itself."""
        for command, shown in self._shown.items():
            self._compare(command, 0, shown)

    def _compare(self, command: str, expected_code: int, shown: list[str]) -> None:
        process, output = self._started[command]
        code = process.wait(COMMAND_S)
        text = output.read_text(encoding="utf-8")
        assert code == expected_code, f"{command}: exit code {code}\n{text}"
        missing = [line for line in shown if not any(looks_like(line, other) for other in text.splitlines())]
        assert missing == [], f"{command} printed\n{text}"

    def close(self) -> None:
        """Nothing goes on after a failure: not what a shell has started either."""
        for process, _ in self._started.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _start(self, command: str, name: str) -> tuple[subprocess.Popen[bytes], Path]:
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
        return process, output


@pytest.fixture
def session(tmp_path: Path, page: str) -> Iterator[Session]:
    shutil.copytree(ROOT, tmp_path / "clone", ignore=NOT_COPIED)
    started = Session(tmp_path / "clone", installs="$ pip install " in (ROOT / page).read_text(encoding="utf-8"))
    yield started
    started.close()


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
    words = " ".join(shown.split())
    pattern = re.escape(words).replace(re.escape("..."), ".*")
    if words.startswith(("time ", "rate ")):
        pattern = re.sub(r"\d[\d,]*(\\\.\d+)?", r"[\\d,.]+", pattern)
    return re.fullmatch(pattern, " ".join(printed.split())) is not None


def run_console(session: Session, block: str) -> None:
    steps = commands(block)
    for place, (command, shown) in enumerate(steps):
        if command == "echo $?":
            continue
        if command.startswith("make"):
            target = command.split()[1]
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"no target: {command}"
            continue
        following = steps[place + 1] if place + 1 < len(steps) else ("", [])
        session.execute(command, int(following[1][0]) if following[0] == "echo $?" else 0, shown)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", PAGES)
def test_given_a_page_when_its_files_are_made_and_its_commands_run_then_they_do_what_it_says(
    page: str, session: Session
) -> None:
    blocks = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    assert any(kind == "console" for kind, _ in blocks)
    for kind, block in blocks:
        named = FILE_NAME.match(block)
        if named:
            path = session.folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block, encoding="utf-8")
        elif kind == "console":
            run_console(session, block)
        else:
            assert kind not in ("python", "ini"), f"{page}: this block names no file, so that nobody tries it:\n{block}"
    session.end()
