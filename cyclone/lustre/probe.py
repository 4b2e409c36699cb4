"""What the probes of OSTs have in common: a task for one OST of a monitoring round.

Owns how a probe says that it failed, and who speaks for one that cannot: a worker that was killed makes no records. Its
caller, ``cyclone.lustre.rounds``, asks ``lost`` for a task that does, so that each OST has its record in each round.
"""

from cyclone.errors import CycloneError
from cyclone.lustre.checked import CheckedOsts
from cyclone.lustre.lfs import Lfs, LfsTimeout
from cyclone.lustre.parsing import ACTIVE, INACTIVE
from cyclone.task import BaseTask


class ProbeFailed(CycloneError):
    """A probe that has made its record, and failed; the message begins with the OST's name."""


class OstProbe(BaseTask):
    """A task about the OST ``ost_idx`` of the file system ``lfs_target``; ProbeFailed is raised behind its record."""

    # A round later there is another one.
    retries = 0

    ost_idx: int
    lfs_target: str

    def lost(self, error: str, started: float | None) -> BaseTask | None:
        """A task that makes the records which this one, begun at that Unix time, has not made; None for none.

        It has a parameter ``ost_idx``, too, and is of another class.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define lost()")


def is_inactive(lfs: Lfs, target: str, index: int) -> bool:
    """Whether an administrator has made an OST inactive, so that there is nothing to probe.

    Raises LfsError, and ProbeFailed for an OST that does not answer, or that ``lfs check osts`` does not list.
    """
    try:
        states = CheckedOsts(lfs, target).states()
    except LfsTimeout:
        # One OST that hangs may hold up the check of all: to try this one tells more.
        return False
    state = states.get(index)
    if state is None:
        raise ProbeFailed(f"lfs check osts of {target!r} does not list it")
    if state not in (ACTIVE, INACTIVE):
        raise ProbeFailed(f"lfs check osts: {state}")
    return state == INACTIVE
