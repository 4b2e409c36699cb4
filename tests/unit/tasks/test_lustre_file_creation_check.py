"""LustreFileCreationCheckTask: an outcome for each MDT, whatever lfs says about the others."""

import threading
from collections.abc import Callable
from pathlib import Path
from signal import SIG_BLOCK, SIGTERM, pthread_sigmask
from typing import Any

import pytest

import tasks.lustre_file_creation_check
from cyclone.lustre.lfs import LfsTimeout
from cyclone.lustre.probe import ProbeFailed
from tasks.lustre_file_creation_check import LustreFileCreationCheckTask, LustreFileCreationLostTask
from tests.support.lustre_calls import AnsweringLfs, executed, files, on, refusal

OST = 5
NAME = "5_file_creation_check.tmp"


@pytest.fixture(autouse=True)
def private_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base"
    for mdt in range(3):
        (path / f"mdt{mdt}").mkdir(parents=True)
    return path


def by_mdt(*answers: Any) -> Callable[..., Any]:
    """An answer for each MDT, by the path that is asked for."""

    def answer(path: str, *_: Any) -> Any:
        return answers[int(Path(path).parent.name.removeprefix("mdt"))]

    return answer


def check(base: Path, mdts: str = "0-2", **options: Any) -> LustreFileCreationCheckTask:
    return LustreFileCreationCheckTask(OST, "lustrefs", str(base), "mdt", mdts, **options)


def run(
    monkeypatch: pytest.MonkeyPatch, task: LustreFileCreationCheckTask, **answers: Any
) -> tuple[Any, list[tuple[int, str, str]], AnsweringLfs]:
    """The value or exception; MDT, outcome and error of each record; the calls."""
    lfs = AnsweringLfs(**{"check_osts": {OST: "active"}, "layout": on(OST)} | answers)
    monkeypatch.setattr(tasks.lustre_file_creation_check, "Lfs", lfs.of())
    value, records = executed(task)
    assert {name for name, _ in records} == {"lustre_file_creation_check"}
    for _, record in records:
        assert record.keys() == {"target", "ost_index", "mdt_index", "outcome", "error"}
        assert (record["target"], record["ost_index"]) == ("lustrefs", OST)
    return value, [(record["mdt_index"], record["outcome"], record["error"]) for _, record in records], lfs


def test_given_files_on_the_ost_then_each_mdt_is_ok_and_the_files_are_gone(
    monkeypatch: pytest.MonkeyPatch, base: Path
) -> None:
    value, records, lfs = run(monkeypatch, check(base))

    assert value == {"ok": [0, 1, 2], "failed": [], "error": [], "ignored": []}
    assert records == [(mdt, "OK", "") for mdt in range(3)]
    created = sorted(call[1:] for call in lfs.calls if call[0] == "set_stripe")
    assert created == [(str(base / f"mdt{mdt}" / NAME), OST) for mdt in range(3)]
    assert [files(base / f"mdt{mdt}") for mdt in range(3)] == [[]] * 3


@pytest.mark.parametrize(
    ("answers", "outcome", "error"),
    [
        ({"layout": by_mdt(on(OST), on(9), on(OST))}, "FAILED", "it was created on OST 9"),
        ({"layout": by_mdt(on(OST), on(OST, 9), on(OST))}, "FAILED", "it was created on OST 5, 9"),
        ({"layout": by_mdt(on(OST), on(), on(OST))}, "FAILED", "it was created on OST none"),
        ({"set_stripe": by_mdt(None, refusal("no space"), None)}, "FAILED", "lfs said no"),
        ({"set_stripe": by_mdt(None, refusal("unknown"), None)}, "FAILED", "lfs said no"),
        ({"set_stripe": by_mdt(None, refusal("no such file"), None)}, "ERROR", "lfs said no"),
        ({"set_stripe": by_mdt(None, refusal("permission"), None)}, "ERROR", "lfs said no"),
        ({"set_stripe": by_mdt(None, LfsTimeout("too slow"), None)}, "ERROR", "too slow"),
        ({"layout": by_mdt(on(OST), refusal("unknown"), on(OST))}, "ERROR", "lfs said no"),
    ],
)
def test_given_one_mdt_with_a_fault_then_the_others_are_ok_and_the_task_fails(
    monkeypatch: pytest.MonkeyPatch, base: Path, answers: dict[str, Any], outcome: str, error: str
) -> None:
    value, records, _ = run(monkeypatch, check(base), **answers)

    assert isinstance(value, ProbeFailed)
    assert str(value) == f"OST0005: MDT0001 {outcome}: {error}"
    assert records == [(0, "OK", ""), (1, outcome, error), (2, "OK", "")]
    assert files(base / "mdt1") == []


