"""Mails through a real server, and the window within which one is enough."""

import fcntl
import smtplib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cyclone.lustre.mail import Mailer, once_per_window
from tests.support.lab import free_port
from tests.support.smtp import Postbox, serving

WINDOW_S = 3600.0


@pytest.fixture
def postbox() -> Iterator[Postbox]:
    with serving(Postbox(refused="gone@example.org")) as one:
        yield one


def test_given_several_receivers_then_each_gets_the_mail(postbox: Postbox) -> None:
    refused = Mailer(postbox.server, "cyclone@node", "a@example.org, b@example.org,").send("Grüße", "text\n")

    assert refused == {}
    (message,), (receivers,) = postbox.mails, postbox.receivers
    assert receivers == ["a@example.org", "b@example.org"]
    assert (message["Subject"], message["From"], message["To"]) == (
        "Grüße",
        "cyclone@node",
        "a@example.org, b@example.org",
    )
    assert message.get_content() == "text\r\n"
    assert message["Date"]
    assert message["Message-ID"]


def test_given_a_receiver_that_is_refused_then_the_others_get_it_and_he_is_named(postbox: Postbox) -> None:
    refused = Mailer(postbox.server, "cyclone@node", "gone@example.org,b@example.org").send("s", "t")

    assert refused == {"gone@example.org": (550, b"nobody of that name")}
    assert postbox.receivers == [["b@example.org"]]


def test_given_only_receivers_that_are_refused_then_that_raises(postbox: Postbox) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        Mailer(postbox.server, "cyclone@node", "gone@example.org").send("s", "t")


def test_given_no_server_then_that_raises() -> None:
    with pytest.raises(ConnectionRefusedError):
        Mailer(f"127.0.0.1:{free_port()}", "cyclone@node", "a@example.org").send("s", "t")


def test_given_a_server_that_says_nothing_then_it_is_waited_for_so_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
            Mailer(f"127.0.0.1:{port}", "cyclone@node", "a@example.org", timeout_s=0.02).send("s", "t")


def test_given_a_server_without_tls_when_starttls_is_wanted_then_nothing_is_sent(postbox: Postbox) -> None:
    with pytest.raises(smtplib.SMTPNotSupportedError):
        Mailer(postbox.server, "cyclone@node", "a@example.org", "starttls").send("s", "t")

    assert postbox.mails == []


@pytest.mark.parametrize(
    ("server", "sender", "receivers", "tls", "message"),
    [
        ("", "a", "b", "off", "mail_server is '': expected a host"),
        ("mail:port", "a", "b", "off", "mail_server is 'mail:port': expected a host"),
        ("mail", "a b", "b", "off", "'a b' is no mail address"),
        ("mail", "", "b", "off", "'' is no mail address"),
        ("mail", "a", " ,", "off", "mail_receiver is ' ,': expected addresses with commas"),
        ("mail", "a", "b\nBcc: c", "off", r"'b\\nBcc: c' is no mail address"),
        ("mail", "a", "b", "ssl", "mail_tls is 'ssl': expected off, starttls, tls"),
    ],
)
def test_given_what_cannot_be_meant_then_the_error_names_it(
    server: str, sender: str, receivers: str, tls: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Mailer(server, sender, receivers, tls)


@pytest.mark.parametrize(
    ("server", "tls", "expected"),
    [
        ("mail", "off", ("mail", 25)),
        ("mail.example.org", "tls", ("mail.example.org", 465)),
        ("[::1]:2525", "off", ("::1", 2525)),
        ("mail:26", "tls", ("mail", 26)),
    ],
)
def test_given_a_server_then_host_and_port_are_found(
    monkeypatch: pytest.MonkeyPatch, server: str, tls: str, expected: tuple[str, int]
) -> None:
    class Asked(Exception):
        pass

    def connect(host: str, port: int, **_: object) -> None:
        raise Asked(host, port)

    monkeypatch.setattr(smtplib, "SMTP", connect)
    monkeypatch.setattr(smtplib, "SMTP_SSL", connect)
    with pytest.raises(Asked) as asked:
        Mailer(server, "a", "b", tls).send("s", "t")

    assert asked.value.args == expected


class Clock:
    """The time that the window goes by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_700_000_000.0
        monkeypatch.setattr("time.time", lambda: self.now)


def told(path: Path) -> bool:
    with once_per_window(path, WINDOW_S) as due:
        return due


def test_given_a_window_then_it_is_told_once_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    seen = []
    for later_s in (0.0, 1.0, WINDOW_S - 2.0, 1.0, 0.0, WINDOW_S):
        clock.now += later_s
        seen.append(told(tmp_path / "ost"))

    assert seen == [True, False, False, True, False, True]


def test_given_a_clock_that_was_set_back_then_it_is_told_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert told(tmp_path / "ost")
    clock.now -= WINDOW_S

    assert told(tmp_path / "ost")


def test_given_telling_that_fails_then_the_next_one_may(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no mail"), once_per_window(tmp_path / "ost", WINDOW_S) as due:
        assert due
        raise OSError("no mail")

    assert told(tmp_path / "ost")
    assert not told(tmp_path / "ost")


def test_given_a_file_that_makes_no_sense_then_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "ost").write_bytes(b"yesterday")

    assert told(tmp_path / "ost")
    assert not told(tmp_path / "ost")


def test_given_somebody_who_is_telling_then_nobody_else_does(tmp_path: Path) -> None:
    path = tmp_path / "ost"
    with open(path, "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not told(path)

    assert told(path)


def test_given_two_osts_then_each_has_its_own_window(tmp_path: Path) -> None:
    assert [told(tmp_path / name) for name in ("one", "two", "one")] == [True, True, False]


def test_given_many_at_once_then_one_tells(tmp_path: Path) -> None:
    seen: list[bool] = []
    gate = threading.Barrier(8)

    def tell() -> None:
        gate.wait()
        seen.append(told(tmp_path / "ost"))

    threads = [threading.Thread(target=tell) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(seen) == [False] * 7 + [True]
