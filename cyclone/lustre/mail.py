"""Mails that tell of a hanging OST: how one is sent, and that there are not too many.

Owns SMTP, with a limit of time on each step, and the window within which one mail about a matter is enough, whichever
process sends it. Raises what goes wrong: that a probe does not suffer is its caller's care.
"""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import smtplib

TLS_KINDS = ("off", "starttls", "tls")
_SERVER = re.compile(r"(?P<host>\[[^\]]+\]|[^\s:]+)(?::(?P<port>[0-9]{1,5}))?")
_PORTS = {"off": 25, "starttls": 25, "tls": 465}


@dataclass(frozen=True)
class Mailer:
    """Who sends to whom by which server: ``host`` or ``host:port``, and a list of receivers with commas.

    ``tls`` is off, starttls (then a server without it is refused) or tls from the first byte; certificates are checked.
    ValueError for what cannot be meant.
    """

    server: str
    sender: str
    receivers: str
    tls: str = "off"
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if self.tls not in TLS_KINDS:
            raise ValueError(f"mail_tls is {self.tls!r}: expected {', '.join(TLS_KINDS)}")
        if not _SERVER.fullmatch(self.server):
            raise ValueError(f"mail_server is {self.server!r}: expected a host, or host:port such as mail:25")
        if not self.addresses:
            raise ValueError(f"mail_receiver is {self.receivers!r}: expected addresses with commas between them")
        for address in (self.sender, *self.addresses):
            if not re.fullmatch(r"[^\s,]+", address):
                raise ValueError(f"{address!r} is no mail address")

    @property
    def addresses(self) -> list[str]:
        """The receivers one by one."""
        return [address for part in self.receivers.split(",") if (address := part.strip())]

    def send(self, subject: str, text: str) -> dict[str, tuple[int, bytes]]:
        """Send a mail; the receivers that the server has refused. Raises OSError, as all errors of smtplib are."""
        message = EmailMessage()
        message["Subject"], message["From"], message["To"] = subject, self.sender, ", ".join(self.addresses)
        message["Date"], message["Message-ID"] = formatdate(localtime=True), make_msgid()
        message.set_content(text)
        with self._connect() as connection:
            return connection.send_message(message)

    def _connect(self) -> "smtplib.SMTP":
        # A task that has nothing to tell pays for neither.
        import smtplib
        import ssl

        found = _SERVER.fullmatch(self.server)
        assert found is not None
        host, port = found["host"].strip("[]"), int(found["port"] or _PORTS[self.tls])
        if self.tls == "tls":
            return smtplib.SMTP_SSL(host, port, timeout=self.timeout_s, context=ssl.create_default_context())
        connection = smtplib.SMTP(host, port, timeout=self.timeout_s)
        if self.tls == "starttls":
            try:
                connection.starttls(context=ssl.create_default_context())
            except BaseException:
                connection.close()
                raise
        return connection


@contextmanager
def once_per_window(path: Path, window_s: float) -> Iterator[bool]:
    """Whether this may be told now: nobody is about to, and nobody has within the window.

    It counts as told when the block ends, unless that raises; the file remembers it for all processes. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        told = os.pread(descriptor, 64, 0)
        now = time.time()
        # A clock that was set back must not silence anybody for longer than a window.
        due = not re.fullmatch(rb"[0-9]+\.[0-9]+", told) or abs(now - float(told)) >= window_s
        yield due
        if due:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%.3f" % now, 0)
    finally:
        os.close(descriptor)
