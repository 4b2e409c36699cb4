"""What kind an error is: its type and the first line of its message, without what differs from task to task.

Owns that, so that whoever counts failures by kind counts the same ones. Imports nothing of Cyclone.
"""

import re

OTHERS = "others"
"""What stands for kinds that are not told apart any more."""

_CHARS_MAX = 160
# What differs between failures of one kind: numbers, also hexadecimal ones and the names made of them.
_VARIABLE = re.compile(r"0x[0-9a-fA-F]+|\d+")


def error_kind(error: str) -> str:
    """The kind of an error that is told as ``Type: message``; at most 160 characters that can be printed."""
    line = error.partition("\n")[0][: 4 * _CHARS_MAX]
    text = _VARIABLE.sub("#", line)[:_CHARS_MAX]
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)
