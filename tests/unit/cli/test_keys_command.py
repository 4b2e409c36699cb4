"""``cyclone keys`` with sets of nodes: a key for each, and each revoked."""

from pathlib import Path

import pytest

from cyclone.cli.main import _run
from cyclone.errors import CycloneError
from cyclone.security.registry import Registry


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    _run(["keys", "init", "--dir", str(tmp_path / "keys"), "--address", "master.example.org"])
    capsys.readouterr()
    return tmp_path / "keys"


def valid(folder: Path) -> list[str]:
    return sorted(entry.name for entry in Registry(folder).peers().by_public.values())


def test_given_a_set_of_nodes_then_each_gets_a_key_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["keys", "add", "node[08-11]", "--role", "controller", "--dir", str(folder)]) == 0

    names = ["node08", "node09", "node10", "node11"]
    assert valid(folder) == names
    printed = capsys.readouterr()
    assert [line.rpartition("key_file=")[2] for line in printed.out.splitlines()] == [
        str(folder / "outgoing" / f"{name}.key") for name in names
    ]
    assert "carry NAME.key to where NAME, of node[08-11], runs" in printed.err


def test_given_a_key_of_a_user_then_it_is_said_where_it_goes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["keys", "add", "ann", "--role", "client", "--dir", str(folder)]) == 0
    printed = capsys.readouterr()
    assert "client.toml" in printed.err
    assert 'key_file = "~/.config/cyclone/ann.key"' in printed.err
    assert "[comm]" not in printed.err
    assert _run(["keys", "list", "--dir", str(folder), "-o", "{name} {role} {state}"]) == 0
    assert capsys.readouterr().out == "ann client valid\n"


def test_given_a_set_of_which_some_have_keys_then_none_is_made_and_it_says_which(folder: Path) -> None:
    _run(["keys", "add", "node[2-3],node5", "--role", "controller", "--dir", str(folder)])
    with pytest.raises(CycloneError) as caught:
        _run(["keys", "add", "node[1-5]", "--role", "controller", "--dir", str(folder)])
    assert str(caught.value) == (
        "there are keys of node[2-3,5] already: write node[1,4] for the others, or 'cyclone keys revoke node[2-3,5]' "
        "first"
    )
    with pytest.raises(CycloneError, match=r"there are keys of node\[2-3\] already: 'cyclone keys revoke"):
        _run(["keys", "add", "node[2-3]", "--role", "controller", "--dir", str(folder)])
    assert valid(folder) == ["node2", "node3", "node5"]


def test_given_a_set_of_which_some_have_no_key_then_all_others_are_revoked_and_it_says_which(folder: Path) -> None:
    _run(["keys", "add", "node[1-3],node5", "--role", "controller", "--dir", str(folder)])
    with pytest.raises(CycloneError) as caught:
        _run(["keys", "revoke", "node[2-6]", "--dir", str(folder)])
    assert str(caught.value) == "no key is named 'node[4,6]': 'cyclone keys list' shows those that are"
    assert valid(folder) == ["node1"]
