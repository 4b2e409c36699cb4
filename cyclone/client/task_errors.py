"""What becomes of a task that did not complete: the exception that its future, or the map, raises.

Owns the way from a status and an ``ErrorRecord`` to an exception. Where the original one came by value, or can be made
of its name and text, it is raised itself, with the worker's traceback as its cause.
"""

import builtins
import logging
import sys
from concurrent.futures import BrokenExecutor, CancelledError
from types import ModuleType

from cyclone import errors
from cyclone.client import byvalue
from cyclone.errors import CycloneError, SetupFailed, TaskError, TaskExpired, TaskRefused, TaskTimeout, WorkerDied
from cyclone.protocol import states
from cyclone.protocol.messages import ErrorRecord

log = logging.getLogger("cyclone.client")

_KINDS = {
    states.TIMED_OUT: TaskTimeout,
    states.QUARANTINED: WorkerDied,
    states.REFUSED: TaskRefused,
    states.SETUP_FAILED: SetupFailed,
    states.EXPIRED: TaskExpired,
}
# Where the exception was the task's own.
_RAISED = (states.FAILED, states.SETUP_FAILED)


class TaskCancelled(TaskError, CancelledError):
    """The task was cancelled, by this program or by somebody else: the message says why where that is known."""


class ClusterDied(CycloneError, BrokenExecutor):
    """The private cluster of an Executor has ended: what it had not answered is lost."""


class RemoteTraceback(Exception):
    """Shows the worker's traceback, as the cause of what was raised there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def task_error(status: int, record: ErrorRecord, by_value: bool, job_id: int, index: int) -> BaseException:
    """The exception for a task that ended so. ``by_value``: whether a pickle in the record may be opened."""
    found = _original(record, by_value) if status in _RAISED else None
    if found is None:
        state = states.STATE_NAMES.get(status, "failed")
        kind = TaskCancelled if status == states.CANCELLED else _KINDS.get(status, TaskError)
        text = record.message if status in _KINDS or status == states.CANCELLED else f"{record.type}: {record.message}"
        found = kind(text, state=state, job_id=job_id, index=index, remote_traceback=record.traceback)
    if record.traceback:
        found.__cause__ = RemoteTraceback(record.traceback)
    return found


def _original(record: ErrorRecord, by_value: bool) -> BaseException | None:
    if by_value and record.pickled:
        try:
            opened = byvalue.loads(record.pickled)
        except Exception as error:  # the user's own __init__ or __setstate__
            log.debug("an exception of a worker cannot be opened here: %s: %s", type(error).__name__, error)
        else:
            return opened if isinstance(opened, BaseException) else None
    kind = _class_named(record.type)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return None
    try:
        return kind(record.message)
    except Exception as error:  # it takes more than a message, or another one
        log.debug("an exception of a worker cannot be made here: %s: %s", type(error).__name__, error)
        return None


def _class_named(name: str) -> object:
    """What an ``ErrorRecord`` means by this name: ours, a builtin, or of a module that is loaded here. Whoever wants to
    catch an exception of a module has imported it, and nothing is to be imported on a worker's word.
    """
    if "." not in name:
        return getattr(builtins, name, None) or getattr(errors, name, None)
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        found: object = sys.modules.get(".".join(parts[:count]))
        for part in parts[count:]:
            found = vars(found).get(part) if isinstance(found, ModuleType | type) else None
        if found is not None:
            return found
    return None
