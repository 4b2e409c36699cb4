"""What the probes of OSTs have in common: a task for one OST of a monitoring round.

Owns how a probe says that it failed, and who speaks for one that cannot: a worker that was killed makes no records. Its
caller, ``cyclone.lustre.rounds``, asks ``lost`` for a task that does, so that each OST has its record in each round.
"""

from cyclone.errors import CycloneError
from cyclone.lustre.checked import CheckedOsts
from cyclone.lustre.lfs import Lfs
from cyclone.task import BaseTask

ACTIVE = "active"


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


def ost_name(index: int) -> str:
    """``OST000a`` for 10, as Lustre and the database have it."""
    return f"OST{index:04x}"


def ost_state(lfs: Lfs, target: str, index: int) -> str:
    """What ``lfs check osts`` says of an OST. Raises LfsError, and ProbeFailed where it does not know it."""
    states = CheckedOsts(lfs, target).states()
    if index not in states:
        raise ProbeFailed(f"lfs check osts of {target!r} does not list it")
    return states[index]
