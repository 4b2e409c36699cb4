"""LustreIOTask: real files in a folder, and an lfs that answers in this process."""

import os
from pathlib import Path
from typing import Any

import pytest

import tasks.lustre_io
from cyclone.lustre.lfs import LfsTimeout
from cyclone.lustre.probe import ProbeFailed
from tasks.lustre_io import LustreIOLostTask, LustreIOTask
from tests.support.lustre_calls import AnsweringLfs, executed, files, refusal

OST = 10
BLOCK, TOTAL = 4096, 10_000


@pytest.fixture(autouse=True)
def private_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.mkdir()
    return path


def probe(folder: Path, **options: Any) -> LustreIOTask:
    given: dict[str, Any] = {
        "block_size_bytes": BLOCK,
        "total_size_bytes": TOTAL,
        "write_file_sync": True,
        "target_dir": str(folder),
        "lfs_bin": "lfs",
        "lfs_target": "lustrefs",
    }
    return LustreIOTask(OST, **given | options)


def run(
    monkeypatch: pytest.MonkeyPatch, task: LustreIOTask, **answers: Any
) -> tuple[Any, dict[str, Any], AnsweringLfs]:
    """The value or exception, the one record, and the calls."""
    lfs = AnsweringLfs(**{"check_osts": {OST: "active", 11: "inactive"}} | answers)
    monkeypatch.setattr(tasks.lustre_io, "Lfs", lfs.of())
    value, ((name, record),) = executed(task)
    assert name == "lustre_ost_io"
    assert (record["fs"], record["ost"]) == ("lustrefs", f"OST{task.ost_idx:04x}")
    return value, record, lfs


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize(("block", "total"), [(BLOCK, TOTAL), (BLOCK, 2 * BLOCK), (1 << 20, 1), (1, 5)])
def test_given_an_active_ost_then_both_throughputs_are_numbers_and_the_file_is_gone(
    monkeypatch: pytest.MonkeyPatch, folder: Path, sync: bool, block: int, total: int
) -> None:
    task = probe(folder, block_size_bytes=block, total_size_bytes=total, write_file_sync=sync)
    value, record, lfs = run(monkeypatch, task)

    assert value == record
    assert record["error"] == ""
    assert record["size_bytes"] == total
    for what in ("write", "read"):
        assert isinstance(record[f"{what}_bytes_per_s"], float)
        assert record[f"{what}_bytes_per_s"] == pytest.approx(total / record[f"{what}_s"])
    # The read follows the write, and is not told with the time of the write.
    assert record["read_timestamp"] >= record["write_timestamp"] + record["write_s"]
    assert files(folder) == []
    ((_, path, index),) = [call for call in lfs.calls if call[0] == "set_stripe"]
    assert (Path(path).parent, index) == (folder, OST)


def test_given_two_probes_of_one_ost_then_their_files_have_different_names(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    names = {run(monkeypatch, probe(folder))[2].calls[-1][1] for _ in range(2)}

    assert len(names) == 2


def test_given_a_probe_then_the_page_cache_forgets_the_file_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    calls = []
    for name in ("write", "fsync", "posix_fadvise", "readv", "unlink"):
        real = getattr(os, name)

        def seen(*arguments: Any, name: str = name, real: Any = real) -> Any:
            # The others write to other files, or to standard error.
            if name != "write" or len(arguments[1]) == BLOCK:
                calls.append((name, arguments[3]) if name == "posix_fadvise" else (name,))
            return real(*arguments)

        monkeypatch.setattr(os, name, seen)
    run(monkeypatch, probe(folder, total_size_bytes=BLOCK, write_file_sync=False))

    forget = [("fsync",), ("posix_fadvise", os.POSIX_FADV_DONTNEED)]
    assert calls == [("write",), *forget, ("readv",), ("readv",), ("unlink",)]


def test_given_direct_io_then_the_file_is_opened_so(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    flags = []
    real = os.open

    def seen(path: Any, flag: int, *more: Any) -> int:
        flags.append(flag)
        return real(path, flag & ~os.O_DIRECT, *more)

    monkeypatch.setattr(os, "open", seen)
    _, record, _ = run(monkeypatch, probe(folder, direct_io=True, total_size_bytes=3 * BLOCK))

    assert record["error"] == ""
    assert [flag for flag in flags if flag & os.O_DIRECT]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"block_size_bytes": 0}, "block_size_bytes is 0: expected at least 1"),
        ({"total_size_bytes": -1}, "total_size_bytes is -1: expected at least 1"),
        ({"direct_io": True}, "total_size_bytes is 10000: expected a multiple of 4096, for direct_io"),
    ],
)
def test_given_impossible_sizes_then_the_error_says_what_is_right(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        probe(Path(), **sizes)


def test_given_an_inactive_ost_then_its_record_has_zeros_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    value, record, lfs = run(monkeypatch, LustreIOTask(11, BLOCK, TOTAL, True, str(folder), "lfs", "lustrefs"))

    assert value == record
    assert record["write_timestamp"] == record["read_timestamp"] > 0
    assert {key: found for key, found in record.items() if not key.endswith("timestamp")} == {
        "fs": "lustrefs",
        "ost": "OST000b",
        "size_bytes": 0,
        "write_bytes_per_s": 0.0,
        "read_bytes_per_s": 0.0,
        "write_s": 0.0,
        "read_s": 0.0,
        "error": "inactive",
    }
    assert [call[0] for call in lfs.calls] == ["check_osts"]


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"check_osts": refusal("unknown", "no such target")}, "no such target"),
        ({"check_osts": OSError(28, "No space left on device")}, "[Errno 28] No space left on device"),
        ({"check_osts": {1: "active"}}, "lfs check osts of 'lustrefs' does not list it"),
        ({"check_osts": {OST: "Connection timed out"}}, "lfs check osts: Connection timed out"),
        ({"set_stripe": LfsTimeout("lfs setstripe did not end within 60 s")}, "write: lfs setstripe did not end"),
    ],
)
def test_given_lfs_fails_then_the_record_says_so_and_the_task_fails(
    monkeypatch: pytest.MonkeyPatch, folder: Path, answers: dict[str, Any], error: str
) -> None:
    value, record, _ = run(monkeypatch, probe(folder), **answers)

    assert isinstance(value, ProbeFailed)
    assert str(value).startswith(f"OST000a: {error}")
    assert record["error"].startswith(error)
    assert record["write_bytes_per_s"] is record["read_bytes_per_s"] is record["write_timestamp"] is None
    assert files(folder) == []


