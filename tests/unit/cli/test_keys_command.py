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


def test_given_a_set_of_nodes_then_each_is_revoked_up_to_the_first_that_has_no_key(folder: Path) -> None:
    _run(["keys", "add", "node[1-3]", "--role", "controller", "--dir", str(folder)])
    with pytest.raises(CycloneError, match="no key is named 'node4'"):
        _run(["keys", "revoke", "node[2-5]", "--dir", str(folder)])
    assert valid(folder) == ["node1"]
