"""A file that is written and read back to measure one OST.

Owns the I/O and its two times. The file must be there already, with its layout: opened with O_CREAT, one that somebody
has deleted meanwhile would come back on any OST. Its name, and that it is deleted, is the caller's. All system calls
are made where the caller is, and may hang for as long as the OST does.
"""

import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What O_DIRECT wants of offsets and sizes, on every file system.
DIRECT_IO_BYTES = 4096


class ProbeFile:
    """Throughputs follow from ``total_size_bytes`` and the seconds that ``write`` and ``read`` return."""

    def __init__(self, path: Path, block_size_bytes: int, total_size_bytes: int, direct_io: bool) -> None:
        self._path = path
        self._total_bytes = total_size_bytes
        self._flags = os.O_DIRECT if direct_io else 0
        # A mapping begins with a page, as O_DIRECT wants it.
        self._block = mmap.mmap(-1, block_size_bytes)
        self._block.write(b"A" * block_size_bytes)

    def write(self, sync: bool) -> float:
        """Write all of it, and with ``sync`` wait until the OST has it; how many seconds that took.

        Then the page cache forgets it, so that reading asks the OST again. Raises OSError.
        """
        block = memoryview(self._block)
        with self._opened(os.O_WRONLY) as descriptor:
            began_s = time.perf_counter()
            left = self._total_bytes
            while left:
                # From the beginning of the block also after a short write: one byte is like the other.
                left -= os.write(descriptor, block[:left])
            if sync:
                os.fsync(descriptor)
            seconds = time.perf_counter() - began_s
            if not sync:
                # Only what is written can be forgotten.
                os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return seconds

    def read(self) -> float:
        """Read all of it; how many seconds that took. Raises OSError, also where it has another size."""
        total = 0
        with self._opened(os.O_RDONLY) as descriptor:
            began_s = time.perf_counter()
            while count := os.readv(descriptor, [self._block]):
                total += count
            seconds = time.perf_counter() - began_s
        if total != self._total_bytes:
            raise OSError(f"{total} bytes came back of {self._total_bytes} that were written")
        return seconds

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        descriptor = os.open(self._path, flags | self._flags | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
