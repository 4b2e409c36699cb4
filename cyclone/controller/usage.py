"""What a worker's tasks used up: CPU time and memory, measured by the kernel."""

import os
import resource
import time


class Usage:
    """CPU time and peak memory since a mark, children that were waited for included."""

    def __init__(self) -> None:
        self._clear_refs = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        self._children_peak = 0
        self.mark()

    def mark(self) -> None:
        """Measure from here."""
        self._cpu_s, _ = self._now()
        self._marked_s = time.monotonic()

    def reset_peak(self) -> None:
        """Start peak memory anew (proc(5): writing 5 resets the high-water mark)."""
        os.pwrite(self._clear_refs, b"5", 0)

    def take(self, since_s: float = 0.0) -> tuple[float, int]:
        """CPU seconds since the mark or, where that is later, ``since_s``, and peak bytes; marks anew.

        From the mark to ``since_s`` there were only short tasks one after the other, which waited for nothing.
        """
        cpu_s, peak = self._now()
        before_s = max(0.0, since_s - self._marked_s)
        spent_s = max(0.0, cpu_s - self._cpu_s - before_s)
        self._cpu_s, self._marked_s = cpu_s, time.monotonic()
        return spent_s, peak

    def _now(self) -> tuple[float, int]:
        own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        peak = own.ru_maxrss
        if children.ru_maxrss > self._children_peak:
            self._children_peak = children.ru_maxrss
            peak = max(peak, children.ru_maxrss)
        return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, peak * 1024