def test_given_an_mdt_that_hangs_behind_the_file_then_nothing_but_lfs_has_touched_it(
    monkeypatch: pytest.MonkeyPatch, base: Path
) -> None:
    _, records, _ = run(monkeypatch, check(base), layout=by_mdt(on(OST), LfsTimeout("hangs"), on(OST)))

    assert records[1] == (1, "ERROR", "hangs")
    # To delete it would have hung as well; the next check does.
    assert files(base / "mdt1") == [NAME]


def test_given_a_file_that_was_left_then_it_is_replaced(monkeypatch: pytest.MonkeyPatch, base: Path) -> None:
    (base / "mdt1" / NAME).touch()
    exists = refusal("unknown", "stripe already set")
    value, _, lfs = run(monkeypatch, check(base, "1"), set_stripe=[exists, None])

    assert value["ok"] == [1]
    assert [call[0] for call in lfs.calls].count("set_stripe") == 2
    assert files(base / "mdt1") == []


def test_given_a_slow_mdt_then_the_others_do_not_wait_for_it(monkeypatch: pytest.MonkeyPatch, base: Path) -> None:
    # The first one answers only when the others have been asked: one after the other that would never be.
    others = threading.Barrier(3)

    def meet(*_: Any) -> None:
        others.wait(10.0)

    value, _, _ = run(monkeypatch, check(base), set_stripe=meet)

    assert value["ok"] == [0, 1, 2]


def test_given_mdts_side_by_side_then_sigterm_meets_the_main_thread_that_waits_for_them(
    monkeypatch: pytest.MonkeyPatch, base: Path
) -> None:
    masks = []
    run(monkeypatch, check(base), set_stripe=lambda *_: masks.append(pthread_sigmask(SIG_BLOCK, set())))

    assert [SIGTERM in mask for mask in masks] == [True] * 3
    assert SIGTERM not in pthread_sigmask(SIG_BLOCK, set())


@pytest.mark.parametrize(
    ("states", "outcome", "error"),
    [
        ({OST: "inactive"}, "IGNORED", "inactive"),
        (OSError(28, "No space left on device"), "ERROR", "[Errno 28] No space left on device"),
        ({1: "active"}, "ERROR", "lfs check osts of 'lustrefs' does not list it"),
        ({OST: "Connection timed out"}, "ERROR", "lfs check osts: Connection timed out"),
        (refusal("not run", "lfs: no such command"), "ERROR", "lfs: no such command"),
    ],
)
def test_given_an_ost_that_is_not_active_then_nothing_is_created(
    monkeypatch: pytest.MonkeyPatch, base: Path, states: Any, outcome: str, error: str
) -> None:
    value, records, lfs = run(monkeypatch, check(base, "0,2"), check_osts=states)

    assert records == [(0, outcome, error), (2, outcome, error)]
    assert (value == {"ok": [], "failed": [], "error": [], "ignored": [0, 2]}) is (outcome == "IGNORED")
    assert [call[0] for call in lfs.calls] == ["check_osts"]


def test_given_options_then_only_the_check_is_by_sudo(monkeypatch: pytest.MonkeyPatch, base: Path) -> None:
    _, _, lfs = run(monkeypatch, check(base, "0", lfs_bin="/opt/lfs", sudo=True, lfs_timeout_s=5.0))

    assert lfs.made == [("/opt/lfs", True, 5.0), ("/opt/lfs", False, 5.0)]


def test_given_local_mode_then_folders_are_made_and_nothing_is_asked_of_lustre(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    value, records, lfs = run(monkeypatch, check(tmp_path / "new", "0,7", local_mode=True))

    assert value["ok"] == [0, 7]
    assert [outcome for _, outcome, _ in records] == ["OK", "OK"]
    assert (lfs.calls, files(tmp_path / "new")) == ([], ["mdt0", "mdt7"])


def test_given_a_folder_that_cannot_be_made_then_that_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    value, records, _ = run(monkeypatch, check(tmp_path / "file", "0", local_mode=True))

    assert isinstance(value, ProbeFailed)
    assert records[0][1] == "ERROR"
    assert "Not a directory" in records[0][2]


def test_given_no_set_of_indices_then_the_error_says_what_is_right() -> None:
    with pytest.raises(ValueError, match="'all' is not a range of numbers"):
        check(Path(), "all")


def test_given_a_check_that_was_lost_then_its_records_are_made_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = check(Path(), "0-1").lost("timed_out: too long", 1.0)
    assert isinstance(lost, LustreFileCreationLostTask)
    value, records = executed(lost)

    assert value is None
    assert [record for _, record in records] == [
        {"target": "lustrefs", "ost_index": OST, "mdt_index": mdt, "outcome": "ERROR", "error": "timed_out: too long"}
        for mdt in range(2)
    ]
