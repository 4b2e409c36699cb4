"""``cyclone events``, ``top`` and ``export`` with a real master, a real terminal, tables in it, and what comes of
``keep_s``.
"""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cyclone.client.client import Client
from cyclone.errors import NoSuchJob
from cyclone.protocol.job_spec import JobSelection, JobSpec
from cyclone.security.registry import Registry
from cyclone.values import encode
from tests.support.lab import ROOT, Lab, new_lab, program
from tests.support.procfs import wait_until

LEAVES_THE_SCREEN = b"\x1b[?1049l"
GREEN = b"\x1b[32m"
PLAIN = "tests.support.sample_tasks:PlainTask"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Lab]:
    """A lab with a master that takes jobs, and a controller."""
    with new_lab(tmp_path) as lab:
        lab.environment |= {
            "CYCLONE_CHAOS_CLOCK": str(tmp_path / "clock"),
            "PYTHONPATH": f"{ROOT / 'tests' / 'chaos' / 'site'}{os.pathsep}{ROOT}",
        }
        (tmp_path / "clock").write_bytes(bytes(8))
        config = lab.config(
            {"task_generator": {}, "clients": {"submit": "yes"}, "journal": {"path": str(lab.folder / "j")}}
        )
        lab.master(config)
        lab.controller(config, "one")
        lab.environment["CYCLONE_SERVER"] = address(lab)
        yield lab


def address(lab: Lab) -> str:
    return f"tcp://127.0.0.1:{lab.port}"


def set_clock(lab: Lab, offset_s: float) -> None:
    """The clock on the wall of all processes of the lab, so many seconds later than it is."""
    with (lab.folder / "clock").open("r+b") as file:
        file.write(struct.pack("d", offset_s))


def submit(client: Client, count: int, **options: Any) -> int:
    spec = JobSpec(task_class=PLAIN, **options)
    return client.submit(spec, (encode([number]) for number in range(count)))


def kill_master(lab: Lab) -> None:
    (master,) = [pid for pid, text in lab.processes("cyclone-master").items() if "-f" in text]
    os.kill(master, signal.SIGKILL)
    lab.wait_until(lambda: master not in lab.processes("cyclone-master"), "the master is gone")


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_given_a_follower_when_the_master_is_killed_then_it_hears_what_there_is_and_what_is_missing(
    server: Lab, tmp_path: Path
) -> None:
    with Client(address(server)) as client:
        client.wait([submit(client, 3, name="first")], 20)
        follower = server.start("cyclone", "events", "-f", "--json", "--connect-timeout", "20")
        server.wait_until(lambda: '"job_ended"' in follower.stdout(), "the first job's end is told")
        kill_master(server)
        server.master(server.folder / "test.conf")
        client.wait([submit(client, 2, name="second")], 20)
        server.wait_until(lambda: '"second"' in follower.stdout(), "what comes behind the restart is told")
        export = server.start("cyclone", "export", "all", "out", "--format", "tar")
        assert export.exits() == 0, export.stderr()
        assert sorted(path.name for path in (server.folder / "out").iterdir()) == [
            *("job-1.json", "job-1.tar", "job-2.json", "job-2.tar"),
        ]
    follower.signal(signal.SIGINT)
    assert follower.exits() == 130
    told = lines_of(follower.stdout())
    assert {line["schema"] for line in told} == {"cyclone.events/1"}
    of_first = [(line["kind"], line["epoch"]) for line in told if line["name"] == "first"]
    assert of_first == [("job_submitted", 1), ("job_ended", 1)]
    kinds = [(line["kind"], line["epoch"]) for line in told]
    assert kinds.index(("missed", 2)) < kinds.index(("master_started", 2))
    # Who comes only now hears of the first job, too: out of the journal.
    late = server.start("cyclone", "events", "--json", "--job", "1")
    assert late.exits() == 0
    assert [(line["kind"], line["restored"]) for line in lines_of(late.stdout())] == [
        ("job_submitted", True),
        ("job_ended", True),
    ]


def test_given_a_job_that_is_kept_for_an_hour_when_that_is_over_then_its_results_go_and_others_stay(
    server: Lab,
) -> None:
    with Client(address(server)) as client:
        client.wait([brief := submit(client, 3, keep_s=3600.0), kept := submit(client, 3)], 20)
        set_clock(server, 3500.0)
        assert [row.state for row in client.tasks(brief)] == ["completed"] * 3
        set_clock(server, 3700.0)
        server.wait_until(lambda: is_gone(client, brief), "the job is let go")
        assert [job.job_id for job in client.jobs(JobSelection())] == [kept]
        assert [row.state for row in client.tasks(kept)] == ["completed"] * 3
        with pytest.raises(NoSuchJob):
            list(client.tasks(brief))


