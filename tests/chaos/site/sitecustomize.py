"""Imported by every Python process of a chaos run before anything else: a clock that can be set, and planted bugs.

Reached by PYTHONPATH alone, so that nothing of it is in the product.
"""

import mmap
import os
import struct
import time

_CLOCK = "CYCLONE_CHAOS_CLOCK"
_BUG = "CYCLONE_CHAOS_BUG"


def _shift_the_clock(path: str) -> None:
    """``time.time`` is off by as many seconds as the file says, at each moment."""
    with open(path, "rb") as file:
        offset = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
    real, unpack = time.time, struct.Struct("d").unpack_from
    time.time = lambda: real() + unpack(offset)[0]
    time.time_ns = lambda: int(time.time() * 1e9)


if _CLOCK in os.environ:
    _shift_the_clock(os.environ[_CLOCK])
if os.environ.get(_BUG):
    from tests.chaos.planted.bugs import plant

    plant(os.environ[_BUG])
