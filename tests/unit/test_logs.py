"""What a log line looks like on each way out, and that no text from outside can forge one."""

import io
import logging
import os
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from cyclone.errors import ConfigError
from cyclone.logs import RateLimit, configure, escape
from cyclone.protocol.limits import LOG_LINE_CHARS_MAX

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - (\w+): (.*)")


@pytest.fixture(autouse=True)
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    # Those of pytest would be closed by configure().
    logger.handlers[:] = []
    yield logger
    for handler in logger.handlers:
        handler.close()
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture
def stderr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real file as standard error. Not put into ``sys``: pytest puts its own there before each phase of a test."""
    path = tmp_path / "stderr"
    with path.open("w", errors="backslashreplace", buffering=1) as stream:
        monkeypatch.setattr("cyclone.logs.sys", SimpleNamespace(stderr=stream))
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        yield path


def _fail() -> None:
    raise ValueError("first\n2026-01-01 00:00:00,000 - INFO: forged\x1b[2J")


def test_given_text_when_logged_then_the_format_of_the_original_on_stderr(stderr: Path) -> None:
    configure("master", None, "text", "info", debug=False)
    logging.getLogger("cyclone").info("%d tasks", 3)
    found = LINE.fullmatch(stderr.read_text().rstrip("\n"))
    assert found
    assert found.groups() == ("INFO", "3 tasks")


@pytest.mark.parametrize(
    ("level", "debug", "expected"),
    [
        ("debug", False, "dbg inf wrn err"),
        ("info", False, "inf wrn err"),
        ("warning", False, "wrn err"),
        ("error", False, "err"),
        ("error", True, "dbg inf wrn err"),
    ],
)
def test_given_a_level_when_logged_then_only_what_is_as_severe(
    stderr: Path, level: str, debug: bool, expected: str
) -> None:
    configure("master", None, "text", level, debug)
    log = logging.getLogger("cyclone")
    log.debug("dbg")
    log.info("inf")
    log.warning("wrn")
    log.error("err")
    assert " ".join(line[-3:] for line in stderr.read_text().splitlines()) == expected


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a\nb", "a\\nb"),
        ("a\r\tb", "a\\r\\tb"),
        ("\x00\x1b[31m\x7f", "\\x00\\x1b[31m\\x7f"),
        ("\x85\x9b\u2028\u2029", "\\x85\\x9b\\u2028\\u2029"),
        ("Grüße, 世界 \\n", "Grüße, 世界 \\n"),
    ],
)
def test_given_control_characters_when_escaped_then_none_is_left(text: str, escaped: str) -> None:
    assert escape(text) == escaped
    assert len(escape(text).splitlines()) == 1


def test_given_forged_lines_when_logged_as_text_then_one_line_each_and_tracebacks_indented(stderr: Path) -> None:
    configure("master", None, "text", "info", debug=False)
    logging.getLogger("cyclone").error("peer said %s", "x\n2026-01-01 00:00:00,000 - INFO: forged")
    try:
        _fail()
    except ValueError:
        logging.getLogger("cyclone").exception("failed")
    lines = stderr.read_text().splitlines()
    assert [line for line in lines if LINE.fullmatch(line)] == [lines[0], lines[1]]
    assert lines[2] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in lines[2:])
    assert lines[-1] == "  2026-01-01 00:00:00,000 - INFO: forged\\x1b[2J"


def test_given_json_when_logged_then_one_object_per_line_with_all_keys(stderr: Path) -> None:
    configure("controller", None, "json", "info", debug=False)
    logging.getLogger("cyclone.pool").warning("a\nb %s", "\udc80\x1bü")
    try:
        _fail()
    except ValueError:
        logging.getLogger("cyclone.pool").exception("failed")
    plain, failed = (msgspec.json.decode(line) for line in stderr.read_text().splitlines())
    assert list(plain) == list(failed) == ["ts", "level", "logger", "role", "pid", "msg", "exc"]
    stamp = datetime.fromisoformat(plain.pop("ts"))
    assert stamp.utcoffset() == timedelta(0)
    assert abs(datetime.now(stamp.tzinfo) - stamp) < timedelta(minutes=1)
    assert plain == {
        "level": "warning",
        "logger": "cyclone.pool",
        "role": "controller",
        "pid": os.getpid(),
        "msg": "a\nb \\udc80\x1bü",
        "exc": None,
    }
    assert failed["exc"].startswith("Traceback")
    assert "ValueError: first" in failed["exc"]


def test_given_the_journal_when_logged_then_each_line_has_its_priority(
    stderr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = stderr.stat()
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    configure("master", None, "text", "info", debug=True)
    log = logging.getLogger("cyclone")
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        log.log(level, "x")
    try:
        _fail()
    except ValueError:
        log.exception("x")
    priorities = [line[:3] for line in stderr.read_text().splitlines()]
    assert priorities[:6] == ["<7>", "<6>", "<4>", "<3>", "<2>", "<3>"]
    assert len(priorities) > 8
    assert set(priorities[5:]) == {"<3>"}


@pytest.mark.parametrize("stream", ["", "1:2", "x", ":", "8:"])
def test_given_another_stream_in_the_environment_when_logged_then_no_priority(
    stderr: Path, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", stream)
    configure("master", None, "text", "info", debug=False)
    logging.getLogger("cyclone").info("x")
    assert LINE.fullmatch(stderr.read_text().rstrip("\n"))


def test_given_a_stderr_without_descriptor_when_configured_then_it_is_no_journal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("cyclone.logs.sys", SimpleNamespace(stderr=stream))
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    configure("master", None, "text", "info", debug=False)
    logging.getLogger("cyclone").info("x")
    assert LINE.fullmatch(stream.getvalue().rstrip("\n"))


def test_given_a_file_when_it_is_rotated_away_then_the_next_line_is_in_a_new_one(stderr: Path, tmp_path: Path) -> None:
    path = tmp_path / "cyclone.log"
    configure("master", path, "text", "info", debug=False)
    logging.getLogger("cyclone").info("one \udc80")
    path.rename(tmp_path / "cyclone.log.1")
    logging.getLogger("cyclone").info("two")
    assert (tmp_path / "cyclone.log.1").read_text().endswith("INFO: one \\udc80\n")
    assert path.read_text().endswith("INFO: two\n")
    assert stderr.read_text() == ""


def test_given_a_file_that_cannot_be_opened_when_configured_then_the_message_says_what_is_needed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "no" / "cyclone.log"
    with pytest.raises(
        ConfigError, match=r"^\[log\] filename: '.*/no/cyclone.log' cannot be opened: No such file.*must exist"
    ):
        configure("master", path, "text", "info", debug=False)


def test_given_it_was_configured_before_when_configured_again_then_there_is_one_handler(
    stderr: Path, root: logging.Logger
) -> None:
    configure("master", None, "text", "info", debug=False)
    configure("master", None, "text", "info", debug=False)
    assert len(root.handlers) == 1


def test_given_a_key_when_asked_within_its_minute_then_once() -> None:
    limit = RateLimit()
    asked = [("a", 0.0), ("a", 1.0), ("b", 59.0), ("a", 59.9), ("a", 60.0), ("a", 61.0), ("b", 118.0), ("b", 119.0)]
    assert [limit.allow(key, now) for key, now in asked] == [True, False, True, False, True, False, False, True]


def test_given_more_keys_than_fit_when_asked_then_new_ones_wait_for_old_ones_to_expire() -> None:
    limit = RateLimit(period_s=10, keys_max=3)
    assert [limit.allow(key, key) for key in range(5)] == [True, True, True, False, False]
    assert limit.allow("new", 10)
    assert not limit.allow("newer", 10)
    # One for each key that expires meanwhile: those of seconds 1 and 2.
    assert sum(limit.allow(f"flood {n}", 10 + n / 1000) for n in range(10_000)) == 2


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_given_a_message_that_is_too_long_when_logged_then_its_middle_is_cut(stderr: Path, log_format: str) -> None:
    configure("master", None, "json" if log_format == "json" else "text", "info", debug=False)
    logging.getLogger("cyclone").info("%s", "a" * LOG_LINE_CHARS_MAX + "b" * LOG_LINE_CHARS_MAX)
    line = stderr.read_text()
    assert f"a... {LOG_LINE_CHARS_MAX} characters cut ...b" in line
    assert len(line) < LOG_LINE_CHARS_MAX + 300


def test_given_a_relay_to_the_journal_when_logged_then_the_line_has_its_priority(stderr: Path) -> None:
    configure("worker", None, "text", "info", debug=False, relayed_to_journal=True)
    logging.getLogger("cyclone").warning("said")
    assert stderr.read_text().startswith("<4>")
