"""LustreOstMigrateTask: each answer of lfs is one outcome, as value, record and line of the log."""

import logging
import os
import re
from pathlib import Path
from typing import Any

import pytest

import tasks.lustre_migrate
from cyclone.lustre.lfs import LfsError, LfsTimeout
from tasks.lustre_migrate import LustreOstMigrateTask
from tests.support.lustre_calls import AnsweringLfs, executed, on, refusal

FROM, TO = 3, 7


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10_000)
    return path


def migrated(
    monkeypatch: pytest.MonkeyPatch, path: Path | str, lfs: AnsweringLfs, *options: Any, **more: Any
) -> dict[str, Any]:
    """The value; the record must say the same."""
    monkeypatch.setattr(tasks.lustre_migrate, "Lfs", lfs.of())
    value, records = executed(LustreOstMigrateTask(str(path), FROM, TO, *options, **more))
    assert isinstance(value, dict), value
    ((name, record),) = records
    assert name == "lustre_migration"
    assert record == {
        "path": str(path),
        "source_ost": FROM,
        "target_ost": TO,
        "outcome": value["outcome"],
        "bytes": value["bytes"],
        "seconds": value["seconds"],
        "error": value["error"],
    }
    assert value["seconds"] >= 0
    return value


@pytest.mark.parametrize(
    ("before", "after", "outcome", "error"),
    [
        (on(FROM), on(TO), "SUCCESS", ""),
        (on(FROM), on(9), "DISPLACED", "it lies on OST 9"),
        (on(FROM), on(FROM), "DISPLACED", "it lies on OST 3"),
        (on(FROM), on(TO, FROM), "DISPLACED", "it lies on OST 7, 3"),
        (on(FROM), refusal("no such file"), "IGNORED", "it was moved, and nobody knows where to: it is gone"),
        (on(FROM), refusal("unknown"), "FAILED", "it was moved, and nobody knows where to: lfs said no"),
        (on(FROM, component_count=3, stripe_count=4), on(TO), "SUCCESS", ""),
    ],
)
def test_given_a_file_that_lfs_moves_then_the_outcome_is_where_it_landed(
    monkeypatch: pytest.MonkeyPatch, file: Path, before: Any, after: Any, outcome: str, error: str
) -> None:
    value = migrated(monkeypatch, file, AnsweringLfs(layout=[before, after]))

    assert (value["outcome"], value["error"], value["busy"]) == (outcome, error, False)
    assert (value["path"], value["source"], value["target"]) == (str(file), FROM, TO)
    if outcome in ("SUCCESS", "DISPLACED"):
        assert value["landed"] == list(after.ost_indices)
        assert value["bytes"] == file.stat().st_blocks * 512 > 0


@pytest.mark.parametrize(
    ("layout", "outcome", "error"),
    [
        (on(5), "IGNORED", "it is not on OST 3"),
        (on(TO), "IGNORED", "it is not on OST 3"),
        (on(), "IGNORED", "it has no data on an OST"),
        (on(has_mdt_component=True), "IGNORED", "it has no data on an OST"),
        (on(released=True), "SKIPPED", "it is released by HSM"),
        (on(FROM, 4), "SKIPPED", "it is striped over 2 OSTs"),
        (on(4, FROM, component_count=2), "SKIPPED", "it is striped over 2 OSTs"),
        (on(FROM, 4, mirror_count=2), "SKIPPED", "it has 2 mirrors, of which lfs migrate would leave one"),
        (on(FROM, has_mdt_component=True), "SKIPPED", "it is in part on an MDT"),
        (refusal("no such file"), "IGNORED", "it is gone"),
        (refusal("permission"), "FAILED", "lfs said no"),
        (LfsTimeout("it hangs"), "FAILED", "it hangs"),
    ],
)
def test_given_a_file_that_is_not_to_be_moved_then_lfs_is_not_asked_to(
    monkeypatch: pytest.MonkeyPatch, file: Path, layout: Any, outcome: str, error: str
) -> None:
    lfs = AnsweringLfs(layout=layout)
    value = migrated(monkeypatch, file, lfs)

    assert (value["outcome"], value["error"], value["bytes"]) == (outcome, error, 0)
    assert [call[0] for call in lfs.calls] == ["layout"]


@pytest.mark.parametrize(
    ("refused", "outcome", "busy"),
    [
        (refusal("busy"), "FAILED", True),
        (refusal("changed"), "FAILED", True),
        (refusal("no space"), "FAILED", False),
        (refusal("unknown"), "FAILED", False),
        (LfsTimeout("too slow"), "FAILED", False),
        (refusal("no such file"), "IGNORED", False),
    ],
)
def test_given_lfs_refuses_then_it_is_told_whether_a_later_try_may_succeed(
    monkeypatch: pytest.MonkeyPatch, file: Path, refused: LfsError, outcome: str, busy: bool
) -> None:
    value = migrated(monkeypatch, file, AnsweringLfs(layout=on(FROM), migrate=refused))

    assert (value["outcome"], value["busy"], value["bytes"]) == (outcome, busy, 0)
    assert value["error"]


@pytest.mark.parametrize(
    ("name", "outcome", "error"),
    [
        ("absent", "IGNORED", "it is gone"),
        ("file/below", "IGNORED", "it is gone"),
        ("", "IGNORED", "it is no regular file"),
        ("link", "IGNORED", "it is no regular file"),
        ("a\0b", "FAILED", "embedded null byte"),
        ("n" * 300, "FAILED", "File name too long"),
    ],
)
def test_given_no_file_to_move_then_that_is_its_outcome(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: Path, name: str, outcome: str, error: str
) -> None:
    (tmp_path / "link").symlink_to(file)
    value = migrated(monkeypatch, f"{tmp_path}/{name}", AnsweringLfs(layout=on(FROM)))

    assert value["outcome"] == outcome
    assert error in value["error"]


