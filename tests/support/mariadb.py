"""A real MariaDB server in a folder of its own: killed, stopped and started as often as a test likes.

``install`` makes an empty data folder once, of which each server gets a copy. The user ``root`` comes without a
password by the Unix socket; ``USER`` by both ways, with a password and the right to insert, and ``ADMIN`` with those to
make tables.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mysql.connector

from cyclone.processes import die_with_parent
from tests.support.lab import free_port
from tests.support.parts import PARTS, environment, program
from tests.support.procfs import wait_until

DATABASE = "monitoring"
USER, ADMIN, PASSWORD = "cyclone", "cyclone_admin", "s3cret'\"\\"
_START_S = 30.0
# A packet of eight bytes: its length and number, "query", and the text.
_COMMIT = b"\x03COMMIT"
# Small, so that a copy takes little time.
_SIZES = (
    "--innodb-log-file-size=8M",
    "--innodb-data-file-path=ibdata1:4M:autoextend",
    "--innodb-autoextend-increment=1",
)


def install(folder: Path, *options: str) -> Path:
    """An empty data folder, made with these options."""
    command = [program("mariadb-install-db"), "--no-defaults", f"--datadir={folder}", "--skip-test-db"]
    command += ["--auth-root-authentication-method=normal", "--skip-name-resolve", *_user()]
    if (PARTS / "usr").is_dir():
        command.append(f"--basedir={PARTS}/usr")
    done = subprocess.run(
        [*command, *(options or _SIZES)], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class MariaDb:
    """One server; ``template`` is what ``install`` made. The caller owes ``kill``."""

    def __init__(self, folder: Path, template: Path, *options: str) -> None:
        folder.mkdir()
        self.data = folder / "data"
        shutil.copytree(template, self.data)
        # The path of a socket has little room: give short names to its folders.
        self.socket = folder / "s"
        self.port = free_port()
        self.log = folder / "log"
        self._options = list(options or _SIZES)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        self.execute(f"CREATE DATABASE {DATABASE}")
        self.execute(f"CREATE USER {USER}@'%' IDENTIFIED BY %s", (PASSWORD,))
        self.execute(f"GRANT INSERT ON {DATABASE}.* TO {USER}@'%'")
        # As docs/database-proxy.md says it.
        self.execute(f"CREATE USER {ADMIN}@'%' IDENTIFIED BY %s", (PASSWORD,))
        self.execute(f"GRANT SELECT, CREATE, CREATE VIEW, ALTER, INDEX ON {DATABASE}.* TO {ADMIN}@'%'")

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def start(self, *more: str) -> None:
        """Have it run, and answer."""
        command = [program("mariadbd"), "--no-defaults", f"--datadir={self.data}", f"--socket={self.socket}"]
        command += [
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--skip-log-bin",
            *_user(),
        ]
        command += [
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=1",
            f"--pid-file={self.data}/pid",
        ]
        if (PARTS / "usr").is_dir():
            command.append(f"--lc-messages-dir={PARTS}/usr/share/mysql")
        parent = os.getpid()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._options, *more],
                env=environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: die_with_parent(parent),
            )
        wait_until(self._is_ready, "mariadbd answers", _START_S)

    def _is_ready(self) -> bool:
        assert self._process and self._process.poll() is None, self.log.read_text(errors="replace")
        with contextlib.suppress(mysql.connector.Error), self.connect():
            return True
        return False

    def kill(self) -> None:
        """SIGKILL, and it is gone; again it has no effect."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """A clean shutdown."""
        assert self._process
        self._process.terminate()
        self._process.wait(_START_S)
        self._process = None

    def freeze(self) -> None:
        """It neither runs nor closes a connection from now on."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it was."""
        os.kill(self.pid, signal.SIGCONT)

    def connect(self, user: str = "root", database: str | None = None) -> Any:
        """A connection that commits by itself."""
        return mysql.connector.connect(
            unix_socket=str(self.socket), user=user, database=database, use_pure=True, autocommit=True,
            collation="utf8mb4_general_ci",
        )  # fmt: skip

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """As root, in the database where there is one; the rows that it gives."""
        with self.connect() as connection, connection.cursor() as cursor:
            if not statement.startswith(("CREATE DATABASE", "CREATE USER", "GRANT")):
                cursor.execute(f"USE {DATABASE}")
            cursor.execute(statement, parameters)
            return list(cursor.fetchall()) if cursor.with_rows else []

    def count(self, table: str) -> int:
        """How many rows a table has."""
        [(found,)] = self.execute(f"SELECT count(*) FROM `{table}`")
        return int(found)

    def proxy_keys(self, **more: str) -> dict[str, str]:
        """What ``[db]`` of a proxy needs to store in it."""
        keys = {"host": f"127.0.0.1:{self.port}", "user": USER, "password": PASSWORD, "database": DATABASE}
        return keys | {"timeout": "2s", "store_timeout": "50ms"} | more


def _user() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []


class CommitCutter:
    """A way to the server by TCP. Once ``armed``, it lets a COMMIT through, waits for the answer, and cuts instead of
    passing that on: the server has stored what the other end must take for lost. The caller owes ``close``."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.armed = threading.Event()
        self.cuts = 0
        self._cutting: socket.socket | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """No new connection gets through."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                client.close()
                continue
            for one, other, is_client in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(one, other, is_client), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket, is_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                if is_client and data.endswith(_COMMIT) and self.armed.is_set():
                    # The other thread passes nothing on from now: the answer to this is the next that comes.
                    self.armed.clear()
                    self._cutting = other
                    self.cuts += 1
                elif self._cutting is one:
                    break
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
