"""Moments as text. Reads no clock."""

import datetime
import functools


def rfc3339(unix_s: float) -> str | None:
    """A moment in UTC with microseconds, as text of one width that sorts; None for one outside of the calendar."""
    try:
        second, microseconds = divmod(round(unix_s * 1_000_000), 1_000_000)
        return f"{_second(second)}.{microseconds:06d}Z"
    except (ValueError, OverflowError, OSError):
        return None


def rfc3339_second(unix_s: float) -> str:
    """The same to the second, for sentences."""
    try:
        return f"{_second(int(unix_s))}Z"
    except (ValueError, OverflowError, OSError):
        return f"{unix_s:.0f} s of Unix time"


@functools.lru_cache(maxsize=64)
def _second(unix_s: int) -> str:
    """Kept, because the calendar costs five times as much as the rest of a record, and a second holds many tasks."""
    return datetime.datetime.fromtimestamp(unix_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
