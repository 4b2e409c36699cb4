"""Profiles of masters: which one is meant, and what is wrong with a file."""

from pathlib import Path

import pytest

from cyclone.client.connection import ENVIRONMENT, KEY_ENVIRONMENT, applicable_profile, find_address, is_server_named
from cyclone.client.profiles import PROFILE_ENVIRONMENT, Profile, find_profile, profiles_file
from cyclone.errors import ConfigError
from cyclone.security import peers

TWO = """
[default]
server = "tcp://127.0.0.2:11"
namespace = "mine"

[lab]
server = "tcp://127.0.0.3:12"
insecure = true
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in (ENVIRONMENT, KEY_ENVIRONMENT, PROFILE_ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "cyclone").mkdir()
    return tmp_path


def write(text: str) -> None:
    profiles_file().write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("connect", "variables", "profile", "address", "namespace"),
    [
        pytest.param(None, {}, None, "tcp://127.0.0.2:11", "mine", id="the default one where nothing is named"),
        pytest.param(None, {}, "lab", "tcp://127.0.0.3:12", "", id="the named one"),
        pytest.param(None, {PROFILE_ENVIRONMENT: "lab"}, None, "tcp://127.0.0.3:12", "", id="by the environment"),
        pytest.param("127.0.0.1:9", {}, None, "tcp://127.0.0.1:9", "", id="what is said counts first"),
        pytest.param("127.0.0.1:9", {}, "default", "tcp://127.0.0.1:9", "mine", id="and the rest of a named one"),
        pytest.param(None, {ENVIRONMENT: "127.0.0.1:8"}, None, "tcp://127.0.0.1:8", "", id="then the variable"),
    ],
)
def test_given_profiles_then_the_master_is_the_one_that_is_meant(
    monkeypatch: pytest.MonkeyPatch,
    connect: str | None,
    variables: dict[str, str],
    profile: str | None,
    address: str,
    namespace: str,
) -> None:
    write(TWO)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(find_address(connect, None, None, insecure=False, profile=profile)) == address
    assert applicable_profile(connect, None, profile).namespace == namespace


def test_given_no_file_then_no_master_is_named_and_it_is_the_one_here() -> None:
    assert find_profile() == (Profile(), False)
    assert not is_server_named()
    assert str(find_address(None, None, None, insecure=False)) == "tcp://127.0.0.1:5678"


def test_given_a_profile_with_a_server_then_a_master_is_named() -> None:
    write(TWO)
    assert is_server_named()


def test_given_a_key_file_at_home_then_it_is_found_there(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("HOME", str(home))
    assert Profile(key_file="~/me.key").key_path == home / "me.key"
    assert Profile().key_path is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("[default]\nsever = 'x'", "sever", id="an unknown key"),
        pytest.param("[default]\nserver = 5", "server", id="a wrong type"),
        pytest.param("[default", "client.toml", id="no TOML"),
        pytest.param("server = 'x'", "expected tables such as", id="no table"),
        pytest.param("\udcff", "client.toml", id="no text"),
    ],
)
def test_given_a_file_that_cannot_be_used_then_it_says_where_and_what(text: str, said: str) -> None:
    profiles_file().write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=said):
        find_profile()


def test_given_a_name_that_is_not_there_then_those_that_are_are_said() -> None:
    write(TWO)
    with pytest.raises(ConfigError, match="no profile 'lap'.*it has default, lab"):
        find_profile("lap")


KEYS = """
[default]
server = "tcp://localhost:11"
key_file = "default.key"

[admin]
server = "localhost:11"
key_file = "admin.key"

[lab]
server = "tcp://127.0.0.3:12"
key_file = "lab.key"

[one]
server = "tcp://127.0.0.4:13"
key_file = "one.key"

[two]
server = "tcp://127.0.0.4:13"
key_file = "two.key"

[broken]
server = "http://nowhere"
"""


@pytest.mark.parametrize(
    ("connect", "variables", "profile", "key_file", "expected"),
    [
        pytest.param("localhost:11", {}, None, None, "default.key", id="of the same server"),
        pytest.param(None, {ENVIRONMENT: "tcp://localhost:11"}, None, None, "default.key", id="named by the variable"),
        pytest.param("127.0.0.3:12", {}, None, None, "lab.key", id="of another one that is the only one"),
        pytest.param("127.0.0.3:12", {}, "admin", None, "admin.key", id="of the named one"),
        pytest.param("localhost:11", {}, None, "mine.key", "mine.key", id="what is said counts first"),
        pytest.param("localhost:11", {KEY_ENVIRONMENT: "e.key"}, None, None, "e.key", id="then the variable"),
        pytest.param("127.0.0.4:13", {}, None, None, "", id="of two nobody knows which"),
        pytest.param("localhost:12", {}, None, None, "", id="another port is another master"),
    ],
)
def test_given_a_server_that_a_profile_has_then_its_key_goes_there_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
    connect: str | None,
    variables: dict[str, str],
    profile: str | None,
    key_file: str | None,
    expected: str,
) -> None:
    read: list[str] = []

    def client_keys(path: Path, *_: str) -> None:
        read.append(path.name)

    monkeypatch.setattr(peers, "client_keys", client_keys)
    write(KEYS)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    find_address(connect, None, Path(key_file) if key_file else None, insecure=False, profile=profile)
    assert read == [expected] * bool(expected)


def test_given_no_key_in_a_program_then_it_is_told_what_programs_write() -> None:
    with pytest.raises(ConfigError, match='makes one for key_file="FILE"; or say insecure=True') as error:
        find_address("192.0.2.1", None, None, insecure=False)
    assert "--key-file" not in str(error.value)
