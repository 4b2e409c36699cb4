"""A private cluster for one Executor: a child process that is its master, which starts a controller with workers.

Owns the child's life as seen from here: what it is told, where its master is, its end, and with a journal the next one
that goes on with it. It ends with this process, whatever happens, because it watches it. Nobody else can talk to it: it
listens at a socket file in a folder of its own. The child's side is ``cyclone.cli.local_cluster``, which this module
may know by name alone.
"""

import contextlib
import json
import logging
import os
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from cyclone import errors, standard_files
from cyclone.client.connection import Address
from cyclone.client.task_errors import ClusterDied
from cyclone.errors import BadRequest
from cyclone.host import memory_bytes
from cyclone.processes import end_text, python_command
from cyclone.protocol.job_spec import JobSpec
from cyclone.units import format_size

log = logging.getLogger("cyclone.client")

CONTROLLER = "local"
"""The name of its only controller."""

_START_WAIT_S = 60.0
_END_WAIT_S = 10.0
# A cluster that ends so often has a cause that another start will not cure.
_STARTS_MAX = 6


class LocalCluster:
    """Started at once, without waiting for it. A ``server.Server``.

    ``journal`` is the file where its master records what it promises; without one nothing outlives it.
    """

    def __init__(self, workers: int, overrides: Sequence[str] = (), journal: str | Path | None = None) -> None:
        self._told = {
            "parent_pid": os.getpid(),
            "workers": workers,
            "controller": CONTROLLER,
            "overrides": list(overrides),
            # As it is meant now, wherever this program goes before another start.
            "journal": "" if journal is None else str(Path(journal).absolute()),
        }
        self._child = _Child(self._told)
        self._starts = 1
        self._address: Address | None = None

    @property
    def pid(self) -> int:
        """The child's."""
        return self._child.process.pid

    def address(self) -> Address:
        """Where its master listens, as soon as it does.

        Raises ClusterDied where it has ended, and what it says itself where it must not start: ConfigError,
        AlreadyRunning.
        """
        if self._address is None:
            self._address = Address(self._child.target(), 0)
        return self._address

    def fileno(self) -> int:
        """Readable when the child has ended."""
        return self._child.pidfd

    def renew(self) -> None:
        """It has ended by itself: have another one go on with its journal, as soon as that listens.

        Raises ClusterDied where there is no journal, or no end of it, and what ``address`` raises.
        """
        while self._told["journal"] and self._starts < _STARTS_MAX:
            log.warning("%s: another one goes on with the journal %s", self.died(), self._told["journal"])
            former, self._child, self._address = self._child, _Child(self._told), None
            self._starts += 1
            former.close()
            with contextlib.suppress(ClusterDied):
                self.address()
                return
        raise self.died()

    def died(self) -> ClusterDied:
        """How it ended by itself."""
        return self._child.died()

    def close(self) -> None:
        """End it, and wait until nothing of it is left."""
        self._child.close()


def check_feasible(spec: JobSpec, workers: int) -> None:
    """Raise BadRequest for a job that no private cluster with so many workers could ever execute: no other node comes,
    and nobody else could ask why it waits.
    """
    if spec.cpus > workers:
        has_workers = f"{workers} worker{'s' * (workers != 1)}"
        raise BadRequest(f"cpus: {spec.cpus} for each task, and this private cluster has {has_workers}")
    if spec.mem_bytes and spec.mem_bytes > (has := memory_bytes()):
        raise BadRequest(f"mem: {format_size(spec.mem_bytes)} for each task, and this host has {format_size(has)}")
    for field in ("resources", "labels"):
        if named := getattr(spec, field):
            raise BadRequest(f"{field}: a private cluster has none, such as {next(iter(named))}")
    host = socket.gethostname()
    ours = {CONTROLLER, host, host.partition(".")[0]}
    for field, is_meant in (("nodes", not spec.nodes or ours & {*spec.nodes}), ("exclude", not ours & {*spec.exclude})):
        if not is_meant:
            raise BadRequest(f"{field}: a private cluster has this host alone, {host}, or {CONTROLLER}")


class _Child:
    """One process, from its start to its end. ``pidfd`` is readable when it has ended."""

    def __init__(self, told: dict[str, Any]) -> None:
        standard_files.fill()
        self._ready, ready = os.pipe()
        try:
            self.process = subprocess.Popen(
                python_command("cyclone.cli.local_cluster:main", json.dumps({**told, "ready_fd": ready})),
                pass_fds=(ready,),
                stdin=subprocess.PIPE,
                # Its tasks print where we do.
                stdout=_same(sys.__stdout__),
                stderr=_same(sys.__stderr__),
                # A Ctrl-C on our terminal is ours to deal with.
                start_new_session=True,
                env=_environment(),
            )
        except BaseException:
            os.close(self._ready)
            raise
        finally:
            os.close(ready)
        self.pidfd = os.pidfd_open(self.process.pid)

    def target(self) -> str:
        """Where it listens; see ``LocalCluster.address``."""
        said = b""
        # Unlike select() it takes descriptors of any number.
        ready = select.poll()
        ready.register(self._ready, select.POLLIN)
        while not said.endswith(b"\n"):
            if not ready.poll(_START_WAIT_S * 1000):
                raise ClusterDied(f"the local cluster did not start within {_START_WAIT_S:g} s")
            part = os.read(self._ready, 4096)
            if not part:
                raise self.died()
            said += part
        found = json.loads(said)
        if "refused" in found:
            raise getattr(errors, found["refused"], errors.CycloneError)(found["text"])
        return str(found["target"])

    def died(self) -> ClusterDied:
        """How it ended by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_WAIT_S)
        status = self.process.returncode
        how = "has closed its pipe" if status is None else f"has ended with {end_text(status)}"
        return ClusterDied(f"the private cluster on this host {how}; what it has said is on standard error")

    def close(self) -> None:
        """End it, and wait until nothing of it is left."""
        assert self.process.stdin
        # A word, and not only the end of the pipe: another child of ours may hold that open.
        with contextlib.suppress(BrokenPipeError), self.process.stdin as order:
            order.write(b"end\n")
        try:
            self.process.wait(_END_WAIT_S)
        except subprocess.TimeoutExpired:
            # Its guardian ends what it leaves.
            self.process.kill()
            self.process.wait()
        os.close(self.pidfd)
        os.close(self._ready)


def _same(stream: TextIO | None) -> int | None:
    """For the child to have this, too. A program that was started without it may have anything by its number."""
    return subprocess.DEVNULL if stream is None else None


def _environment() -> dict[str, str]:
    """Ours, so that tasks find what they would find here: also the modules."""
    folders = dict.fromkeys(str(Path(folder).resolve()) for folder in sys.path)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
