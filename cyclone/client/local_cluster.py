"""A private cluster for one Executor: a child process that is its master, which starts a controller with workers.

Owns the child's life as seen from here: what it is told, where its master is, its end. It ends with this process,
whatever happens, because it watches it. Nobody else can talk to it: it listens at a socket file in a folder of its own.
The child's side is ``cyclone.cli.local_cluster``, which this module may know by name alone.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclone.client.connection import Address
from cyclone.client.task_errors import ClusterDied
from cyclone.processes import end_text, python_command

_START_WAIT_S = 60.0
_END_WAIT_S = 10.0


class LocalCluster:
    """Started at once, without waiting for it. A ``stream.Server``."""

    def __init__(self, workers: int, overrides: Sequence[str] = ()) -> None:
        self._ready, ready = os.pipe()
        told = {
            "parent_pid": os.getpid(),
            "workers": workers,
            "ready_fd": ready,
            "overrides": list(overrides),
        }
        try:
            self._process = subprocess.Popen(
                python_command("cyclone.cli.local_cluster:main", json.dumps(told)),
                pass_fds=(ready,),
                stdin=subprocess.PIPE,
                # A Ctrl-C on our terminal is ours to deal with.
                start_new_session=True,
                env=_environment(),
            )
        finally:
            os.close(ready)
        self._pidfd = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        """The child's."""
        return self._process.pid

    def address(self) -> Address:
        """Where its master listens, as soon as it does. Raises ClusterDied."""
        said = b""
        while not said.endswith(b"\n"):
            if not select.select([self._ready], [], [], _START_WAIT_S)[0]:
                raise ClusterDied(f"the local cluster did not start within {_START_WAIT_S:g} s")
            part = os.read(self._ready, 4096)
            if not part:
                raise self.died()
            said += part
        return Address(json.loads(said)["target"], 0)

    def fileno(self) -> int:
        """Readable when the child has ended."""
        return self._pidfd

    def died(self) -> ClusterDied:
        """How it ended by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_WAIT_S)
        status = self._process.returncode
        how = "has closed its pipe" if status is None else f"has ended with {end_text(status)}"
        return ClusterDied(f"the local cluster of this Executor {how}; what it has said is on standard error")

    def close(self) -> None:
        """End it, and wait until nothing of it is left."""
        assert self._process.stdin
        # A word, and not only the end of the pipe: another child of ours may hold that open.
        with contextlib.suppress(BrokenPipeError), self._process.stdin as order:
            order.write(b"end\n")
        try:
            self._process.wait(_END_WAIT_S)
        except subprocess.TimeoutExpired:
            # Its guardian ends what it leaves.
            self._process.kill()
            self._process.wait()
        os.close(self._pidfd)
        os.close(self._ready)


def _environment() -> dict[str, str]:
    """Ours, so that tasks find what they would find here: also the modules."""
    folders = dict.fromkeys(str(Path(folder).resolve()) for folder in sys.path)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
