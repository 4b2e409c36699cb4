"""A real SMTP server in the test's process, by aiosmtpd."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.lab import free_port


class Postbox:
    """The mails that have arrived, and what is to happen when one does."""

    def __init__(self, on_mail: Callable[[], None] = lambda: None, refused: str = "") -> None:
        self.mails: list[EmailMessage] = []
        self.receivers: list[list[str]] = []
        self.port = free_port()
        self._on_mail = on_mail
        self._refused = refused

    @property
    def server(self) -> str:
        """As ``mail_server`` has it."""
        return f"127.0.0.1:{self.port}"

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """One receiver may be refused."""
        if address == self._refused:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """A mail is there."""
        content = envelope.content
        assert isinstance(content, bytes)
        self.mails.append(BytesParser(EmailMessage, policy=default).parsebytes(content))
        self.receivers.append(envelope.rcpt_tos)
        self._on_mail()
        return "250 OK"


@contextmanager
def serving(postbox: Postbox, **options: Any) -> Iterator[Postbox]:
    """The server is up; it is one for TLS with ``tls_context`` (STARTTLS) or ``ssl_context`` among the options."""
    controller = Controller(postbox, "127.0.0.1", postbox.port, **options)
    controller.start()
    try:
        yield postbox
    finally:
        controller.stop()
