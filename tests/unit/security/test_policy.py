"""Closed by default: what may start without keys, and what the others are told."""

import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from cyclone.config import Role, Settings, load
from cyclone.config_key import SINKS
from cyclone.errors import ConfigError
from cyclone.security.peers import client_keys, is_loopback
from cyclone.security.policy import controller_keys, exposure, master_registry, sink_keys
from cyclone.security.registry import Registry

MASTER = ("task_generator.class=gens:Gen",)
NAMES = {"both": ["127.0.0.1", "::1"], "mixed": ["127.0.0.1", "192.0.2.9"], "far": ["192.0.2.9"]}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world in which only these names resolve."""
    real = socket.getaddrinfo

    def resolve(host: str, port: Any, **options: Any) -> list[Any]:
        found = NAMES.get(host, [host])
        return [one for address in found for one in real(address, port, flags=socket.AI_NUMERICHOST, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def settings(role: Role, *sets: str) -> Settings:
    return load(None, [*(MASTER if role in ("master", "run") else ()), *sets], role)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("both", True),
        ("*", False),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.9", False),
        ("fe80::1%lo", False),
        ("mixed", False),
        ("far", False),
        ("nowhere", False),
        ("eth0", False),
        ("x" * 100, False),
    ],
)
def test_given_a_target_then_it_is_loopback_only_if_it_can_be_nothing_else(target: str, expected: bool) -> None:
    assert is_loopback(target) == expected


def test_given_a_socket_file_then_its_folder_has_to_keep_others_out_unless_there_are_keys(tmp_path: Path) -> None:
    target = f"comm.target=ipc://{tmp_path}/master"
    tmp_path.chmod(0o700)
    for role in ("master", "controller"):
        assert exposure(settings(role, target)) == ""
    assert settings("master", target).may_submit
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="others may enter .mode 755; chmod 700.*whoever reaches it can take"):
        master_registry(settings("master", target))
    with pytest.raises(ConfigError, match="others may enter .mode 755.*whoever poses as the master"):
        controller_keys(settings("controller", target))
    assert exposure(settings("master", target, "comm.keys=/keys")) == ""
    assert not settings("master", target, "comm.insecure=yes").may_submit


@pytest.mark.parametrize("role", SINKS)
def test_given_a_sink_off_loopback_then_it_needs_keys_as_a_master_does(role: Role) -> None:
    assert exposure(settings(role)) == ""
    assert exposure(settings(role, "comm.target=*", "comm.keys=/keys")) == ""
    with pytest.raises(
        ConfigError, match=r"target = \* is not loopback alone.* can store what they like.*--role master"
    ):
        master_registry(settings(role, "comm.target=*"))


@pytest.mark.parametrize("role", ["master", "run"])
@pytest.mark.parametrize(
    ("targets", "away"),
    [
        ("127.0.0.1:5777", ""),
        ("both:5777, [::1]:5888", ""),
        ("127.0.0.1:5777, far:5777", "far:5777"),
        ("192.0.2.9:5777, nowhere:5888", "192.0.2.9:5777, nowhere:5888"),
        ("[fe80::1%lo]:5777", "[fe80::1%lo]:5777"),
    ],
)
def test_given_sinks_off_loopback_then_a_master_needs_a_key_for_them(role: Role, targets: str, away: str) -> None:
    given = settings(role, f"sink.targets={targets}")
    if not away:
        assert sink_keys(given) is None
        assert exposure(given) == ""
        return
    with pytest.raises(ConfigError) as refused:
        sink_keys(given)
    text = f"--set: [sink] targets: {away} is not loopback, and there is no key: whoever poses as the sink"
    assert str(refused.value).startswith(text)
    assert exposure(given).startswith(text)
    assert sink_keys(settings(role, f"sink.targets={targets}", "comm.insecure=yes")) is None
    assert exposure(settings(role, f"sink.targets={targets}", "sink.key_file=/key")) == ""


def test_given_a_master_whose_port_and_sinks_are_open_then_it_is_told_of_both() -> None:
    text = exposure(settings("master", "comm.target=*", "sink.targets=far:5777"))
    assert "[comm] target = * is not loopback alone" in text
    assert "[sink] targets: far:5777 is not loopback" in text


def test_given_sinks_off_loopback_then_only_a_master_is_asked_for_a_key() -> None:
    assert exposure(settings("controller", "sink.targets=far:5777")) == ""


def test_given_a_key_then_a_master_goes_to_its_sinks_with_it_if_it_is_of_its_role(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "keys")
    registry.init("tcp://far:5777")
    right, wrong = registry.add("master1", "master"), registry.add("node17", "controller")
    keys = sink_keys(settings("master", "sink.targets=far:5777", f"sink.key_file={right}"))
    assert keys and keys.name == "master1"
    with pytest.raises(ConfigError, match="is the key of a controller; here one of a master is needed"):
        sink_keys(settings("master", "sink.targets=far:5777", f"sink.key_file={wrong}"))


def test_given_no_configuration_then_a_master_and_a_controller_start_on_loopback_without_keys() -> None:
    assert master_registry(settings("master")) is None
    assert controller_keys(settings("controller")) is None
    assert exposure(settings("master")) == exposure(settings("controller")) == ""
    assert exposure(settings("run", "comm.target=*")) == ""


@pytest.mark.parametrize("target", ["*", "0.0.0.0", "far", "nowhere"])
def test_given_a_target_off_loopback_without_keys_then_starting_is_refused_with_the_commands_that_help(
    target: str,
) -> None:
    with pytest.raises(ConfigError) as master:
        master_registry(settings("master", f"comm.target={target}"))
    starts = [str(master.value)]
    if target != "*":
        with pytest.raises(ConfigError) as controller:
            controller_keys(settings("controller", f"comm.target={target}"))
        starts.append(str(controller.value))
    for text in starts:
        assert text.startswith(f"--set: [comm] target = {target} ")
        for part in ("cyclone keys init", "cyclone keys add", "insecure = yes"):
            assert part in text


def test_given_insecure_when_started_then_it_is_said_each_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        assert master_registry(settings("master", "comm.target=*", "comm.insecure=yes")) is None
        assert controller_keys(settings("controller", "comm.target=far", "comm.insecure=yes")) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 4
    assert all("insecure = yes" in record.message for record in caplog.records)
    caplog.clear()
    assert master_registry(settings("master", "comm.insecure=yes")) is None
    assert caplog.records == []


def test_given_keys_then_every_target_is_allowed_and_they_are_used_on_loopback_too(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "keys")
    registry.init("tcp://far:5678")
    key_file = registry.add("node17", "controller")
    for target in ("*", "far", "127.0.0.1"):
        found = master_registry(settings("master", f"comm.target={target}", f"comm.keys={registry.folder}"))
        assert found and found.folder == registry.folder
    for target in ("far", "127.0.0.1"):
        keys = controller_keys(settings("controller", f"comm.target={target}", f"comm.key_file={key_file}"))
        assert keys and keys.name == "node17"
        assert keys.server.hex() == registry.server_key().public
        assert keys.secret.hex() not in repr(keys) and repr(keys.secret) not in repr(keys)


def test_given_a_key_of_another_role_then_a_controller_does_not_start_with_it(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "keys")
    registry.init("tcp://far:5678")
    key_file = registry.add("bob", "client")
    with pytest.raises(ConfigError, match="is the key of a client; here one of a controller is needed"):
        controller_keys(settings("controller", f"comm.key_file={key_file}"))
    assert client_keys(key_file).name == client_keys(key_file, "client", "monitor").name == "bob"
