"""How a task can end, and how a job is, as it is spelled everywhere: code, JSON, results, metrics, docs.

On the wire a status is one byte of a result batch's ``statuses`` column. Every status but ``CRASHED`` and ``LOST`` is
final: those end one attempt, and the master decides whether another follows or the task is quarantined. What a
controller may report is ``REPORTED``; the others are the master's own word.
"""

COMPLETED = 0
FAILED = 1
TIMED_OUT = 2
CRASHED = 3
QUARANTINED = 4
REFUSED = 5
CANCELLED = 6
LOST = 7
SETUP_FAILED = 8
EXPIRED = 9

STATE_NAMES = {
    COMPLETED: "completed",
    FAILED: "failed",
    TIMED_OUT: "timed_out",
    CRASHED: "crashed",
    QUARANTINED: "quarantined",
    REFUSED: "refused",
    CANCELLED: "cancelled",
    LOST: "lost",
    SETUP_FAILED: "setup_failed",
    EXPIRED: "expired",
}
FINAL_STATES = (
    "completed",
    "failed",
    "timed_out",
    "setup_failed",
    "cancelled",
    "expired",
    "quarantined",
    "refused",
)
REPORTED = frozenset({COMPLETED, FAILED, TIMED_OUT, CRASHED, REFUSED, SETUP_FAILED})

# Of a job as a whole, derived from its tasks; see docs/task-states.md.
ENDED_JOB_STATES = ("completed", "failed", "cancelled", "expired")
JOB_STATES = ("held", "queued", "delayed", "running", "cancelling", "waiting", *ENDED_JOB_STATES)
