"""The service's word to systemd: sd_notify(3), one datagram for each thing said.

Owns the notify socket. It is called from the main loop only, so that the watchdog proves that loop, and it never
blocks it: what systemd does not take at once is not said. Without systemd every method does nothing.
"""

import os
import socket
from collections.abc import MutableMapping

from cyclone.logs import escape

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
# READY must arrive or the start counts as failed, so this one may wait, if systemd is that busy.
_READY_WAIT_S = 5.0


class Notifier:
    """``address`` is that of $NOTIFY_SOCKET ('' for none), ``watchdog_s`` what systemd demands, 0 for none."""

    def __init__(self, address: str, watchdog_s: float) -> None:
        # "@" stands for the null byte of an abstract address.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog_s = watchdog_s if address else 0.0
        self._fed_s: float | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> "Notifier":
        """What systemd put into the environment; it is removed there, so that no child speaks for the service."""
        address, usec, pid = (environ.pop(name, "") for name in _VARIABLES)
        if not address.startswith(("/", "@")):
            address = ""
        meant = pid in ("", str(os.getpid()))
        watchdog_s = int(usec) / 1e6 if meant and usec.isascii() and usec.isdigit() else 0.0
        return cls(address, watchdog_s)

    def ready(self, status: str) -> bool:
        """The start is done. Like all others it returns whether systemd was told."""
        return self._send(f"READY=1\nSTATUS={escape(status)}", _READY_WAIT_S)

    def status(self, text: str) -> bool:
        """One line for ``systemctl status``."""
        return self._send(f"STATUS={escape(text)}")

    def stopping(self, text: str) -> bool:
        """The stop has begun."""
        return self._send(f"STOPPING=1\nSTATUS={escape(text)}")

    def extend_timeout(self, seconds: float) -> bool:
        """Start or stop takes up to so many more seconds from now."""
        return self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def watchdog(self, now: float) -> bool:
        """The main loop lives; call it at each turn, with monotonic seconds. Tells systemd once per half interval."""
        if not self._watchdog_s or (self._fed_s is not None and now - self._fed_s < self._watchdog_s / 2):
            return False
        if not self._send("WATCHDOG=1"):
            return False
        self._fed_s = now
        return True

    def longest_wait_s(self, wanted_s: float) -> float:
        """How long a main loop may sleep, so that the watchdog is fed in time: as wanted, or less."""
        return min(wanted_s, self._watchdog_s / 4) if self._watchdog_s else wanted_s

    def close(self) -> None:
        """Nothing can be said afterwards."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _send(self, text: str, wait_s: float = 0.0) -> bool:
        if self._socket is None:
            return False
        self._socket.settimeout(wait_s)
        try:
            self._socket.sendto(text.encode("utf-8", "replace"), self._address)
        except OSError:
            # Full, gone, or forbidden: the service's work does not depend on it, and systemd will draw its conclusion.
            return False
        return True
