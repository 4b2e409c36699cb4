"""The real programs beside Cyclone: where they are, and how one that is a server is run for a test.

``make test`` unpacks them (``python -m tests.parts``) into ``.parts/``; on PATH they are as welcome. Each runs in a
folder of its own on a free port, is there when its ``with`` block begins, and gone when it ends.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.procfs import wait_until

ROOT = Path(__file__).parents[2]
PARTS = ROOT / ".parts"
_FOLDERS = ("usr/sbin", "usr/bin", "bin")
START_S = 30.0


def program(name: str) -> str:
    """The path of a program; an error that says how to get it where there is none."""
    path = ":".join([*(str(PARTS / folder) for folder in _FOLDERS), os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    if found is None:
        raise FileNotFoundError(f"{name}: not on PATH nor in {PARTS}: run make {PARTS.name}/.installed")
    return found


def environment() -> dict[str, str]:
    """The environment in which an unpacked program finds its libraries and files."""
    folders = [*sorted((PARTS / "usr/lib").glob("*-linux-gnu*")), PARTS / "usr/libexec/sudo"]
    libraries = [str(folder) for folder in folders if folder.is_dir()]
    found = os.environ | {"LD_LIBRARY_PATH": ":".join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")]).strip(":")}
    # groff looks for its own files where its package would have put them (groff(1), environment).
    for version in (PARTS / "usr/share/groff").glob("*/tmac"):
        found |= {
            "GROFF_BIN_PATH": str(PARTS / "usr/bin"),
            "GROFF_FONT_PATH": str(version.parent / "font"),
            "GROFF_TMAC_PATH": str(version),
        }
    return found


@contextmanager
def running(
    command: Sequence[str], log: Path, ready: Callable[[], bool], stop_signal: int = signal.SIGTERM
) -> Iterator[subprocess.Popen[bytes]]:
    """The server, from when it is ready to when it is gone; its output goes to a log, which an error shows."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment())
    try:
        wait_until(lambda: process.poll() is not None or ready(), command[0], START_S)
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{log.read_text(errors='replace')}")
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(stop_signal)
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
