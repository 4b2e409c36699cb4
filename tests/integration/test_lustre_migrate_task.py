"""LustreOstMigrateTask with the fake's lfs as a process: what each of its faults comes to."""

import os
from pathlib import Path
from typing import Any

import pytest

from tasks.lustre_migrate import LustreOstMigrateTask
from tests.fake_lustre.state import Component
from tests.support.lustre import FakeLustre, fake_lustre
from tests.support.lustre_calls import executed

SIZE_BYTES = 8192


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> FakeLustre:
    return fake_lustre(tmp_path_factory.mktemp("lustre"))


def migrated(fake: FakeLustre, path: str, source: int, target: int, **options: Any) -> tuple[str, list[int], bool]:
    value, ((name, _),) = executed(LustreOstMigrateTask(path, source, target, lfs_bin=fake.lfs, **options))
    assert name == "lustre_migration"
    return value["outcome"], value["landed"], value["busy"]


@pytest.mark.parametrize("name", [b"plain", b"a|b\nc 'd' $(e)", b"caf\xe9"])
def test_given_a_file_of_any_name_then_it_lies_on_the_target_afterwards(
    fake: FakeLustre, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    # The fake has a sudo, too.
    monkeypatch.setenv("PATH", fake.environment["PATH"])
    (path,) = fake.populate([(os.fsdecode(name), 1)])
    Path(path).write_bytes(b"x" * SIZE_BYTES)
    value, _ = executed(LustreOstMigrateTask(path, 1, 2, lfs_bin=fake.lfs, sudo=name == b"plain"))

    assert (value["outcome"], value["landed"], value["error"]) == ("SUCCESS", [2], "")
    assert value["bytes"] >= SIZE_BYTES
    assert fake.osts_of(path) == [2]
    assert migrated(fake, path, 1, 2) == ("IGNORED", [2], False)


def test_given_a_file_in_use_then_it_is_busy_and_stays(fake: FakeLustre) -> None:
    (path,) = fake.populate([("busy", 1)])
    fake.set("file", path, "busy")

    assert migrated(fake, path, 1, 2) == ("FAILED", [], True)
    assert fake.osts_of(path) == [1]


def test_given_lfs_that_moves_to_another_ost_then_the_file_is_displaced(fake: FakeLustre) -> None:
    (path,) = fake.populate([("displaced", 1)])
    fake.set("ost 7 misplace")
    outcome, landed, busy = migrated(fake, path, 1, 7)

    assert (outcome, busy) == ("DISPLACED", False)
    assert landed == fake.osts_of(path) != [7]


def test_given_layouts_then_only_what_is_to_be_moved_is(fake: FakeLustre) -> None:
    striped = fake.lay_out("striped", Component((1, 3), 2))
    composite = fake.lay_out("composite", Component((1,), 1), Component((), 4))
    (gone,) = fake.populate([("gone", 1)])
    Path(gone).unlink()

    assert migrated(fake, striped, 1, 2) == ("SKIPPED", [1, 3], False)
    outcome, landed, _ = migrated(fake, striped, 1, 2, skip=False)
    assert (outcome, len(landed), landed[0]) == ("SUCCESS", 2, 2)
    assert migrated(fake, composite, 1, 2) == ("SUCCESS", [2], False)
    assert migrated(fake, gone, 1, 2) == ("IGNORED", [], False)


def test_given_lfs_that_hangs_then_its_time_is_limited(fake: FakeLustre) -> None:
    (path,) = fake.populate([("hangs", 1)])
    fake.set("ost 2 hang")

    assert migrated(fake, path, 1, 2, timeout_s=0.3) == ("FAILED", [], False)
