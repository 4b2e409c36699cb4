"""Which injected fault may excuse what: a second start of a task, a late dispatch, a lease out of order. PURE.

The rule of the house: without a fault no task starts twice, and nothing waits. So a fault excuses only what it can
reach: one that silences a controller beyond its time-out excuses alone, of the others it takes two at a time.
"""

from bisect import bisect_left

from tests.chaos.evidence import NS, Evidence, Fault

# What cannot make anybody lease a task again.
HARMLESS = {
    "guardian_kill",
    "client_kill",
    "generator_kill",
    "clock",
    "worker_pause",
    "worker_pause_long",
    "link_replay",
}
# What may: a controller is silent for longer than its time-out, or dead.
SILENCING = {
    "controller_kill",
    "controller_pause_long",
    "link_corrupt",
    "link_half_close",
    "link_hole",
    "link_refuse",
    "link_throttle",
    "master_pause_long",
}
# Resends, retries and back-off take so long at most to bring an old matter up again.
REACH_S = 5.0


class Excuses:
    """The faults of a run, asked by time and target."""

    def __init__(self, evidence: Evidence) -> None:
        self._reach_ns = int((evidence.about.controller_timeout_s + REACH_S) * NS)
        self._faults = sorted(
            (fault for fault in evidence.faults if fault.kind not in HARMLESS), key=lambda fault: fault.at_ns
        )
        self._starts = [fault.at_ns for fault in self._faults]
        self._longest_ns = max((int(fault.for_s * NS) for fault in self._faults), default=0)

    def between(self, since_ns: int, until_ns: int) -> list[Fault]:
        """What was going on, or had its effects, at some moment between the two."""
        low = bisect_left(self._starts, since_ns - self._reach_ns - self._longest_ns)
        high = bisect_left(self._starts, until_ns)
        return [fault for fault in self._faults[low:high] if fault.over_ns + self._reach_ns >= since_ns]

    def second_start(self, node: str, pid: int, since_ns: int, until_ns: int) -> bool:
        """Whether a task that this controller's worker started first may start once more until then."""
        near = self.between(since_ns, until_ns)
        if any(fault.kind == "worker_kill" and fault.pid == pid for fault in near):
            return True
        near = [fault for fault in near if fault.target in (node, "master")]
        return len(near) > 1 or any(fault.kind in SILENCING for fault in near)

    def anything(self, since_ns: int, until_ns: int) -> bool:
        """Whether anything went on that holds up dispatch or disturbs its order."""
        return any(fault.kind != "worker_kill" for fault in self.between(since_ns, until_ns))
