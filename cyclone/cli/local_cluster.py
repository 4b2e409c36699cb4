"""The child process of a local Executor: a master without journal and generator, and a controller with its workers.

Owns what such a cluster is made of, and that it ends with whoever started it. Started by
``cyclone.client.local_cluster``; ``argv[1]`` is a JSON object, see there. It says on a pipe, in one line, where it is.
"""

import json
import os
import re
import select
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from cyclone.cli.local import LocalController

if TYPE_CHECKING:
    from cyclone.master.service import MasterOptions, MasterService
    from cyclone.protocol.job_messages import AnyToClient
    from cyclone.protocol.messages import AnyFromMaster
    from cyclone.results import RecordedBlock

_CONTROLLER = "local"
# As long as it takes to start the next one at most.
_STOP_S = 5.0
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

    _look_at = 0.0

    def turn(self, service: "MasterService") -> None:
        """Start it, and start it again where it has died."""
        if service.woke_at >= self._look_at:
            self._look_at = service.woke_at + _LOOK_S
            super().turn(service)


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
        scheduler=SchedulerOptions(),
        feed=None,
        clients=ClientOptions(may_submit=True),
    )


def _run(told: dict[str, Any], ending: Ending) -> None:
    from cyclone import logs
    from cyclone.master.journal import NoJournal
    from cyclone.master.service import MasterService

    logs.configure("local-cluster", None, "text", "warning", False)
    overrides = [
        f"processing.worker_count={told['workers']}",
        "processing.by_value=yes",
        f"processing.environment_keep={','.join(filter(_VARIABLE.fullmatch, os.environ))}",
        "log.level=warning",
        *told["overrides"],
    ]
    controller = SeldomWatched(_CONTROLLER, None, overrides, debug=False)
    with MasterService(_options(), NoJournal(), [ending, controller]) as service:
        with open(told["ready_fd"], "w", encoding="ascii") as ready:
            json.dump({"target": service.target}, ready)
            ready.write("\n")
        with controller.running(service):
            service.run()


def main() -> None:
    """Entry point."""
    from cyclone.cli import common

    told = json.loads(sys.argv[1])
    ending = Ending(told["parent_pid"])

    def run(argv: object) -> int:
        _run(told, ending)
        return common.EXIT_OK

    sys.exit(common.guarded("cyclone local cluster", run))
