"""How a task can end, as it is spelled everywhere: code, JSON, results, metrics, docs.

On the wire a status is one byte of a result batch's ``statuses`` column. Every status but ``CRASHED`` is final: a
crash ends one attempt, and the master decides whether another follows or the task is quarantined.
"""

COMPLETED = 0
FAILED = 1
TIMED_OUT = 2
CRASHED = 3
QUARANTINED = 4

STATE_NAMES = {
    COMPLETED: "completed",
    FAILED: "failed",
    TIMED_OUT: "timed_out",
    CRASHED: "crashed",
    QUARANTINED: "quarantined",
}
FINAL_STATES = ("completed", "failed", "timed_out", "quarantined")
