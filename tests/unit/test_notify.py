"""sd_notify over a real datagram socket: what is said, when, and that silence elsewhere is harmless."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cyclone.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """systemd's end, and what it would put into $NOTIFY_SOCKET."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@cyclone-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        end.settimeout(5)
        yield end, address


def heard(end: socket.socket) -> list[str]:
    """All datagrams that are there; a datagram of a local socket is there as soon as it was sent."""
    found = []
    end.setblocking(False)
    try:
        while True:
            found.append(end.recv(4096).decode())
    except BlockingIOError:
        return found


def test_given_systemd_when_a_service_lives_then_it_hears_each_word(service: tuple[socket.socket, str]) -> None:
    end, address = service
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    assert notifier.ready("bound to 127.0.0.1:5678")
    assert notifier.status("12 running, 3 free")
    assert notifier.extend_timeout(1.5)
    assert notifier.stopping("waiting for 3 tasks")
    assert heard(end) == [
        "READY=1\nSTATUS=bound to 127.0.0.1:5678",
        "STATUS=12 running, 3 free",
        "EXTEND_TIMEOUT_USEC=1500000",
        "STOPPING=1\nSTATUS=waiting for 3 tasks",
    ]
    notifier.close()
    assert not notifier.status("more")


def test_given_a_status_with_a_line_break_when_sent_then_it_is_not_another_assignment(
    service: tuple[socket.socket, str],
) -> None:
    end, address = service
    assert Notifier(address, 0).status("x\nMAINPID=1 \udc80")
    assert heard(end) == ["STATUS=x\\nMAINPID=1 ?"]


def test_given_a_watchdog_when_the_loop_turns_then_it_is_fed_at_half_the_interval(
    service: tuple[socket.socket, str],
) -> None:
    end, address = service
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier.from_environment(environ)
    assert notifier.longest_wait_s(100) == 15
    assert notifier.longest_wait_s(1) == 1
    turns = [100.0, 100.1, 129.9, 130.0, 130.1, 159.9, 200.0, 201.0]
    assert [now for now in turns if notifier.watchdog(now)] == [100.0, 130.0, 200.0]
    assert heard(end) == ["WATCHDOG=1"] * 3


@pytest.mark.parametrize(
    ("usec", "pid"), [("", ""), ("0", ""), ("-5", ""), ("x", ""), ("٣", ""), ("60000000", "1"), ("60000000", "x")]
)
def test_given_no_watchdog_for_this_process_when_the_loop_turns_then_nothing_is_said(
    service: tuple[socket.socket, str], usec: str, pid: str
) -> None:
    end, address = service
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid})
    assert notifier.longest_wait_s(100) == 100
    assert not notifier.watchdog(100)
    assert heard(end) == []


def test_given_the_environment_when_read_then_children_do_not_inherit_it() -> None:
    environ = {"NOTIFY_SOCKET": "/none", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/x"}
    Notifier.from_environment(environ).close()
    assert environ == {"HOME": "/x"}


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative"])
def test_given_no_systemd_when_called_then_every_word_does_nothing(address: str) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    said = [notifier.ready("x"), notifier.status("x"), notifier.stopping("x"), notifier.extend_timeout(1)]
    assert said == [False] * 4
    assert notifier.longest_wait_s(100) == 100
    assert not notifier.watchdog(1)
    notifier.close()


def test_given_systemd_went_away_when_called_then_it_says_so_and_goes_on(tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "gone"), 10)
    assert not notifier.ready("x")
    assert not notifier.watchdog(1)
    notifier.close()


def test_given_systemd_does_not_read_when_its_queue_is_full_then_the_loop_is_not_blocked_and_tries_again(
    service: tuple[socket.socket, str],
) -> None:
    end, address = service
    notifier = Notifier(address, 10)
    sent = 0
    while notifier.status("x"):
        sent += 1
    assert sent > 0
    started_s = time.monotonic()
    assert not notifier.watchdog(100.0)
    assert time.monotonic() - started_s < 1
    assert len(heard(end)) == sent
    assert notifier.watchdog(100.1)
    assert heard(end) == ["WATCHDOG=1"]


def test_given_a_notifier_when_a_child_is_started_then_its_socket_is_not_inherited(tmp_path: Path) -> None:
    before = _sockets()
    notifier = Notifier(str(tmp_path / "s"), 0)
    (opened,) = _sockets() - before
    assert not os.get_inheritable(opened)
    notifier.close()
    assert _sockets() == before


def _sockets() -> set[int]:
    entries = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return {int(entry.name) for entry in entries if str(entry.readlink()).startswith("socket:")}
