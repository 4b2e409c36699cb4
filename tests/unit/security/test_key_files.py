"""Key files: whole or not at all, for one user alone, and refused when they were not."""

import os
import stat
from pathlib import Path

import pytest

from cyclone.errors import ConfigError
from cyclone.security import key_files

PUBLIC, SECRET, SERVER = "a" * 64, "b" * 64, "c" * 64
PEER = {
    "name": "node17",
    "role": "controller",
    "public": PUBLIC,
    "secret": SECRET,
    "server": SERVER,
    "created": "2026-11-21T11:22:01Z",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node17.key"


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        key_files.read_peer_key(path)
    text = str(caught.value)
    assert str(path) in text
    assert SECRET not in text
    return text


def text_of(fields: dict[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in fields.items())


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


def test_given_a_key_when_written_and_read_then_it_is_the_same_and_for_its_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        key_files.create(path, "the key of node17", PEER)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("# the key of node17\nname = node17\nrole = controller\n")
    key = key_files.read_peer_key(path)
    assert (key.name, key.role, key.public, key.secret, key.server) == (
        "node17",
        "controller",
        PUBLIC,
        SECRET,
        SERVER,
    )
    assert SECRET not in repr(key)
    assert list(path.parent.iterdir()) == [path]


def test_given_a_name_that_is_taken_when_written_then_what_is_there_stays(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        key_files.create(path, "", PEER)
    assert path.read_text() == "mine"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o644, 0o666])
def test_given_a_file_that_others_have_access_to_when_read_then_it_is_refused(path: Path, mode: int) -> None:
    write(path, text_of(PEER), mode)
    text = refusal(path)
    assert f"(mode {mode:o})" in text
    assert f"chmod 600 {path}" in text


def test_given_a_file_of_another_user_when_read_then_it_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, text_of(PEER))
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert f"belongs to user {owner}, not to user {owner + 1}" in refusal(path)


def test_given_something_else_than_a_file_when_read_then_it_is_refused_at_once(path: Path) -> None:
    assert "No such file" in refusal(path)
    os.mkfifo(path, 0o600)
    assert "not a regular file" in refusal(path)
    path.unlink()
    path.mkdir()
    assert "not a regular file" in refusal(path)
    path.rmdir()
    write(path.with_name("other"), text_of(PEER))
    path.symlink_to("other")
    assert "symbolic link" in refusal(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no name and no role"),
        (text_of({**PEER, "secret": SECRET[:-1]}), ":4: this secret is none"),
        (text_of({**PEER, "public": PUBLIC.upper()}), ":3: this public is none"),
        (text_of({**PEER, "role": "king"}), ":2: this role is none"),
        (text_of({**PEER, "name": "../x"}), ":1: this name is none"),
        (text_of(PEER) + "name = other\n", ":7: name is given twice"),
        (text_of(PEER) + "address = tcp://x\n", ":7: is not 'name = value'"),
        (f"{SECRET}\n", ":1: is not 'name = value'"),
        (text_of({name: PEER[name] for name in ("name", "role", "public", "created")}), "has no secret and no server"),
        ("# " + "x" * 5000, "larger than any key file"),
        ("\x00\x01", ":1: is not 'name = value'"),
    ],
)
def test_given_a_file_that_is_no_key_when_read_then_the_line_is_named_and_no_secret_is_shown(
    path: Path, text: str, expected: str
) -> None:
    write(path, text)
    assert expected in refusal(path)


def test_given_a_folder_when_made_then_nobody_else_can_enter_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        key_files.make_folder(tmp_path / "keys")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    (tmp_path / "keys").chmod(0o750)
    for use in (key_files.check_folder, key_files.make_folder):
        with pytest.raises(ConfigError, match="chmod 700"):
            use(tmp_path / "keys")


def test_given_a_pair_when_made_then_it_is_a_new_one_each_time() -> None:
    pairs = {key for _ in range(3) for key in key_files.new_pair()}
    assert len(pairs) == 6
    assert all(len(bytes.fromhex(key)) == 32 for key in pairs)
