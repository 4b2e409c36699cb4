"""One instance at a time: against a second process, a killed one, and files that are no pid file."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cyclone.errors import AlreadyRunning, ConfigError
from cyclone.pidfile import PidFile

HOLD = """
import sys
from pathlib import Path
from cyclone.pidfile import PidFile
with PidFile(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


class Holder:
    """Another process that holds the pid file."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), "odd\nargument"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def end(self) -> None:
        self.process.communicate(timeout=10)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cyclone.pid"


@pytest.fixture
def holder(path: Path) -> Iterator[Holder]:
    holder = Holder(path)
    yield holder
    holder.kill()


def test_given_no_file_when_held_then_it_has_the_pid_and_goes_at_the_end(path: Path) -> None:
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_given_an_error_inside_when_it_leaves_then_the_file_goes_too(path: Path) -> None:
    with pytest.raises(KeyError), PidFile(path):
        raise KeyError
    assert not path.exists()


def test_given_another_process_holds_it_when_entered_then_refused_with_its_pid_and_command(
    path: Path, holder: Holder
) -> None:
    with pytest.raises(AlreadyRunning) as caught, PidFile(path):
        pass
    message = str(caught.value)
    assert message.startswith(f"pid file {path} is held by pid {holder.process.pid} ({sys.executable} -c ")
    assert "odd\\nargument" in message
    assert "\n" not in message
    assert path.read_text() == f"{holder.process.pid}\n", "the refused one must leave the file alone"


def test_given_the_holder_ends_when_entered_then_it_is_free(path: Path, holder: Holder) -> None:
    holder.end()
    assert not path.exists()
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_given_the_holder_is_killed_when_entered_then_its_stale_file_is_replaced(path: Path, holder: Holder) -> None:
    holder.kill()
    assert path.read_text() == f"{holder.process.pid}\n"
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "1\n", "not a pid, and longer than one\n" * 10])
def test_given_a_file_that_nobody_locks_when_entered_then_it_is_replaced_whatever_it_says(
    path: Path, content: str
) -> None:
    path.write_text(content)
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("content", ["", "soon"])
def test_given_a_holder_that_has_not_written_yet_when_entered_then_the_message_does_not_invent_a_pid(
    path: Path, content: str
) -> None:
    with PidFile(path):
        path.write_text(content)
        with pytest.raises(AlreadyRunning, match="held by a process that is just starting"), PidFile(path):
            pass


def test_given_a_holder_of_another_pid_space_when_entered_then_the_pid_alone_is_named(path: Path) -> None:
    with PidFile(path):
        path.write_text("4194999\n")
        with pytest.raises(AlreadyRunning, match=r"held by pid 4194999: stop that"), PidFile(path):
            pass


def test_given_the_name_was_given_to_another_file_when_it_leaves_then_that_one_stays(path: Path) -> None:
    with PidFile(path):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


def test_given_somebody_removed_the_file_when_it_leaves_then_all_is_well(path: Path) -> None:
    with PidFile(path):
        path.unlink()
    assert not path.exists()


def test_given_a_relative_path_when_the_working_directory_changes_then_the_same_file_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with PidFile(Path("a.pid")):
        monkeypatch.chdir("/")
    assert not (tmp_path / "a.pid").exists()


def test_given_a_held_file_when_a_child_is_started_then_it_does_not_inherit_the_lock(path: Path) -> None:
    with PidFile(path):
        held = [int(fd.name) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink() and fd.readlink() == path]
        assert len(held) == 1
        assert not os.get_inheritable(held[0])


def _folder(path: Path) -> None:
    path.mkdir()


def _link(path: Path) -> None:
    path.symlink_to(path.with_name("victim"))


def _no_parent(path: Path) -> None:
    path.parent.rmdir()


def _parent_is_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.touch()


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [
        (_no_parent, "the folder .*/sub does not exist: create it"),
        (_parent_is_a_file, "the folder .*/sub does not exist"),
        (_folder, "is a folder: name a file in it"),
        (_link, "is a symbolic link: name the file itself"),
        (os.mkfifo, "is not a regular file"),
    ],
)
def test_given_a_path_that_cannot_be_a_pid_file_when_entered_then_the_message_names_it_and_the_remedy(
    tmp_path: Path, prepare: object, problem: str
) -> None:
    path = tmp_path / "sub" / "cyclone.pid"
    path.parent.mkdir()
    assert callable(prepare)
    prepare(path)
    with pytest.raises(ConfigError, match=rf"^\[control\] pid_file: '{path}'.*{problem}"), PidFile(path):
        pass
    assert not path.with_name("victim").exists()


def test_given_the_holder_ends_between_open_and_lock_when_entered_then_the_lock_is_on_the_file_of_that_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def end_and_lock(descriptor: int, operation: int) -> None:
        attempts.append(descriptor)
        if len(attempts) == 1:
            path.unlink()
        fcntl.flock(descriptor, operation)

    with monkeypatch.context() as patch:
        patch.setattr(
            "cyclone.pidfile.fcntl", SimpleNamespace(flock=end_and_lock, LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB)
        )
        with PidFile(path):
            assert path.read_text() == f"{os.getpid()}\n"
    assert len(attempts) == 2


def test_given_many_that_come_and_go_when_they_race_then_never_two_are_inside(path: Path) -> None:
    inside = threading.Semaphore(1)
    entered, overlaps = [0, 0], []

    def come_and_go(index: int) -> None:
        while entered[index] < 100:
            try:
                with PidFile(path):
                    if not inside.acquire(blocking=False):
                        overlaps.append(index)
                        return
                    inside.release()
            except AlreadyRunning:
                continue
            entered[index] += 1

    threads = [threading.Thread(target=come_and_go, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert overlaps == []
    assert entered == [100, 100]
