"""Closed by default, and open to those with a key alone: real masters and controllers, off loopback."""

import argparse
import json
import os
import re
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from cyclone.cli.keys import keys as keys_command
from tests.support.keys import Keys, own_address
from tests.support.lab import Lab, Started

ONE_WORKER = "processing.worker_count=1"
CUT_WITHIN_S = 3.0
QUICK = {"what": "quick", "times": 20}


@pytest.fixture
def keys(lab: Lab) -> Keys:
    return Keys(lab)


def done(lab: Lab, count: int) -> list[str]:
    """Which controller each task was done by, once all are."""
    lab.noted("result", count)
    notes = lab.notes("result")
    assert sorted(note["task"] for note in notes) == list(range(1, count + 1))
    assert {note["state"] for note in notes} == {"completed"}
    return [note["controller"] for note in notes]


def ends(lab: Lab, command: str, config: Path, *sets: str) -> Started:
    """A daemon that ends by itself."""
    return lab.start(command, "-f", config, *(word for one in sets for word in ("--set", one)))


# --- what is open without keys


def test_given_no_keys_when_a_master_starts_by_default_then_it_listens_on_loopback_alone(lab: Lab) -> None:
    master = lab.master(lab.script(QUICK))
    listening = [
        connection.laddr
        for process in [psutil.Process(master.pid), *psutil.Process(master.pid).children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM
    ]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", lab.port)]
    with pytest.raises(ConnectionError), socket.create_connection((own_address(), lab.port), timeout=5):
        pass


@pytest.mark.parametrize(
    ("command", "target"), [("cyclone-master", "*"), ("cyclone-master", "0.0.0.0"), ("cyclone-controller", "own")]
)
def test_given_no_keys_off_loopback_then_starting_is_refused_and_checking_warns(
    lab: Lab, command: str, target: str
) -> None:
    target = own_address() if target == "own" else target
    config = lab.script(QUICK, comm={"target": target})
    refused = ends(lab, command, config)
    assert refused.exits() == 78
    for part in (f"[comm] target = {target} ", "cyclone keys init", "cyclone keys add", "insecure = yes"):
        assert part in refused.stderr()
    checked = lab.start(command, "-f", config, "--check-config")
    assert checked.exits() == 0
    assert f"warning: {config}:" in checked.stderr()
    assert "insecure" in checked.stdout()


def test_given_insecure_then_it_works_and_both_say_so_at_each_start(lab: Lab) -> None:
    config = lab.script(QUICK, comm={"target": "0.0.0.0", "insecure": "yes"})
    master = lab.master(config)
    controller = lab.controller(config, "one", f"comm.target={own_address()}")
    done(lab, 20)
    for daemon in (master, controller):
        assert daemon.stderr().count("WARNING: insecure = yes: ") == 1


# --- keys


def test_given_a_key_then_all_works_off_loopback_also_for_one_that_is_added_meanwhile(lab: Lab, keys: Keys) -> None:
    config = keys.config({"what": "gate", "value": "gate", "times": 2}, QUICK)
    first = keys.add("one")
    lab.master(config)
    keys.controller(config, "one", first, ONE_WORKER)
    keys.controller(config, "two/of/it", keys.add("two"), ONE_WORKER)
    lab.noted("start", 2, what="gate")
    lab.open("gate")
    assert set(done(lab, 22)) == {"one", "two/of/it"}


def test_given_a_name_that_nobody_chose_then_it_follows_the_key(lab: Lab, keys: Keys) -> None:
    config = keys.config(QUICK)
    lab.master(config)
    sets = (f"comm.target={own_address()}", f"comm.key_file={keys.add('one')}")
    ends(lab, "cyclone-controller", config, *sets).says("welcomed by the master")
    (name,) = set(done(lab, 20))
    assert re.fullmatch(rf"one/{re.escape(os.uname().nodename)}-\d+", name)


def test_given_no_key_or_a_wrong_one_then_nothing_comes_through_and_the_controller_says_why(
    lab: Lab, keys: Keys
) -> None:
    config = keys.config(QUICK)
    good = keys.add("good")
    gone = keys.add("gone")
    kept = lab.folder / "kept.key"
    kept.write_bytes(gone.read_bytes())
    kept.chmod(0o600)
    keys.does("revoke", "gone")
    other = Keys(lab, "other").add("good")
    master = lab.master(config)
    unwelcome = {
        "wants a key": lab.controller(
            config, "none", f"comm.target={own_address()}", "comm.insecure=yes", welcomed=False
        ),
        "the master does not know our key": keys.controller(config, "gone", kept, welcomed=False),
        "our key file names another master's key": keys.controller(config, "good", other, welcomed=False),
    }
    for reason, controller in unwelcome.items():
        controller.says(reason)
    assert lab.notes("start") == []
    assert " joined " not in master.stderr()
    keys.controller(config, "good", good)
    assert set(done(lab, 20)) == {"good"}
    assert master.stderr().count(" joined ") == 1
    assert all(controller.alive for controller in unwelcome.values())


def test_given_a_master_without_keys_then_a_controller_with_one_tells_it_nothing(lab: Lab, keys: Keys) -> None:
    key_file = keys.add("one")
    config = lab.script(QUICK)
    master = lab.master(config)
    controller = lab.controller(config, "one", f"comm.key_file={key_file}", welcomed=False)
    controller.says("what listens there has no keys")
    assert " joined " not in master.stderr()


def test_given_a_live_controller_when_its_key_is_revoked_then_it_is_cut_and_its_tasks_go_elsewhere(
    lab: Lab, keys: Keys
) -> None:
    config = keys.config({"what": "gate_once", "value": "never", "times": 1}, QUICK)
    one_key, two_key = keys.add("one"), keys.add("two")
    # Silence alone would not bring the task back within this test.
    master = ends(lab, "cyclone-master", config, "control.controller_timeout=1h", "control.heartbeat_interval=500ms")
    master.says("master at ")
    one = keys.controller(config, "one", one_key, ONE_WORKER)
    lab.noted("start", what="gate_once")
    keys.controller(config, "two", two_key, ONE_WORKER)
    keys.does("revoke", "one")
    master.says("controller=one shut out", CUT_WITHIN_S)
    assert one.exits() == 1
    assert "forbidden: this key was revoked" in one.stderr()
    assert set(done(lab, 21)[-1:]) == {"two"}
    assert [note["attempt"] for note in lab.notes("start", what="gate_once")] == [1, 2]
    assert not one_key.exists()


def test_given_a_key_when_used_for_another_name_then_the_controller_is_refused_and_ends(lab: Lab, keys: Keys) -> None:
    config = keys.config(QUICK)
    master = lab.master(config)
    keys.add("two")
    thief = keys.controller(config, "two", keys.add("one"), welcomed=False)
    assert thief.exits() == 1
    assert "forbidden: the key of one is not for a controller named two" in thief.stderr()
    assert " joined " not in master.stderr()


@pytest.mark.parametrize(("role", "code"), [("client", 0), ("monitor", 0), ("controller", 78), (None, 78)])
def test_given_a_role_when_the_status_is_asked_for_then_a_controllers_key_or_none_is_not_enough(
    lab: Lab, keys: Keys, role: str | None, code: int
) -> None:
    key = ["--key-file", str(keys.add("bob", role))] if role else []
    lab.master(keys.config(QUICK))
    server = f"tcp://{own_address()}:{lab.port}"
    asked = lab.start("cyclone", "status", "--connect", server, "--connect-timeout", "3", *key)
    assert asked.exits() == code, asked.stderr()
    assert ("generator" in asked.stdout()) == (code == 0)


def test_given_a_revoked_key_then_a_question_ends_as_one_without_the_right_to_it(lab: Lab, keys: Keys) -> None:
    key = keys.add("bob", "client").rename(lab.folder / "bob.key")
    keys.does("revoke", "bob")
    lab.master(keys.config(QUICK))
    here = ("--connect", f"tcp://127.0.0.1:{lab.port}", "--connect-timeout", "60")
    asked = lab.start("cyclone", "status", *here, "--key-file", str(key))
    assert asked.exits(deadline_s=20) == 77, asked.stderr()
    assert "the master does not know our key: it was revoked" in asked.stderr()


def test_given_no_key_where_one_is_wanted_then_a_question_is_not_answered_however_insecurely_it_is_asked(
    lab: Lab, keys: Keys
) -> None:
    lab.master(keys.config(QUICK))
    server = f"tcp://{own_address()}:{lab.port}"
    asked = lab.start("cyclone", "status", "--connect", server, "--connect-timeout", "60", "--insecure")
    assert asked.exits(deadline_s=50) == 77, asked.stderr()
    assert "generator" not in asked.stdout()


def test_given_the_key_of_a_monitor_when_it_cancels_then_it_is_refused_and_nothing_is_cancelled(
    lab: Lab, keys: Keys
) -> None:
    config = keys.config({"what": "gate", "value": "gate"}, QUICK)
    lab.master(config)
    key_file = keys.add("bob", "monitor")
    server = f"tcp://{own_address()}:{lab.port}"
    cancel = lab.start("cyclone", "cancel", "--all", "--connect", server, "--key-file", key_file)
    assert cancel.exits() == 77
    assert "role monitor, which may not cancel tasks of the whole master" in cancel.stderr()
    keys.controller(config, "one", keys.add("one"))
    lab.open("gate")
    assert len(done(lab, 21)) == 21


@pytest.mark.parametrize("part", ["server.key", "peers/one.pub", "peers", "outgoing/one.key"])
def test_given_keys_that_others_can_read_then_nothing_starts_with_them(lab: Lab, keys: Keys, part: str) -> None:
    key_file = keys.add("one")
    config = keys.config(QUICK)
    path = keys.folder / part
    path.chmod(path.stat().st_mode | 0o040)
    if part.startswith("outgoing"):
        sets = (f"comm.target={own_address()}", f"comm.key_file={key_file}")
        refused = ends(lab, "cyclone-controller", config, *sets)
    else:
        refused = ends(lab, "cyclone-master", config)
    assert refused.exits() == 78
    assert f"{path}: group or others have access to it" in refused.stderr()
    assert "chmod " in refused.stderr()


def test_given_keys_when_the_port_is_taken_then_the_master_ends_all_the_same(lab: Lab, keys: Keys) -> None:
    config = keys.config(QUICK)
    lab.master(config)
    second = ends(lab, "cyclone-master", config, f"control.state_dir={lab.folder / 'second'}")
    assert second.exits() == 1
    assert "is taken" in second.stderr()


# --- the network in between


class Tap:
    """A TCP relay to the lab's master that keeps what it has seen; ``sent`` is per connection, from the client."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.seen = bytearray()
        self.sent: list[bytearray] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join()

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                self._start(self._relay, near, socket.create_connection(("127.0.0.1", self._target)))

    def _relay(self, near: socket.socket, far: socket.socket) -> None:
        sent = bytearray()
        self.sent.append(sent)
        with near, far, suppress(ConnectionError):
            while True:
                for one in select.select([near, far], [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        return
                    self.seen += data
                    if one is near:
                        sent += data
                    (far if one is near else near).sendall(data)


@pytest.fixture
def tap(lab: Lab) -> Iterator[Tap]:
    tap = Tap(lab.port)
    with ExitStack() as stack:
        stack.callback(tap.close)
        yield tap


@pytest.mark.parametrize("with_keys", [True, False])
def test_given_somebody_between_then_with_keys_it_reads_nothing_and_cannot_play_it_again(
    lab: Lab, tap: Tap, with_keys: bool
) -> None:
    task = {"what": "quick", "value": "a-telling-argument", "times": 3}
    keys = Keys(lab) if with_keys else None
    config = keys.config(task) if keys else lab.script(task)
    sets = [f"comm.key_file={keys.add('one')}"] if keys else []
    master = lab.master(config)
    controller = lab.controller(config, "one", f"comm.port={tap.port}", *sets)
    done(lab, 3)
    controller.process.kill()
    controller.exits()
    readable = [text for text in (b"a-telling-argument", b"tests.support.workload", b"CYC1") if text in tap.seen]
    # Without keys all of it can be read, which shows that this test would find it.
    assert len(readable) == (0 if with_keys else 3)
    if with_keys:
        with socket.create_connection(("127.0.0.1", lab.port), timeout=10) as again, suppress(ConnectionError):
            again.sendall(tap.sent[0])
            # The master has another key for each connection: it hangs up in the handshake.
            while again.recv(65536):
                continue
    assert master.alive


# --- cyclone keys


def test_given_a_key_when_made_then_one_line_says_where_the_master_is_and_by_which_keys(lab: Lab) -> None:
    def keys(*arguments: str) -> Started:
        return lab.start("cyclone", "keys", *arguments, environment={"XDG_CONFIG_HOME": str(lab.folder)})

    folder = lab.folder / "here"
    made = keys("init", "--address", "master.example.org:1234", "--dir", str(folder))
    assert made.exits() == 0
    server = re.fullmatch(r"tcp://master\.example\.org:1234 server_key=([0-9a-f]{64})\n", made.stdout())
    assert server, made.stdout()
    added = keys("add", "node17", "--role", "controller", "--dir", str(folder))
    assert added.exits() == 0
    path = folder / "outgoing" / "node17.key"
    assert added.stdout() == f"tcp://master.example.org:1234 server_key={server[1]} key_file={path}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"server = {server[1]}\n" in path.read_text()
    secret = path.read_text().partition("secret = ")[2][:64]
    for said in (made, added):
        assert secret not in said.stdout() + said.stderr()
    for wrong, code in (
        (("add", "node17", "--role", "controller"), 1),
        (("add", "../x", "--role", "client"), 1),
        (("add", "x", "--role", "king"), 2),
        (("revoke", "nobody"), 1),
        (("init",), 1),
        (("init", "--address", "a:b"), 78),
    ):
        assert keys(*wrong, "--dir", str(folder)).exits() == code, wrong
    assert keys("list", "--dir", str(lab.folder / "none")).exits() == 78
    listed = keys("list", "--json", "--dir", str(folder))
    assert listed.exits() == 0
    (row,) = json.loads(listed.stdout())["keys"]
    assert (row["name"], row["role"], row["state"]) == ("node17", "controller", "valid")


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("host", "tcp://host:5678"),
        ("host:99", "tcp://host:99"),
        ("tcp://host:99", "tcp://host:99"),
        ("192.0.2.1", "tcp://192.0.2.1:5678"),
        ("fd00::2", "tcp://[fd00::2]:5678"),
        ("[fd00::2]:99", "tcp://[fd00::2]:99"),
    ],
)
def test_given_an_address_when_keys_are_made_then_it_is_told_as_an_endpoint(
    tmp_path: Path, address: str, endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "keys"
    assert keys_command(argparse.Namespace(action="init", dir=folder, address=address)) == 0
    assert capsys.readouterr().out.startswith(f"{endpoint} server_key=")
