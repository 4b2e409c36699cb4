"""The folder of keys: who is let in, who not any more, and what a broken file does to the others."""

from pathlib import Path

import pytest

from cyclone.errors import ConfigError, CycloneError
from cyclone.security import key_files
from cyclone.security.registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "keys")
    registry.init("tcp://localhost:5678")
    return registry


def names(registry: Registry) -> list[str]:
    return sorted(entry.name for entry in registry.peers().by_public.values())


def test_given_a_new_folder_then_the_server_has_a_key_that_is_never_replaced(registry: Registry) -> None:
    key = registry.server_key()
    assert key.address == "tcp://localhost:5678"
    with pytest.raises(CycloneError, match="is there already"):
        registry.init("tcp://other:1")
    assert registry.server_key() == key
    assert names(registry) == []


def test_given_a_peer_when_added_then_its_file_fits_the_server_and_the_entry_fits_the_file(registry: Registry) -> None:
    key = key_files.read_peer_key(registry.add("node17", "controller"))
    assert key.server == registry.server_key().public
    entry = registry.peers().by_public[key.public]
    assert (entry.name, entry.role) == ("node17", "controller")
    assert key.secret not in (registry.folder / "peers" / "node17.pub").read_text()


def test_given_a_peer_when_revoked_then_it_may_be_added_anew_with_another_key(registry: Registry) -> None:
    first = key_files.read_peer_key(registry.add("node17", "controller"))
    with pytest.raises(CycloneError, match="has a key already"):
        registry.add("node17", "controller")
    assert registry.revoke("node17").public == first.public
    assert names(registry) == []
    assert list(registry.revoked().by_public) == [first.public]
    second = key_files.read_peer_key(registry.add("node17", "monitor"))
    assert list(registry.peers().by_public) == [second.public]
    registry.revoke("node17")
    assert sorted(registry.revoked().by_public) == sorted([first.public, second.public])


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../../x", ".hidden", "-x", "a b", "a\n", "é", "x" * 101])
def test_given_a_name_that_is_no_file_name_then_it_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(CycloneError, match="is not a name"):
        registry.add(name, "client")
    with pytest.raises(CycloneError, match="no key is named"):
        registry.revoke(name)


def test_given_a_folder_without_keys_then_the_message_says_how_to_make_them(tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path):
        tmp_path.chmod(0o700)
        with pytest.raises(ConfigError, match=f"cyclone keys init --dir {folder}"):
            Registry(folder).server_key()


def test_given_a_file_that_cannot_be_used_then_it_lets_nobody_in_and_locks_nobody_out(registry: Registry) -> None:
    for name in ("good", "open", "broken", "renamed"):
        registry.add(name, "controller")
    peers = registry.folder / "peers"
    (peers / "open.pub").chmod(0o644)
    (peers / "broken.pub").write_text("rubbish")
    (peers / "renamed.pub").rename(peers / "good2.pub")
    (peers / ".half").touch()
    reading = registry.peers()
    assert names(registry) == ["good"]
    assert len(reading.faults) == 3
    assert all(any(part in fault for fault in reading.faults) for part in ("open.pub", "broken.pub", "good2.pub"))


def test_given_any_change_then_the_signature_is_another(registry: Registry) -> None:
    seen = {registry.signature()}
    for change in (
        lambda: registry.add("one", "client"),
        lambda: registry.add("two", "client"),
        lambda: registry.revoke("one"),
        lambda: registry.add("one", "client"),
        lambda: (registry.folder / "peers" / "two.pub").chmod(0o644),
    ):
        change()
        assert registry.signature() not in seen
        seen.add(registry.signature())
    assert registry.signature() in seen