def is_gone(client: Client, job_id: int) -> bool:
    try:
        client.detail(job_id)
    except NoSuchJob:
        return True
    return False


class Terminal:
    """A command in a terminal of 80 columns and 24 lines."""

    def __init__(self, lab: Lab, *arguments: str, **environment: str) -> None:
        environment = {**lab.environment, "TERM": "xterm-256color", **environment}
        # Where somebody has set them, the size of the terminal is not asked for.
        for name in ("LINES", "COLUMNS"):
            environment.pop(name, None)
        self.pid, self._terminal = pty.fork()
        if not self.pid:
            os.execve(program("cyclone"), ["cyclone", *arguments], environment)
        self.resize(24, 80)
        self.screen = b""

    def resize(self, height: int, width: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def shows(self, text: bytes) -> bytes:
        """Wait until this was drawn; all that was, which counts no more."""
        try:
            wait_until(lambda: text in self._read(), f"the screen shows {text!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.screen[-2000:]!r}") from None
        drawn, self.screen = self.screen, b""
        return drawn

    def _read(self) -> bytes:
        while select.select([self._terminal], [], [], 0)[0]:
            try:
                data = os.read(self._terminal, 65536)
            except OSError:
                break
            if not data:
                break
            self.screen += data
        return self.screen

    def ends(self) -> int:
        """Its exit code; the screen is what it drew last."""
        wait_until(self._has_ended, "it ends")
        return os.waitstatus_to_exitcode(self._status)

    def _has_ended(self) -> bool:
        pid, self._status = os.waitpid(self.pid, os.WNOHANG)
        self._read()
        return pid > 0

    def close(self) -> None:
        os.close(self._terminal)


@contextmanager
def top(lab: Lab, *arguments: str, **environment: str) -> Iterator[Terminal]:
    terminal = Terminal(lab, "top", "-d", "100ms", *arguments, **environment)
    try:
        yield terminal
    finally:
        terminal.close()


def test_given_a_terminal_then_the_view_lives_in_it_and_leaves_it_as_it_was(server: Lab) -> None:
    with Client(address(server)) as client:
        job = submit(client, 50, name="scan", held=True)
        with top(server) as view:
            assert GREEN in view.shows(b"scan")
            view.press("s")
            view.shows(b"rate")
            client.release(JobSelection(ids=[(job, job)]))
            view.shows(b"no open jobs")
            view.resize(10, 60)
            os.kill(view.pid, signal.SIGWINCH)
            view.shows(b"\x1b[2J")
            view.press("p")
            view.shows(b"paused")
            view.press("q")
            assert view.ends() == 0
            assert LEAVES_THE_SCREEN in view.screen
        for number, exit_code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
            with top(server, NO_COLOR="1") as view:
                assert GREEN not in view.shows(b"slots")
                os.kill(view.pid, number)
                assert view.ends() == exit_code
                assert view.screen.count(LEAVES_THE_SCREEN) == 1
                assert b"Traceback" not in view.screen
        with top(server, "--connect-timeout", "200ms") as view:
            view.shows(b"slots")
            kill_master(server)
            view.shows(b"no answer")
            server.master(server.folder / "test.conf")
            # Where "no answer" stood there is nothing more, up to the end of the line.
            view.shows(b"\x1b[K")
            view.press("q")
            assert view.ends() == 0
        once = server.start("cyclone", "top", "--once", "-d", "100ms")
        assert once.exits() == 0
        assert "\x1b" not in once.stdout()
        assert "slots" in once.stdout()


def test_given_a_terminal_then_a_table_fits_there_and_is_whole_in_a_pipe(lab: Lab) -> None:
    registry = Registry(lab.folder / "keys")
    registry.init("tcp://master:5678")
    name = "x" * 60
    registry.add(name, "monitor")
    [key] = registry.peers().by_public.values()
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
        # No COLUMNS that says something: the terminal itself is asked.
        surroundings = {"COLUMNS": "", "PYTHONIOENCODING": "utf-8"}
        listed = lab.start("cyclone", "keys", "list", "--dir", registry.folder, stdout=theirs, environment=surroundings)
        assert listed.exits() == 0, listed.stderr()
        _, row = os.read(ours, 65536).decode().splitlines()
    finally:
        os.close(ours)
        os.close(theirs)
    assert row == f"{name[:24]}…  monitor  valid  {key.created}  {key.public[:24]}…"
    assert len(row) == 90
    piped = lab.start("cyclone", "keys", "list", "--dir", registry.folder, environment={"COLUMNS": "90"})
    assert piped.exits() == 0
    assert piped.stdout().splitlines()[1] == f"{name}  monitor  valid  {key.created}  {key.public}"
