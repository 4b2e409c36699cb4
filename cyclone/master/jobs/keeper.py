"""What comes for jobs with time and with results: they expire, they end, what is wished of them is carried out. PURE.

Owns when. The caller owes ``advance`` once per turn, before anything is leased, and not later than ``deadline``.
"""

import heapq
import math
from collections.abc import Iterable

from cyclone.master.events import CancelWanted, NamespaceSet
from cyclone.master.jobs.abandoned import Abandoned
from cyclone.master.jobs.cancelling import Cancelling
from cyclone.master.jobs.errands import Errands
from cyclone.master.leases.outcomes import Outcomes
from cyclone.master.turn import Turn
from cyclone.protocol import limits, states
from cyclone.protocol.job_spec import Namespace


class Keeper:
    """See the module. ``namespaces`` are those that the configuration wants to be there; ``abandon_s`` is how long a
    job that is not sealed may hear nothing from its client, 0 for ever. ``errands`` are requests that take more turns
    than one.
    """

    def __init__(
        self,
        turn: Turn,
        cancelling: Cancelling,
        outcomes: Outcomes,
        namespaces: Iterable[Namespace] = (),
        abandon_s: float = 0.0,
    ) -> None:
        self._turn = turn
        self._jobs = turn.state.jobs
        self._wishes = turn.state.cancellations
        self._cancelling = cancelling
        self._outcomes = outcomes
        self._wanted = list(namespaces)
        self._abandoned = Abandoned(turn, abandon_s)
        self.errands = Errands(turn)

    @property
    def deadline(self) -> float:
        """When ``advance`` has something to do at the latest, in monotonic seconds."""
        jobs = self._jobs
        if jobs.over or self._wanted:
            return self._turn.now
        if not jobs.records and not self._wishes.pending:
            return math.inf
        expires_at = jobs.expiring[0][0] - jobs.wall_offset_s if jobs.expiring else math.inf
        return min(expires_at, self._cancelling.deadline, self.errands.deadline)

    def advance(self) -> None:
        """See the module."""
        jobs = self._jobs
        while self._wanted:
            namespace = self._wanted.pop()
            # What people have set since counts for more than what the configuration says.
            if namespace.name not in jobs.namespaces_set:
                self._turn.emit(NamespaceSet(namespace))
            elif (known := jobs.namespaces[namespace.name]) != namespace:
                self._turn.say(
                    "info", f"{_terms(known)}, as it was set before; the configuration says {_terms(namespace)}"
                )
        self._abandoned.advance()
        self.errands.advance()
        expired = set()
        while jobs.expiring and jobs.expiring[0][0] <= self._turn.now + jobs.wall_offset_s:
            _, job_id = heapq.heappop(jobs.expiring)
            record = jobs.records.get(job_id)
            if record and not record.stopped:
                reason = "not_after of its job has passed while it waited"
                self._turn.emit(CancelWanted(1, limits.ID_MAX, "", job_id, states.EXPIRED, reason))
                self._cancelling.look()
                expired.add(job_id)
        if expired:
            self._cancelling.recall(expired)
        if self._wishes.pending:
            self._cancelling.carry_out()
        if jobs.over:
            self._outcomes.end_jobs()


def _terms(namespace: Namespace) -> str:
    """What the configuration can say of a namespace."""
    quotas = "".join(
        f" {name}={amount}"
        for name, amount in (("jobs_max", namespace.jobs_max), ("tasks_max", namespace.tasks_max))
        if amount is not None
    )
    return f"namespace={namespace.name} weight={namespace.weight:g}{quotas}"
