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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclone.cli.local import LocalController
from cyclone.security import key_files
from cyclone.security.key_files import PeerEntry, ServerKey
from cyclone.security.registry import Reading, Registry, Signature
from cyclone.security.roles import PeerRole

if TYPE_CHECKING:
    from cyclone.master.service import MasterOptions, MasterService
    from cyclone.protocol.job_messages import AnyToClient
    from cyclone.protocol.messages import AnyFromMaster
    from cyclone.results import RecordedBlock

_CONTROLLER = "local"
_CLIENT = "executor"
# As long as it takes to start the next one at most.
_STOP_S = 5.0
_LOOK_S = 0.2
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class PrivateKeys(Registry):
    """The keys of a cluster with one controller and one client, in memory; only the controller's is handed on."""

    def __init__(self, client_public: str) -> None:
        super().__init__(Path())
        now = key_files.utc_now()
        self._server_key = ServerKey(*key_files.new_pair(), "", now)
        self._controller = key_files.new_pair()
        owners: list[tuple[str, PeerRole, str]] = [
            (_CLIENT, "admin", client_public),
            (_CONTROLLER, "controller", self._controller[0]),
        ]
        self._reading = Reading(
            {public: PeerEntry(name, role, public, now) for name, role, public in owners}, faults=[]
        )

    def server_key(self) -> ServerKey:
        """The master's key."""
        return self._server_key

    def peers(self) -> Reading:
        """The two."""
        return self._reading

    def signature(self) -> Signature:
        """They never change."""
        return frozenset()

    def write_controller_key(self, folder: Path) -> Path:
        """The controller's key file in a private folder."""
        path = folder / "controller.key"
        public, secret = self._controller
        server = self._server_key
        fields = {"name": _CONTROLLER, "role": "controller", "public": public, "created": server.created}
        key_files.create(path, "Of one run.", fields | {"secret": secret, "server": server.public})
        return path


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


def _options(keys: PrivateKeys) -> "MasterOptions":
    from cyclone.master.client_desk import ClientOptions
    from cyclone.master.scheduler import SchedulerOptions
    from cyclone.master.service import MasterOptions
    from cyclone.security.gate import GateOptions

    return MasterOptions(
        target="127.0.0.1",
        port=0,
        poll_timeout_s=1.0,
        stop_timeout_s=_STOP_S,
        scheduler=SchedulerOptions(),
        feed=None,
        gate=GateOptions(keys),
        clients=ClientOptions(may_submit=True),
    )


def _run(told: dict[str, Any], ending: Ending) -> None:
    from cyclone import logs
    from cyclone.master.journal import NoJournal
    from cyclone.master.service import MasterService

    logs.configure("local-cluster", None, "text", "warning", False)
    keys = PrivateKeys(told["client_public"])
    overrides = [
        f"processing.worker_count={told['workers']}",
        "processing.by_value=yes",
        f"processing.environment_keep={','.join(filter(_VARIABLE.fullmatch, os.environ))}",
        "log.level=warning",
        *told["overrides"],
    ]
    controller = SeldomWatched(_CONTROLLER, None, overrides, debug=False)
    with MasterService(_options(keys), NoJournal(), [ending, controller]) as service:
        overrides.append(f"comm.key_file={keys.write_controller_key(service.guard.folder)}")
        with open(told["ready_fd"], "w", encoding="ascii") as ready:
            json.dump({"port": service.port, "server": keys.server_key().public}, ready)
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
