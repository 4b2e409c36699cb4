"""LustreAlertIOTask: the mail arrives at a real server while the I/O hangs, and ends the hanging."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import tasks.lustre_alert_io
from cyclone.lustre.alarm import Alarm
from cyclone.lustre.probe import ProbeFailed
from tasks.lustre_alert_io import LustreAlertIOTask
from tasks.lustre_io import LustreIOLostTask
from tests.support.lab import free_port
from tests.support.lustre_calls import executed, files
from tests.support.smtp import Postbox, serving

OST = 10
MAIL_TIMEOUT_S = 7.0


class Hanging:
    """A system call that does not return before a mail is there, and alarms that know it without a clock."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        self.hung = 0
        self.alarms: list[tuple[float, float]] = []
        self._ringing: threading.Event | None = None

    def instead_of(self, real: Callable[..., Any], times: int = 1) -> Callable[..., Any]:
        """It hangs so many times, and then does what it should."""

        def hang(*arguments: Any) -> Any:
            if self.hung < times:
                self.hung += 1
                assert self._ringing
                self._ringing.set()
                os.read(self._reading, 1)
            return real(*arguments)

        return hang

    def end(self) -> None:
        """The call returns."""
        os.write(self._writing, b"!")

    def close(self) -> None:
        os.close(self._reading)
        os.close(self._writing)

    def alarm(self, delay_s: float, action: Callable[[], None], wait_s: float) -> Alarm:
        """One that rings when the call hangs, and not before."""
        self.alarms.append((delay_s, wait_s))
        ringing = self._ringing = threading.Event()

        class WhileHanging(Alarm):
            def _watch(self) -> None:
                ringing.wait()
                if not self._over.is_set():
                    self._delay_s = 0.0
                    super()._watch()

            def __exit__(self, *error: Any) -> None:
                self._over.set()
                ringing.set()
                super().__exit__(*error)

        return WhileHanging(delay_s, action, wait_s)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    one = Hanging()
    monkeypatch.setattr(tasks.lustre_alert_io, "Alarm", one.alarm)
    yield one
    one.close()


@pytest.fixture
def postbox(hanging: Hanging) -> Iterator[Postbox]:
    with serving(Postbox(hanging.end, refused="gone@example.org")) as one:
        yield one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.mkdir()
    return path


def probe(folder: Path, server: str, threshold: float = 30.0, **options: Any) -> LustreAlertIOTask:
    given: dict[str, Any] = {
        "mail_sender": "cyclone@node",
        "mail_receiver": "a@example.org, gone@example.org",
        "block_size_bytes": 4096,
        "total_size_bytes": 8192,
        # One call of fsync(2) in each probe.
        "write_file_sync": False,
        "target_dir": str(folder),
        "lfs_bin": "lfs",
        "lfs_target": "lustrefs",
        "local_mode": True,
        "mail_folder": str(folder.parent / "mails"),
        "mail_timeout_s": MAIL_TIMEOUT_S,
    }
    return LustreAlertIOTask(mail_server=server, mail_threshold=threshold, ost_idx=OST, **given | options)


@pytest.mark.parametrize(("call", "what"), [("write", "Write"), ("fsync", "Write"), ("readv", "Read")])
def test_given_io_that_hangs_then_a_mail_arrives_meanwhile(
    monkeypatch: pytest.MonkeyPatch, folder: Path, postbox: Postbox, hanging: Hanging, call: str, what: str
) -> None:
    monkeypatch.setattr(os, call, hanging.instead_of(getattr(os, call)))
    value, ((_, record),) = executed(probe(folder, postbox.server))

    assert value == record
    assert record["error"] == ""
    # A mail under way may take each of its steps' time.
    assert (hanging.hung, hanging.alarms) == (1, [(30.0, 3 * MAIL_TIMEOUT_S)] * 2)
    (mail,) = postbox.mails
    assert mail["Subject"] == f"[LUSTRE Monitoring] OST {what} Performance Degradation Detected: 10"
    text = mail.get_content()
    assert "OST 10 (OST000a) of lustrefs has taken longer than 30 s, and goes on" in text
    assert f"Node:  {os.uname().nodename}" in text
    assert f"File:  {folder}/10_perf_test." in text
    assert files(folder) == []


