"""One ``lfs check osts`` for all who ask; what they share, and whom they do not trust."""

import fcntl
import json
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cyclone.lustre import checked
from cyclone.lustre.checked import CheckedOsts, runtime_folder
from cyclone.lustre.lfs import Lfs, LfsError, LfsTimeout, Reason

STATES = {0: "active", 783: "Resource temporarily unavailable"}


class Counted(Lfs):
    """Answers with states, or fails, and counts how often it was asked; waits where it is told to."""

    def __init__(self, lfs_bin: str = "lfs", sudo: bool = False, timeout_s: float = 60.0) -> None:
        super().__init__(lfs_bin, sudo, timeout_s)
        self.asked = 0
        self.error: LfsError | None = None
        self.asking = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def check_osts(self, target: str) -> dict[int, str]:
        self.asked += 1
        self.asking.set()
        self.may_answer.wait(10)
        if self.error:
            raise self.error
        return STATES


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """What another process holds that is asking."""
    [path] = folder.glob("*.lock")
    with path.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def told(folder: Path) -> Path:
    [path] = folder.glob("*.json")
    return path


def test_given_two_who_ask_at_once_then_lfs_is_called_once(tmp_path: Path) -> None:
    folder = tmp_path / "private"
    lfs = Counted()
    lfs.may_answer.clear()
    # Each has a CheckedOsts of its own, as each process has.
    answers: list[dict[int, str]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(CheckedOsts(lfs, "lustrefs", folder=folder).states()))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    assert lfs.asking.wait(10)
    lfs.may_answer.set()
    for thread in threads:
        thread.join(10)
    assert answers == [STATES] * 8
    assert lfs.asked == 1


def test_given_an_answer_that_is_too_old_then_lfs_is_called_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    lfs = Counted()
    osts = CheckedOsts(lfs, "lustrefs", max_age_s=10, folder=tmp_path / "private")
    for at_s, asked in ((1000.0, 1), (1009.9, 1), (1010.0, 2), (1019.9, 2), (900.0, 3)):
        now_s[0] = at_s
        assert osts.states() == STATES
        assert lfs.asked == asked, at_s


def test_given_an_answer_from_before_a_reboot_then_lfs_is_called_again(tmp_path: Path) -> None:
    lfs = Counted()
    osts = CheckedOsts(lfs, "lustrefs", folder=tmp_path / "private")
    osts.states()
    path = told(tmp_path / "private")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"boot": "another"}))
    assert osts.states() == STATES
    assert lfs.asked == 2


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"monotonic_s": "x"}', "null", "\0" * 100])
def test_given_a_file_that_is_not_ours_then_lfs_is_called_again(tmp_path: Path, content: str) -> None:
    lfs = Counted()
    osts = CheckedOsts(lfs, "lustrefs", folder=tmp_path / "private")
    osts.states()
    told(tmp_path / "private").write_text(content)
    assert osts.states() == STATES
    assert lfs.asked == 2


def test_given_a_call_that_failed_then_the_next_who_asks_is_told_so_and_does_not_call(tmp_path: Path) -> None:
    lfs = Counted()
    lfs.error = LfsTimeout("lfs check osts did not end within 60 s")
    osts = CheckedOsts(lfs, "lustrefs", folder=tmp_path / "private")
    for _ in range(3):
        with pytest.raises(LfsTimeout, match="did not end within 60 s"):
            osts.states()
    assert lfs.asked == 1

    lfs.error = LfsError("no mount", reason=Reason.PERMISSION)
    other = CheckedOsts(lfs, "other", folder=tmp_path / "private")
    for _ in range(2):
        with pytest.raises(LfsError, match="no mount") as caught:
            other.states()
        assert caught.value.reason is Reason.PERMISSION
    assert lfs.asked == 2


def test_given_other_file_systems_and_programs_then_they_are_kept_apart(tmp_path: Path) -> None:
    asked = []
    for lfs, target in (
        (Counted(), "lustrefs"),
        (Counted(), "other"),
        (Counted("/opt/bin/lfs"), "lustrefs"),
        (Counted(sudo=True), "lustrefs"),
    ):
        CheckedOsts(lfs, target, folder=tmp_path / "private").states()
        asked.append(lfs.asked)
    assert asked == [1, 1, 1, 1]


def test_given_a_lock_that_nobody_holds_then_it_stops_nobody(tmp_path: Path) -> None:
    lfs = Counted()
    osts = CheckedOsts(lfs, "lustrefs", max_age_s=0, folder=tmp_path / "private")
    osts.states()
    assert list((tmp_path / "private").glob("*.lock"))
    osts.states()
    assert lfs.asked == 2


def test_given_one_who_asks_for_ever_then_the_others_give_up_when_the_call_should_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked, "GRACE_S", 0.0)
    osts = CheckedOsts(Counted(timeout_s=0.05), "lustrefs", max_age_s=0, folder=tmp_path / "private")
    osts.states()
    with locked(tmp_path / "private"), pytest.raises(LfsTimeout, match="another process"):
        osts.states()


def test_given_an_answer_then_it_is_read_while_another_process_asks(tmp_path: Path) -> None:
    osts = CheckedOsts(Counted(), "lustrefs", folder=tmp_path / "private")
    osts.states()
    with locked(tmp_path / "private"):
        assert osts.states() == STATES


def test_given_no_folder_then_it_is_made_for_this_user_alone(tmp_path: Path) -> None:
    CheckedOsts(Counted(), "lustrefs", folder=tmp_path / "private").states()
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o750, 0o701])
def test_given_a_folder_that_others_can_enter_then_it_is_refused_and_lfs_is_not_called(
    tmp_path: Path, mode: int
) -> None:
    folder = tmp_path / "private"
    folder.mkdir()
    folder.chmod(mode)
    lfs = Counted()
    with pytest.raises(LfsError, match=f"has mode {mode:03o}, not to us alone"):
        CheckedOsts(lfs, "lustrefs", folder=folder).states()
    assert lfs.asked == 0


def test_given_a_folder_of_another_user_then_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    owner = folder.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(LfsError, match=f"belongs to user {owner} and has mode 700, not to us alone"):
        CheckedOsts(Counted(), "lustrefs", folder=folder).states()


def test_given_a_link_to_a_folder_then_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "private").symlink_to(tmp_path / "real")
    with pytest.raises(LfsError, match="is no folder"):
        CheckedOsts(Counted(), "lustrefs", folder=tmp_path / "private").states()


def test_given_a_folder_that_cannot_be_made_then_the_error_names_it(tmp_path: Path) -> None:
    with pytest.raises(LfsError, match="nowhere/private cannot be used: No such file"):
        CheckedOsts(Counted(), "lustrefs", folder=tmp_path / "nowhere" / "private").states()


def test_given_a_disk_that_is_full_then_the_answer_counts_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    lfs = Counted()
    osts = CheckedOsts(lfs, "lustrefs", folder=tmp_path / "private")
    assert osts.states() == STATES
    assert osts.states() == STATES
    assert lfs.asked == 2


def test_given_the_environment_then_the_folder_is_below_what_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd, session = tmp_path / "systemd", tmp_path / "session"
    systemd.mkdir()
    session.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{systemd}:/elsewhere")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
    assert runtime_folder() == systemd / "cyclone-lustre"
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    assert runtime_folder() == session / "cyclone-lustre"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    monkeypatch.setattr(checked, "_TMP", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert runtime_folder() == tmp_path / "cyclone-lustre-4711"
