"""The first line of a script, ``#!/bin/bash -e``: what the kernel would run it with.

Owns how that line is read. Whether there is such a program is its caller's to see.
"""

import os
import re

_SIGN = b"#!"
_LINE = re.compile(rb"#![ \t]*(/[^ \t\0]*)[ \t]*([^\0]*?)[ \t]*")


def interpreter(source: str | bytes) -> list[str]:
    """A program by its full path, and the one argument that it may have; [] for a script without such a line.

    Raises ValueError for a line that could be followed nowhere, with what would be right.
    """
    end = source.find("\n") if isinstance(source, str) else source.find(b"\n")
    first = source if end < 0 else source[:end]
    line = first.encode("utf-8", "surrogateescape") if isinstance(first, str) else first
    if not line.startswith(_SIGN):
        return []
    if line.endswith(b"\r"):
        raise ValueError(r"its lines end with CR LF, as on Windows: sed -i 's/\r$//' takes the CR away")
    found = _LINE.fullmatch(line)
    if found is None:
        told = line.decode("utf-8", "backslashreplace")
        raise ValueError(f"its first line, {told!r:.100}, names no interpreter by its full path, such as #!/bin/bash")
    return [os.fsdecode(word) for word in found.groups() if word]
