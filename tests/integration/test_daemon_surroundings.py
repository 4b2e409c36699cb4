"""What surrounds a daemon: systemd's notify socket, and logrotate."""

import json
import signal
import socket
from pathlib import Path

import pytest

from tests.support.lab import Lab
from tests.support.procfs import wait_until


class NotifySocket:
    """What systemd would hear."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.01)
        self.heard: list[str] = []

    def hears(self, start: str) -> str:
        """The next datagram that has a line of this start."""

        def next_datagram() -> str:
            try:
                text = self._socket.recv(4096).decode()
            except TimeoutError:
                return ""
            self.heard.append(text)
            return text if any(line.startswith(start) for line in text.splitlines()) else ""

        return wait_until(next_datagram, f"{start!r} is told; so far {self.heard}")

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("role", ["master", "controller"])
def test_given_a_notify_socket_when_a_daemon_lives_then_ready_watchdog_status_and_stopping_are_told(
    lab: Lab, role: str
) -> None:
    # Left to itself the loop would sleep for longer than systemd waits.
    lazy = {"poll_timeout": "1h", "port": str(lab.port)}
    config = lab.script({"what": "gate", "value": "gate"}, comm=lazy, control={"request_retry_wait_duration": "30s"})
    path = lab.folder / "notify"
    systemd = NotifySocket(path)
    try:
        daemon = lab.start(
            f"cyclone-{role}", "-f", config, environment={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
        )
        assert systemd.hears("READY=1").splitlines()[0] == "READY=1"
        status = systemd.hears("STATUS=")
        assert "workers busy" in status or "controllers" in status
        # Twice: the loop goes on turning while nothing happens.
        systemd.hears("WATCHDOG=1")
        systemd.hears("WATCHDOG=1")
        if role == "controller":
            lab.master(config)
        else:
            lab.controller(config, "one")
        lab.noted("start")
        daemon.signal(signal.SIGTERM)
        systemd.hears("STOPPING=1")
        lab.open("gate")
        assert daemon.exits() == 0
        assert not any("READY=1" in text for text in systemd.heard[1:]), "only the daemon itself speaks"
    finally:
        systemd.close()


@pytest.mark.parametrize("role", ["master", "controller"])
def test_given_a_log_file_when_it_is_rotated_away_then_the_next_line_is_in_a_new_one(lab: Lab, role: str) -> None:
    log = lab.folder / f"{role}.log"
    config = lab.script(log={"filename": str(log), "format": "json"})
    daemon = lab.start(f"cyclone-{role}", "-f", config)
    wait_until(lambda: log.exists() and log.read_text().count("\n"), "a first line")
    rotated = log.rename(log.with_suffix(".1"))
    daemon.signal(signal.SIGTERM)
    assert daemon.exits() == 0
    for path in (rotated, log):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert lines
        assert {line["role"] for line in lines} == {role}
    assert daemon.stderr() == ""


def test_given_a_log_file_of_a_run_when_tasks_log_then_their_lines_are_in_it(lab: Lab) -> None:
    log = lab.folder / "run.log"
    config = lab.script({"what": "log"}, log={"filename": str(log)})
    assert lab.run(config).exits() == 0
    assert "WARNING: task=1 said by a task" in log.read_text()
