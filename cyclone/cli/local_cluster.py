"""The child process of a local Executor: a master without generator, and a controller with its workers.

Owns what such a cluster is made of, and that it ends with whoever started it. Started by
``cyclone.client.local_cluster``; ``argv[1]`` is a JSON object, see there. It says on a pipe, in one line, where it is,
or why it does not start.
"""

import json
import os
import re
import select
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclone.cli.local import LocalController
from cyclone.errors import CycloneError

if TYPE_CHECKING:
    from cyclone.master.journal import Journal
    from cyclone.master.service import MasterOptions, MasterService
    from cyclone.protocol.job_messages import AnyToClient
    from cyclone.protocol.messages import AnyFromMaster
    from cyclone.results import RecordedBlock

# As long as it takes to start the next one at most.
_STOP_S = 5.0
# A program that lives says so of its jobs every ten minutes: those of one that was killed end with what they have.
_ABANDON_S = 3600.0
_LOOK_S = 0.2
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Ending:
    """A listener of the master that ends it when its user says so on standard input, or has ended.

    The process is watched, and not, as PR_SET_PDEATHSIG does, the thread of it that started us.
    """

    def __init__(self, parent_pid: int) -> None:
        try:
            self._parent = os.pidfd_open(parent_pid)
        except ProcessLookupError:
            os._exit(1)
        if os.getppid() != parent_pid:
            os._exit(1)
        self._is_over = False
        threading.Thread(target=self._watch, name="watch-parent", daemon=True).start()

    def _watch(self) -> None:
        select.select([self._parent, sys.stdin.fileno()], [], [])
        self._is_over = True
        # Wakes the loop up.
        os.kill(os.getpid(), signal.SIGTERM)

    def sent(self, message: "AnyFromMaster | AnyToClient") -> None:
        """Not our concern."""

    def recorded(self, block: "RecordedBlock") -> None:
        """Not our concern."""

    def turn(self, service: "MasterService") -> None:
        """Nobody is left who would wait for anything."""
        if self._is_over:
            service.leave()


class SeldomWatched(LocalController):
    """Looks after its controller now and then: each look is a system call, in each of the two turns of a round trip."""

    _stdout = None
    _look_at = 0.0

    def turn(self, service: "MasterService") -> None:
        """Start it, and start it again where it has died."""
        if service.woke_at >= self._look_at:
            self._look_at = service.woke_at + _LOOK_S
            super().turn(service)


def _journal(path: str) -> "Journal":
    """As a daemon without a generator has it, which may go on with it. Raises ConfigError, AlreadyRunning."""
    if not path:
        from cyclone.master.journal import NoJournal

        return NoJournal()
    from cyclone.journal import Origin, open_journal

    return open_journal(Path(path), Origin("", {}))


def _options() -> "MasterOptions":
    from cyclone.master.clients.client_desk import ClientOptions
    from cyclone.master.scheduler import SchedulerOptions
    from cyclone.master.service import MasterOptions

    return MasterOptions(
        # Its user's alone: the folder is guarded, and no port is open.
        target="",
        port=0,
        poll_timeout_s=1.0,
        stop_timeout_s=_STOP_S,
        scheduler=SchedulerOptions(abandon_s=_ABANDON_S),
        feed=None,
        clients=ClientOptions(may_submit=True),
    )


def _run(told: dict[str, Any], ending: Ending) -> int:
    from cyclone import logs
    from cyclone.cli import common
    from cyclone.master.service import MasterService

    logs.configure("local-cluster", None, "text", "warning", False)
    try:
        journal = _journal(told["journal"])
    except CycloneError as error:
        # Whoever has started us raises it.
        _say(told, {"refused": type(error).__name__, "text": str(error)})
        return common.exit_code(error)
    overrides = [
        f"processing.worker_count={told['workers']}",
        "processing.by_value=yes",
        # As those of the standard library's process pool do.
        "processing.output=inherit",
        f"processing.environment_keep={','.join(filter(_VARIABLE.fullmatch, os.environ))}",
        "log.level=warning",
        *told["overrides"],
    ]
    controller = SeldomWatched(told["controller"], None, overrides, debug=False)
    with MasterService(_options(), journal, [ending, controller]) as service:
        _say(told, {"target": service.target})
        with controller.running(service):
            service.run()
    return common.EXIT_OK


def _say(told: dict[str, Any], found: dict[str, str]) -> None:
    with open(told["ready_fd"], "w", encoding="ascii") as ready:
        json.dump(found, ready)
        ready.write("\n")


def main() -> None:
    """Entry point."""
    from cyclone.cli import common

    told = json.loads(sys.argv[1])
    ending = Ending(told["parent_pid"])

    sys.exit(common.guarded("cyclone local cluster", lambda _: _run(told, ending)))
