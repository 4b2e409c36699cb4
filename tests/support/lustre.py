"""A Lustre file system for a test: made in a moment, broken as told, and its ``lfs`` tells what it was asked.

The programs are real processes (20 ms a call); what a test does to the file system itself happens in the test.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from cyclone.lustre.lfs import Target
from tests.fake_lustre import admin
from tests.fake_lustre.faults import set_fault
from tests.fake_lustre.log import LoggedCall, read_log
from tests.fake_lustre.program import Call, execute
from tests.fake_lustre.state import Component, State

GIB = 1024**3


class FakeLustre:
    """``bin`` goes in front of PATH, as ``environment`` has it; or ``Lfs(fake.lfs)`` calls it by its path."""

    def __init__(self, folder: Path, fs: str) -> None:
        self.folder = folder
        self.fs = fs
        self.bin = folder / "bin"
        self.lfs = str(self.bin / "lfs")
        self.mount = folder / "mount"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"}

    def set(self, *words: str) -> None:
        """Break or mend: ``set("ost 5 hang 30s")``, or word by word where a name has blanks.

        What can be set stands in ``fake_lustre/faults.py``, or ``python -m tests.fake_lustre set --help``.
        """
        set_fault(State(str(self.folder)), words[0].split() if len(words) == 1 else list(words))

    def log(self, verb: str = "") -> list[LoggedCall]:
        """All calls of ``lfs``, or those of one verb; ``tests.fake_lustre.log`` has what to assert of them."""
        return [call for call in read_log(self.folder) if call.verb == verb or not verb]

    def populate(self, files: Iterable[tuple[str, int]], size_bytes: int = 0) -> list[str]:
        """Files below the mount point, by name and OST, of this size and without data; returns their paths."""
        state = State(str(self.folder))
        paths = []
        with state.transaction():
            for name, ost in files:
                path = os.path.join(self.mount, name)  # noqa: PTH118 - a Path would change some of these names
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                with open(path, "xb") as file:
                    file.truncate(size_bytes)
                state.add(path, False, (Component((ost,), 1),))
                paths.append(path)
        return paths

    def lay_out(self, name: str, *components: Component, size_bytes: int = 0) -> str:
        """A file with any layout, composite where there are several components; returns its path."""
        path = self.mount / name
        with path.open("xb") as file:
            file.truncate(size_bytes)
        State(str(self.folder)).add(str(path), len(components) > 1, components)
        return str(path)

    def prints(self, *arguments: str) -> str:
        """What ``lfs`` prints, without the time that a process takes. AssertionError where it fails."""
        call = Call(str(self.folder), ["lfs", *arguments])
        code = execute(call)
        call.log("end", code)
        assert code == 0, f"lfs {' '.join(arguments)} ended with {code}"
        return call.printed

    def osts_of(self, path: str) -> list[int]:
        return State(str(self.folder)).file(path).osts

    def used_bytes(self, ost: int) -> int:
        found = State(str(self.folder)).ost(ost)
        assert found is not None, f"there is no OST {ost}"
        return found.used_bytes


def fake_lustre(
    folder: Path,
    osts: int = 8,
    mdts: int = 3,
    fs: str = "lustrefs",
    ost_bytes: int = 64 * GIB,
    fill: tuple[float, ...] = (34, 35),
) -> FakeLustre:
    """Make one in a folder of its own below this one. ``fill`` are per cent, given to the OSTs in turn."""
    fake = FakeLustre(folder / "lustre", fs)
    admin.init(fake.folder, fake.mount, fs, mdts, osts, ost_bytes, fill)
    return fake


def used_percent(target: Target) -> float:
    """Of what users can have, as df(1) counts it."""
    return 100.0 * target.used_bytes / (target.used_bytes + target.available_bytes)
