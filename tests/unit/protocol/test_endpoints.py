"""Addresses: how hosts and socket files are written, and who keeps others from a file."""

import os
import socket
from pathlib import Path

import pytest
import zmq

from cyclone.errors import AlreadyRunning, ConfigError
from cyclone.protocol.endpoints import check_file, endpoint, in_folder, is_listening, opening, shown
from cyclone.protocol.sockets import POLLIN, controller_socket, master_socket, receive_all, send_at_once


@pytest.mark.parametrize(
    ("target", "port", "for_zeromq", "for_people"),
    [
        ("127.0.0.1", 5678, "tcp://127.0.0.1:5678", "127.0.0.1 port 5678"),
        ("::1", 5678, "tcp://[::1]:5678", "::1 port 5678"),
        ("*", 0, "tcp://*:*", "* port 0"),
        ("ipc:///run/me/master", 5678, "ipc:///run/me/master", "ipc:///run/me/master"),
    ],
)
def test_given_a_target_then_zeromq_and_people_are_told_in_their_own_ways(
    target: str, port: int, for_zeromq: str, for_people: str
) -> None:
    assert (endpoint(target, port), shown(target, port)) == (for_zeromq, for_people)


@pytest.mark.parametrize("path", ["", "relative", "@abstract", "*", "/", "/folder/", "/line\nbreak", "/bad\udc80byte"])
def test_given_what_is_no_absolute_path_then_it_is_no_socket_file(path: str) -> None:
    with pytest.raises(ValueError, match="is no socket file: write ipc:// and an absolute path"):
        check_file(f"ipc://{path}")


def test_given_a_path_then_it_may_take_as_many_bytes_as_the_system_has_room_for(tmp_path: Path) -> None:
    longest = f"/{'é' * 53}"
    assert check_file(f"ipc://{longest}")
    with pytest.raises(ValueError, match="path of 108 bytes, that of a socket file has 107 at most"):
        check_file(f"ipc://{longest}x")
    with socket.socket(socket.AF_UNIX) as real, pytest.raises(OSError, match="too long"):
        real.bind(f"{longest}x")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0o700, ""),
        (0o500, ""),
        (0o710, "others may enter (mode 710; chmod 700 closes it)"),
        (0o701, "others may enter (mode 701; chmod 700 closes it)"),
        (0o1777, "others may enter (mode 1777; chmod 700 closes it)"),
    ],
)
def test_given_a_folder_then_a_file_in_it_is_closed_only_where_nobody_else_may_enter(
    tmp_path: Path, mode: int, expected: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    found = opening(f"ipc://{folder}/master")
    assert found == (f"is in {folder}, which {expected}" if expected else "")


def test_given_a_folder_of_another_user_or_none_then_the_file_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "which cannot be looked at (No such file or directory)" in opening(f"ipc://{tmp_path}/none/master")
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    if folder.stat().st_uid:
        assert f"which belongs to user {folder.stat().st_uid}" in opening(f"ipc://{folder}/master")
    else:
        # Root's own may be trusted by everybody.
        assert opening(f"ipc://{folder}/master") == ""
        os.chown(folder, 4321, 4321)
        assert "which belongs to user 4321" in opening(f"ipc://{folder}/master")


@pytest.mark.parametrize("folder", ["short", "x" * 120])
def test_given_a_socket_file_then_both_ends_meet_there_and_a_second_master_does_not_take_it_away(
    tmp_path: Path, folder: str
) -> None:
    tmp_path = tmp_path / folder
    tmp_path.mkdir(mode=0o700)
    target = in_folder(tmp_path, "master")
    assert check_file(target) and not opening(target)
    # What one that was killed has left behind.
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(target.removeprefix("ipc://"))
    assert (tmp_path / "master").is_socket()
    assert not is_listening(target)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        master, port = master_socket(context, target, 5678)
        assert port == 0
        controller, _ = controller_socket(context, target, 0)
        with pytest.raises(AlreadyRunning, match=f"somebody listens at {target}"):
            master_socket(context, target, 0)
        assert controller.poll(5000, zmq.POLLOUT)
        send_at_once(controller, [b"CYC1", b"body"])
        assert master.poll(5000, POLLIN)
        [(_, *frames)] = receive_all(master, 2)
        assert frames == [b"CYC1", b"body"]
    finally:
        context.destroy(linger=0)


def test_given_a_folder_that_is_not_there_then_binding_says_so(tmp_path: Path) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        with pytest.raises(ConfigError, match="cannot bind ipc://.*/none/master"):
            master_socket(context, f"ipc://{tmp_path}/none/master", 0)
    finally:
        context.destroy(linger=0)