def test_given_a_check_that_hangs_then_the_ost_is_measured_all_the_same(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    # It asks all OSTs, and one of the others may be what it hangs at.
    _, record, _ = run(monkeypatch, probe(folder), check_osts=LfsTimeout("lfs check did not end within 60 s"))

    assert record["error"] == ""
    assert record["write_bytes_per_s"] > 0


def failing(name: str, error: OSError) -> Any:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return name, fail


@pytest.mark.parametrize(
    ("name", "step", "written"),
    [
        ("write", "write", False),
        ("fsync", "write", False),
        ("posix_fadvise", "write", False),
        ("readv", "read", True),
    ],
)
def test_given_an_error_of_the_ost_then_what_was_measured_before_counts_and_the_file_is_gone(
    monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, step: str, written: bool
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, *failing(name, OSError(5, "Input/output error")))
        value, record, _ = run(patch, probe(folder))

    assert isinstance(value, ProbeFailed)
    assert record["error"] == f"{step}: [Errno 5] Input/output error"
    assert (record["write_bytes_per_s"] is not None) is written
    assert record["write_timestamp"] is not None
    assert (record["read_timestamp"] is not None) is written
    assert record["read_bytes_per_s"] is record["read_s"] is None
    assert files(folder) == []


def test_given_fewer_bytes_than_were_written_then_that_is_an_error_of_reading(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "readv", lambda *_: 0)
        _, record, _ = run(patch, probe(folder))

    assert record["error"] == "read: 0 bytes came back of 10000 that were written"


def test_given_short_writes_then_they_are_gone_on_with(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:999]))
        _, record, _ = run(patch, probe(folder))

    assert record["error"] == ""


def test_given_a_file_that_somebody_deletes_before_it_is_opened_then_it_is_not_created_elsewhere(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    real = os.open

    def deleted_before(path: Any, flags: int, *more: Any) -> int:
        if flags & os.O_WRONLY:
            Path(path).unlink()
        return real(path, flags, *more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", deleted_before)
        _, record, _ = run(patch, probe(folder))

    assert record["error"].startswith("write: [Errno 2] No such file or directory")
    assert files(folder) == []


def test_given_no_folder_then_the_record_names_it(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    value, record, _ = run(monkeypatch, probe(folder / "absent"))

    assert isinstance(value, ProbeFailed)
    assert f"No such file or directory: '{folder}/absent'" in record["error"]


def test_given_files_of_killed_probes_then_those_of_this_ost_are_deleted(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    kept = ["1_perf_test.tmp", "110_perf_test.tmp", "10_perf_test.tmp.txt", f"10_perf_test.{'a' * 31}.tmp"]
    for name in ["10_perf_test.tmp", f"10_perf_test.{'a' * 32}.tmp", *kept]:
        (folder / name).touch()
    run(monkeypatch, probe(folder))

    assert files(folder) == sorted(kept)


class Told(BaseException):
    """What a worker raises in a task that is to end."""


def test_given_a_task_that_is_told_to_end_then_the_file_is_gone(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def told(*_: Any) -> None:
        raise Told

    monkeypatch.setattr(os, "fsync", told)
    monkeypatch.setattr(tasks.lustre_io, "Lfs", AnsweringLfs(check_osts={OST: "active"}).of())
    with pytest.raises(Told):
        executed(probe(folder))

    assert files(folder) == []


def test_given_a_file_that_cannot_be_deleted_then_the_probe_has_failed(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, *failing("unlink", OSError(30, "Read-only file system")))
        value, record, _ = run(patch, probe(folder))

    assert isinstance(value, ProbeFailed)
    assert record["error"] == "delete: [Errno 30] Read-only file system"
    assert record["read_bytes_per_s"] > 0


def test_given_options_then_only_the_check_is_by_sudo(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    _, _, lfs = run(monkeypatch, probe(folder, lfs_bin="/opt/lfs", sudo=True, lfs_timeout_s=5.0))

    assert lfs.made == [("/opt/lfs", True, 5.0), ("/opt/lfs", False, 5.0)]


def test_given_local_mode_then_nothing_is_asked_of_lustre(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    _, record, lfs = run(monkeypatch, probe(folder, local_mode=True))

    assert (record["error"], lfs.calls, files(folder)) == ("", [], [])


def test_given_a_probe_that_was_lost_then_its_record_is_made_all_the_same() -> None:
    lost = probe(Path()).lost("timed_out: exceeded its time limit of 60 s", 1_700_000_000.5)
    assert isinstance(lost, LustreIOLostTask)
    value, ((name, record),) = executed(lost)

    assert value is None
    assert name == "lustre_ost_io"
    assert record == {
        "fs": "lustrefs",
        "ost": "OST000a",
        "write_timestamp": 1_700_000_000.5,
        "read_timestamp": None,
        "size_bytes": TOTAL,
        "write_bytes_per_s": None,
        "read_bytes_per_s": None,
        "write_s": None,
        "read_s": None,
        "error": "timed_out: exceeded its time limit of 60 s",
    }
