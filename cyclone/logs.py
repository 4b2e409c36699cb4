"""Where log lines go and what they look like; and a limit for those that a peer can provoke.

Owns the root logger's one handler. It must never let text from a peer, a task or a file name look like a line of its
own: control characters are escaped, and the lines of a traceback are indented.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Literal

from cyclone.errors import ConfigError
from cyclone.protocol.limits import LOG_LINE_CHARS_MAX, TRACEBACK_CHARS_MAX

Format = Literal["text", "json"]

_PERIOD_S = 60.0
_KEYS_MAX = 1024

# C0, DEL, C1, and the two that Unicode counts as ends of a line.
_CONTROL = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]
_ESCAPES = {code: chr(code).encode("unicode_escape").decode("ascii") for code in _CONTROL}
_ESCAPES_IN_LINES = {code: text for code, text in _ESCAPES.items() if chr(code) not in "\n\t"}
# sd-daemon(3): "<n>" in front of a line is its syslog priority.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_PRIORITY_DEBUG = 7


def configure(
    role: str, filename: Path | None, format: Format, level: str, debug: bool, relayed_to_journal: bool = False
) -> None:
    """Send everything that is logged to a file (opened again when it was rotated away) or to standard error.

    Replaces the root logger's handlers. ``level`` is one of debug, info, warning, error; ``debug`` overrules it.
    ``relayed_to_journal``: our standard error is a pipe, and who reads it writes to systemd's journal. Raises
    ConfigError when the file cannot be opened.
    """
    handler = _file_handler(filename) if filename else logging.StreamHandler(sys.stderr)
    formatter: logging.Formatter = _Json(role) if format == "json" else _Text()
    journal = filename is None and (relayed_to_journal or stderr_is_journal())
    handler.setFormatter(_Journal(formatter) if journal else formatter)
    root = logging.getLogger()
    for former in root.handlers[:]:
        root.removeHandler(former)
        former.close()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else level.upper())


def configure_child(role: str, options: dict[str, str | None], relayed_to_journal: bool = False) -> None:
    """The same in a worker or generator process, by ``filename``, ``format`` and ``level`` as its daemon has them."""
    filename = options["filename"]
    log_format: Format = "json" if options["format"] == "json" else "text"
    path, level = Path(filename) if filename else None, options["level"] or "info"
    configure(role, path, log_format, level, debug=False, relayed_to_journal=relayed_to_journal)


def escape(text: str) -> str:
    """The text on one line: control characters as ``\\n``, ``\\x1b``..."""
    return text.translate(_ESCAPES)


def escape_lines(text: str) -> str:
    """What somebody has printed: its lines and tabulators stay, any other control character is escaped."""
    return text.replace("\r\n", "\n").translate(_ESCAPES_IN_LINES)


def _tidy(text: str, chars_max: int) -> str:
    """The text without its middle where it is too long, with each lone surrogate as an escape, which no JSON has."""
    if len(text) > chars_max:
        half = chars_max // 2
        text = f"{text[:half]}... {len(text) - 2 * half} characters cut ...{text[-half:]}"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _message(record: logging.LogRecord) -> str:
    return _tidy(record.getMessage(), LOG_LINE_CHARS_MAX)


class RateLimit:
    """Lets one line per key and minute through. ``now`` is monotonic seconds.

    It keeps a bounded number of keys; beyond it new keys are refused until old ones expire, so a peer that makes
    keys up cannot make more lines than that.
    """

    def __init__(self, period_s: float = _PERIOD_S, keys_max: int = _KEYS_MAX) -> None:
        self._period_s = period_s
        self._keys_max = keys_max
        # Oldest first: a key is put back at the end when it is let through again.
        self._since_s: dict[Hashable, float] = {}

    def allow(self, key: Hashable, now: float) -> bool:
        """Whether a line for this key may be logged now; if so, the key's minute begins."""
        since_s = self._since_s
        while since_s:
            oldest = next(iter(since_s))
            if now - since_s[oldest] < self._period_s:
                break
            del since_s[oldest]
        if key in since_s or len(since_s) >= self._keys_max:
            return False
        since_s[key] = now
        return True


def _file_handler(filename: Path) -> logging.Handler:
    # It costs more to import than this whole module, and most processes log to standard error.
    from logging.handlers import WatchedFileHandler

    try:
        # A file name that is not Unicode must not end the logging of its own error.
        return WatchedFileHandler(filename, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(
            f"[log] filename: {str(filename)!r} cannot be opened: {error.strerror}; "
            "its folder must exist and be writable for this user"
        ) from None


def stderr_is_journal() -> bool:
    """Whether what this process writes to standard error goes to systemd's journal."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        # Of a process that was started without, it is None.
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    if record.stack_info:
        parts.append(record.stack_info)
    return _tidy("\n".join(parts), TRACEBACK_CHARS_MAX)


class _Text(logging.Formatter):
    """The original's ``asctime - LEVEL: message``."""

    def format(self, record: logging.LogRecord) -> str:
        lines = [f"{self.formatTime(record)} - {record.levelname}: {escape(_message(record))}"]
        trace = _trace(self, record)
        if trace:
            lines += [f"  {escape(line)}" for line in trace.split("\n")]
        return "\n".join(lines)


class _Json(logging.Formatter):
    """One object per line, always with the same keys; ``exc`` is null without an exception."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return json.dumps(
            {
                "ts": f"{second}.{int(record.msecs):03d}Z",
                "level": record.levelname.lower(),
                "logger": record.name,
                "role": self._role,
                "pid": record.process,
                "msg": _message(record),
                "exc": _trace(self, record) or None,
            }
        )


class _Journal(logging.Formatter):
    """Puts the priority in front of each line: the journal makes an entry of each."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), _PRIORITY_DEBUG)
        return "\n".join(f"<{priority}>{line}" for line in self._inner.format(record).split("\n"))
