"""A migration's forecast as text for people. Owns how it looks; ``migration_forecast.py`` has what is in it."""

from collections.abc import Sequence

from cyclone.lustre.migration_forecast import Forecast
from cyclone.units import format_duration, format_size


def lines(found: Forecast) -> list[str]:
    """The table of ``cyclone lustre plan`` and ``cyclone run --dry-run``."""

    def size(size_bytes: int | None) -> str:
        return "?" if size_bytes is None else format_size(size_bytes)

    rate = format_size(found.bytes_per_s_and_stream)
    lines = [
        f"input    {found.input_files:,} files, {found.paths:,} paths, {found.bad_records:,} bad records; "
        f"{found.known_paths:,} of known size, {format_size(found.known_bytes)}",
        f"moves    {found.files:,} files, {size(found.bytes)}; {found.streams:,} streams at a time",
        f"time     about {format_duration(round(found.seconds))} at {rate}/s a stream"
        if found.seconds is not None
        else "time     unknown: no file's size is known; --file-size assumes one",
        "",
    ]
    table = [("SOURCE", "STATE", "FILL", "PATHS", "GIVES", "BYTES")]
    table += [
        (f"{i}", row.state, _percent(row.fill_percent), f"{row.paths:,}", f"{row.files:,}", size(row.bytes))
        for i, row in found.sources.items()
    ]
    lines += [*_columns(table), ""]
    table = [("TARGET", "STATE", "FILL", "ROOM", "TAKES", "BYTES")]
    table += [
        (f"{i}", row.state, _percent(row.fill_percent), size(row.room_bytes), f"{row.files:,}", size(row.bytes))
        for i, row in found.targets.items()
    ]
    return lines + _columns(table)


def _percent(percent: float | None) -> str:
    return "?" if percent is None else f"{percent:.1f} %"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