def test_given_a_mail_about_reading_then_it_has_the_time_of_reading(
    monkeypatch: pytest.MonkeyPatch, folder: Path, postbox: Postbox, hanging: Hanging
) -> None:
    monkeypatch.setattr(os, "readv", hanging.instead_of(os.readv))
    # Each look at the clock is an hour later than the last one; the mail's window lasts longer than all of them.
    hours = iter(range(1_700_000_000, 1_800_000_000, 3600))
    monkeypatch.setattr("time.time", lambda: float(next(hours)))
    _, ((_, record),) = executed(probe(folder, postbox.server, mail_window_s=1e9))

    (mail,) = postbox.mails
    (since,) = [line for line in mail.get_content().splitlines() if line.startswith("Since:")]
    told = datetime.fromisoformat(since.removeprefix("Since:").strip()).timestamp()
    assert record["write_timestamp"] < told <= record["read_timestamp"]


def test_given_a_second_hang_within_the_window_then_there_is_no_second_mail(
    monkeypatch: pytest.MonkeyPatch, folder: Path, postbox: Postbox, hanging: Hanging
) -> None:
    monkeypatch.setattr(os, "fsync", hanging.instead_of(os.fsync, times=2))
    executed(probe(folder, postbox.server))
    # Nobody else would end this one.
    hanging.end()
    executed(probe(folder, postbox.server))

    assert hanging.hung == 2
    assert len(postbox.mails) == 1


def test_given_two_osts_or_two_file_systems_then_each_has_its_mail(
    monkeypatch: pytest.MonkeyPatch, folder: Path, postbox: Postbox, hanging: Hanging
) -> None:
    monkeypatch.setattr(os, "fsync", hanging.instead_of(os.fsync, times=3))
    for ost, target in ((1, "lustrefs"), (2, "lustrefs"), (2, "otherfs")):
        task = probe(folder, postbox.server, lfs_target=target)
        task.ost_idx = ost
        executed(task)

    assert [mail["Subject"].rpartition(" ")[2] for mail in postbox.mails] == ["1", "2", "2"]


def test_given_io_in_time_then_there_is_no_mail(folder: Path, postbox: Postbox) -> None:
    value, _ = executed(probe(folder, postbox.server, threshold=60.0))

    assert isinstance(value, dict)
    assert postbox.mails == []
    assert not (folder.parent / "mails").exists()


def test_given_a_receiver_that_is_refused_then_the_log_names_him(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    postbox: Postbox,
    hanging: Hanging,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(os, "fsync", hanging.instead_of(os.fsync))
    with caplog.at_level(logging.WARNING, "cyclone.task"):
        executed(probe(folder, postbox.server))

    assert "OST 10 (OST000a) of lustrefs hangs: mail sent to a@example.org, gone@example.org" in caplog.text
    assert "the mail server refuses gone@example.org: 550 nobody of that name" in caplog.text


def test_given_no_mail_server_then_the_log_says_so_and_the_next_probe_tries_again(
    monkeypatch: pytest.MonkeyPatch, folder: Path, hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []
    real = LustreAlertIOTask._send

    def send(*arguments: Any) -> None:
        tried.append(1)
        hanging.end()
        real(*arguments)

    monkeypatch.setattr(LustreAlertIOTask, "_send", send)
    monkeypatch.setattr(os, "fsync", hanging.instead_of(os.fsync, times=2))
    with caplog.at_level(logging.WARNING, "cyclone.task"):
        for _ in range(2):
            value, ((_, record),) = executed(probe(folder, f"127.0.0.1:{free_port()}"))
            assert value == record

    assert len(tried) == 2
    assert caplog.text.count("no mail about OST000a: ConnectionRefusedError: ") == 2


def test_given_a_probe_that_fails_then_it_fails_as_the_other_one_does(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "readv", fail)
    value, ((_, record),) = executed(probe(folder, "mail", threshold=60.0))

    assert isinstance(value, ProbeFailed)
    assert record["error"] == "read: [Errno 5] Input/output error"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0}, "mail_threshold is 0: expected seconds, more than 0"),
        ({"mail_tls": "ssl"}, "mail_tls is 'ssl'"),
        ({"mail_receiver": ""}, "mail_receiver is ''"),
        ({"total_size_bytes": 0}, "total_size_bytes is 0"),
    ],
)
def test_given_what_cannot_be_meant_then_the_error_says_what_is_right(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        probe(Path("/x"), "mail", **options)


def test_given_a_probe_that_was_lost_then_its_record_is_made_as_the_other_ones() -> None:
    assert isinstance(probe(Path("/x"), "mail").lost("timed_out", None), LustreIOLostTask)
