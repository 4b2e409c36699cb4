"""Durations and sizes as people write them, to and from seconds and bytes.

Owns the two grammars and nothing else. A ValueError starts with the offending text and ends with what is accepted; its
caller adds where the text came from.
"""

import re

DURATION_FORMS = "30, 30s, 500ms, 10m, 1h30m, 2d, HH:MM:SS or D-HH:MM:SS"
SIZE_FORMS = "4096, 10kB, 4G, 4GiB or 1.5 MiB (K, M, G, T and KiB... count by 1024, kB, MB, GB, TB by 1000)"

# A century: anything longer is a slip of the keyboard, and would overflow the time-outs of the kernel.
DURATION_S_MAX = 100 * 365 * 86400.0
SIZE_BYTES_MAX = (1 << 63) - 1

# ASCII digits only (\d takes any script's), and few enough that int() and float() stay exact and cheap.
_NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,9})?)"
_PLAIN_SECONDS = re.compile(_NUMBER)
_PARTS = re.compile(rf"(?:{_NUMBER} ?d)? ?(?:{_NUMBER} ?h)? ?(?:{_NUMBER} ?m)? ?(?:{_NUMBER} ?s)? ?(?:{_NUMBER} ?ms)?")
_PARTS_S = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_CLOCK = re.compile(r"(?:([0-9]{1,5})-)?([0-9]{1,5}):([0-5][0-9]):([0-5][0-9])")
_SIZE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))? ?([A-Za-z]*)")
_UNIT_BYTES = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtp", 1):
    _UNIT_BYTES |= {_letter: 1024**_power, f"{_letter}ib": 1024**_power, f"{_letter}b": 1000**_power}


def parse_duration(text: str) -> float:
    """Seconds of ``30``, ``500ms``, ``1h30m``, ``D-HH:MM:SS``... Raises ValueError naming the accepted forms."""
    stripped = text.strip()
    if _PLAIN_SECONDS.fullmatch(stripped):
        seconds = float(stripped)
    elif clock := _CLOCK.fullmatch(stripped):
        days, hours, minutes, rest = clock.groups()
        if days is not None and int(hours) > 23:
            raise ValueError(f"{text!r} is not a duration: {hours} hours beside days; write {DURATION_FORMS}")
        seconds = float(int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + int(rest))
    elif stripped and (parts := _PARTS.fullmatch(stripped)):
        seconds = sum(float(part) * unit_s for part, unit_s in zip(parts.groups("0"), _PARTS_S, strict=True))
    else:
        raise ValueError(f"{text!r} is not a duration: write {DURATION_FORMS}")
    if seconds > DURATION_S_MAX:
        raise ValueError(f"{text!r} is longer than {format_duration(DURATION_S_MAX)}: write {DURATION_FORMS}")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest text that ``parse_duration`` reads back, to the millisecond: ``1h30m``, ``500ms``, ``0s``."""
    if seconds < 0:
        raise ValueError(f"{seconds!r} is not a duration: it is negative")
    if 0 < seconds < 1:
        return f"{seconds * 1000:.6f}".rstrip("0").rstrip(".") + "ms"
    milliseconds = round(seconds * 1000)
    text = ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            text += f"{count}{unit}"
    if milliseconds or not text:
        text += f"{milliseconds / 1000:g}s"
    return text


def parse_size(text: str) -> int:
    """Bytes of ``4096``, ``4GiB``, ``1.5 MiB``, ``10kB``... Raises ValueError naming the accepted forms."""
    found = _SIZE.fullmatch(text.strip())
    factor = _UNIT_BYTES.get(found[3].lower()) if found else None
    if found is None or factor is None:
        raise ValueError(f"{text!r} is not a size: write {SIZE_FORMS}")
    whole, fraction = found[1], found[2] or ""
    if factor == 1 and fraction.strip("0"):
        raise ValueError(f"{text!r} is not a whole number of bytes: write {SIZE_FORMS}")
    size_bytes: int = int(whole + fraction) * factor // 10 ** len(fraction)
    if size_bytes > SIZE_BYTES_MAX:
        raise ValueError(f"{text!r} is more than {SIZE_BYTES_MAX} bytes: write {SIZE_FORMS}")
    return size_bytes


def format_size(size_bytes: int) -> str:
    """For people: ``512 B``, ``4 GiB``, ``1.5 MiB``; one digit after the point."""
    if size_bytes < 0:
        raise ValueError(f"{size_bytes!r} is not a size: it is negative")
    value, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        # Not 1024: what would be printed as "1024.0 KiB" belongs to the next unit.
        if value < 1023.95:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"
