"""Jobs whose client is gone: nobody adds to them, and nobody says that they have all their tasks. PURE.

Owns when such a job is sealed, so that it ends with the tasks that it has. How long nobody has said anything is not
recorded: after a restart of the master the time counts anew. The caller owes ``heard`` for each request of somebody who
may steer a job, and ``advance`` once per turn.
"""

from cyclone.master.events import JobSealed
from cyclone.master.jobs.registry import JobRecord
from cyclone.master.turn import Turn

# All open jobs are looked at so many times within the time after which one is sealed, or once a minute.
_LOOKS = 10
_LOOK_S_MAX = 60.0


class Abandoned:
    """See the module. ``after_s`` is how long a client may be silent, 0 for ever."""

    def __init__(self, turn: Turn, after_s: float) -> None:
        self._turn = turn
        self._jobs = turn.state.jobs
        self._after_s = after_s
        self._look_at = 0.0

    def advance(self) -> None:
        """See the module."""
        now = self._turn.now
        if not self._after_s or now < self._look_at:
            return
        self._look_at = now + min(_LOOK_S_MAX, self._after_s / _LOOKS)
        for record in self._jobs.records.values():
            if record.sealed:
                continue
            # It is the first look since the start of the master.
            record.heard_at = record.heard_at or now
            if now >= record.heard_at + self._after_s:
                self._seal(record)

    def _seal(self, record: JobRecord) -> None:
        owner = f" of {record.owner}" if record.owner else ""
        self._turn.say(
            "warning",
            f"job={record.job_id}{owner} gets no more tasks: for {self._after_s:g} s no client has said anything of it "
            "([clients] abandon)",
        )
        record.abandoned = True
        self._turn.emit(JobSealed(record.job_id))