def test_given_the_source_as_target_then_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    lfs = AnsweringLfs()
    monkeypatch.setattr(tasks.lustre_migrate, "Lfs", lfs.of())
    value, _ = executed(LustreOstMigrateTask(str(file), FROM, FROM))

    assert (value["outcome"], lfs.calls) == ("IGNORED", [])


def test_given_a_node_without_lfs_then_the_task_fails_and_the_file_has_no_outcome(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    lfs = AnsweringLfs(layout=refusal("not run", "lfs: no such command"))
    monkeypatch.setattr(tasks.lustre_migrate, "Lfs", lfs.of())
    value, records = executed(LustreOstMigrateTask(str(file), FROM, TO))

    assert isinstance(value, LfsError)
    assert records == []


def test_given_options_then_lfs_gets_them(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    lfs = AnsweringLfs(layout=[on(FROM, 4, stripe_count=2), on(TO, 8)])
    value = migrated(monkeypatch, file, lfs, False, True, False, 1 << 20, "/opt/lfs", True, 5.0)

    assert value["outcome"] == "SUCCESS"
    assert lfs.made == [("/opt/lfs", True, 60.0)]
    options = {"stripe_count": 2, "block": True, "direct_io": False, "bandwidth_bytes": 1 << 20, "timeout_s": 5.0}
    assert lfs.calls[1] == ("migrate", str(file), TO, options)


def test_given_defaults_then_striped_files_stay_and_lfs_has_its_own_limit(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    lfs = AnsweringLfs(layout=[on(FROM), on(TO)])
    migrated(monkeypatch, file, lfs)

    options = {"stripe_count": 1, "block": False, "direct_io": True, "bandwidth_bytes": 0, "timeout_s": None}
    assert lfs.calls[1] == ("migrate", str(file), TO, options)


@pytest.mark.parametrize("component_count", [1, 3])
def test_given_a_striped_file_without_skip_then_it_keeps_as_many_osts_as_it_had(
    monkeypatch: pytest.MonkeyPatch, file: Path, component_count: int
) -> None:
    stripe_count = 2 if component_count == 1 else 8
    lfs = AnsweringLfs(layout=[on(4, FROM, stripe_count=stripe_count, component_count=component_count), on(TO, 8)])
    value = migrated(monkeypatch, file, lfs, skip=False)

    assert (value["outcome"], lfs.calls[1][3]["stripe_count"]) == ("SUCCESS", 2)


def test_given_sudo_where_only_root_may_look_then_the_size_is_unknown_and_the_file_moved(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    def refuse(_path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.lstat", refuse)
    value = migrated(monkeypatch, file, AnsweringLfs(layout=[on(FROM), on(TO)]), sudo=True)

    assert (value["outcome"], value["bytes"]) == ("SUCCESS", 0)


@pytest.mark.parametrize(
    ("layout", "line"),
    [
        ([on(FROM), on(TO)], r"SUCCESS\|{path}\|0:00:0\d(\.\d+)?\|3\|7$"),
        ([on(FROM), on(9)], r"DISPLACED\|{path}\|0:00:0\d(\.\d+)?\|3\|7\|it lies on OST 9$"),
        ([refusal("busy", "a\nb")], r"FAILED\|{path}\|0:00:0\d(\.\d+)?\|3\|7\|a\\nb$"),
        ([on(5)], r"IGNORED\|{path}\|it is not on OST 3$"),
        ([on(FROM, 4)], r"SKIPPED\|{path}\|it is striped over 2 OSTs$"),
    ],
)
def test_given_an_outcome_then_the_log_has_the_line_of_the_original(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, layout: Any, line: str
) -> None:
    path = tmp_path / os.fsdecode(b"a|b\n\xff")
    path.touch()
    with caplog.at_level(logging.INFO, "cyclone.task"):
        migrated(monkeypatch, path, AnsweringLfs(layout=layout))

    shown = rf"{tmp_path}/a\\u007cb\\u000a\\udcff"
    (message,) = caplog.messages
    assert message.startswith("task=0 ")
    assert re.search(line.format(path=shown), message), message


def test_given_a_pause_file_then_lfs_is_not_called_and_nothing_is_recorded(
    monkeypatch: pytest.MonkeyPatch, file: Path, tmp_path: Path
) -> None:
    pause = tmp_path / "pause"
    pause.touch()
    lfs = AnsweringLfs()
    monkeypatch.setattr(tasks.lustre_migrate, "Lfs", lfs.of())
    value, records = executed(LustreOstMigrateTask(str(file), FROM, TO, pause_file=str(pause)))
    assert isinstance(value, dict)
    assert (value["outcome"], value["busy"], value["bytes"]) == ("PAUSED", True, 0)
    assert (lfs.calls, records) == ([], [])
    pause.unlink()
    assert (
        migrated(monkeypatch, file, AnsweringLfs(layout=[on(FROM), on(TO)]), pause_file=str(pause))["outcome"]
        == "SUCCESS"
    )


def test_given_a_fid_then_its_path_is_moved_and_told(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    fid = "[0x200000401:0x1:0x0]"
    for answer, outcome, path in ((str(file), "SUCCESS", str(file)), (refusal("no such file"), "IGNORED", fid)):
        lfs = AnsweringLfs(fid_to_path=answer, layout=[on(FROM), on(TO)])
        monkeypatch.setattr(tasks.lustre_migrate, "Lfs", lfs.of())
        value, _ = executed(LustreOstMigrateTask(fid, FROM, TO, fs_path="/lustre"))
        assert isinstance(value, dict)
        assert (value["outcome"], value["path"]) == (outcome, path)
        assert lfs.calls[0] == ("fid_to_path", "/lustre", fid)
