"""A whole cluster on this machine, for ``cyclone run`` and ``cyclone bench``: a master here, a controller as a child.

The controller is the ordinary daemon with the ordinary configuration; only where it finds the master is overruled.
"""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cyclone.config_keys import BY_PLACE
from cyclone.config_text import split_set
from cyclone.errors import CycloneError
from cyclone.master.service import MasterService
from cyclone.processes import end_text, python_command
from cyclone.protocol.job_messages import AnyToClient
from cyclone.protocol.messages import AnyFromMaster
from cyclone.results import RecordedBlock

log = logging.getLogger("cyclone.local")

# A controller that dies so often has a cause that another start will not cure.
_RESTARTS_MAX = 5
_END_WAIT_S = 5.0


class LocalController:
    """A listener of the master that keeps one controller alive as long as the master runs."""

    # Standard output belongs to the summary; None is our own.
    _stdout: int | None = 2

    def __init__(self, name: str, config_file: Path | None, overrides: Sequence[str], debug: bool) -> None:
        self._name = name
        self._config_file = config_file
        self._overrides = overrides
        self._debug = debug
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    @property
    def pid(self) -> int:
        """The controller's, 0 before it is started."""
        return self._process.pid if self._process else 0

    @contextmanager
    def running(self, service: MasterService) -> Iterator[None]:
        """The controller is ended before the master is. The first turn starts it, unless nothing is left to do."""
        try:
            yield
        finally:
            self._stop(told=service.scheduler.finished)

    def _start(self, service: MasterService) -> None:
        forced = [
            f"comm.target={service.target}",
            *([f"comm.port={service.port}"] if service.port else []),
            "control.pid_file=",
            # The port is the master's.
            "metrics.port=0",
            # Its tasks are those of our own generator, which could do itself whatever they do.
            "processing.task_modules=*",
            f"control.name={self._name}",
        ]
        arguments = ["--parent-pid", str(os.getpid())]
        if self._config_file:
            arguments += ["-f", str(self._config_file)]
        # What is set for the generator is none of the controller's; its sections may be called as ours are.
        own = [text for text in self._overrides if _place(text) in BY_PLACE]
        for override in [*own, *forced]:
            arguments += ["--set", override]
        if self._debug:
            arguments.append("-D")
        self._process = subprocess.Popen(
            python_command("cyclone.cli.controller:main", *arguments),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            env=service.guard.environment(),
        )
        service.guard.add(self._process.pid)
        self._starts += 1

    def sent(self, message: AnyFromMaster | AnyToClient) -> None:
        """Not our concern."""

    def recorded(self, block: RecordedBlock) -> None:
        """Not our concern."""

    def turn(self, service: MasterService) -> None:
        """A controller that died is replaced: what it held is leased again as soon as the new one says hello."""
        if service.scheduler.finished or service.scheduler.stopping:
            return
        if self._process is None:
            self._start(service)
        if self._process is None or self._process.poll() is None:
            return
        cause = end_text(self._process.returncode)
        service.guard.remove(self._process.pid)
        if self._starts > _RESTARTS_MAX:
            raise CycloneError(f"the controller ended {self._starts} times, the last time with {cause}")
        log.warning("the controller ended with %s: started again", cause)
        self._start(service)

    def _stop(self, told: bool) -> None:
        """End it, at the latest after a few seconds by force; its guardian ends its workers.

        ``told``: the master has said that all is done, so that it is about to end by itself.
        """
        if self._process is None:
            return
        until = time.monotonic() + _END_WAIT_S
        # The second signal means at once.
        for number, wait_s in ((None, 1.0 if told else 0.0), (signal.SIGTERM, 0.2), (signal.SIGTERM, _END_WAIT_S)):
            if number:
                self._process.send_signal(number)
            try:
                self._process.wait(min(wait_s, max(0.0, until - time.monotonic())))
                return
            except subprocess.TimeoutExpired:
                continue
        self._process.kill()
        self._process.wait()


def _place(override: str) -> tuple[str, str]:
    """Section and key of a ``--set``."""
    section, _, key = split_set(override)[0].rpartition(".")
    return section, key.lower()
