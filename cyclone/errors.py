"""The one tree of exceptions. Owns the names; every message says what was wrong and what would be right."""


class CycloneError(Exception):
    """Root of everything that Cyclone raises on purpose."""


class ConfigError(CycloneError):
    """A configuration file or a ``--set`` cannot be used. Daemons exit with 78 (sysexits EX_CONFIG)."""


class UsageError(CycloneError):
    """A command line makes no sense. Commands exit with 2."""


class PluginError(CycloneError):
    """A user's class cannot be found, imported or used as what it was named for."""


class ClassRefused(PluginError):
    """A class that may not be used as what it was named for: not allowed here, or not derived from the right one."""


class ProtocolError(CycloneError):
    """Bytes from a peer are not a message of the protocol. Never raised for our own mistakes."""


class NotSerialisable(CycloneError):
    """A task property or a result value has no msgpack form, or is larger than the protocol's limit."""


class PayloadTooLarge(NotSerialisable):
    """The arguments or the function of a task, or its result, are larger than one task's may be."""


class AlreadyRunning(CycloneError):
    """Another process holds the pid file or the port."""


class Unreachable(CycloneError):
    """No master answers. Commands exit with 69 (sysexits EX_UNAVAILABLE).

    ``may_be_done``: the request has left us, and only its answer did not come.
    """

    may_be_done = False


class NotAllowed(CycloneError):
    """The key, or this master, does not give the right to do this. Commands exit with 77 (sysexits EX_NOPERM)."""


class NotGranted(CycloneError):
    """A master does not do what it was asked to do, for another reason than a right. Commands exit with 1."""


class BadRequest(CycloneError, ValueError):
    """What a master is to be asked breaks a rule of the protocol: nothing was sent. The message names the field."""


class SubmitRefused(CycloneError):
    """A master does not take a job, or more tasks for one. ``code`` is one of ``SUBMIT_REFUSALS``."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code

    def __reduce__(self) -> tuple[type["SubmitRefused"], tuple[str, str]]:
        return type(self), (self.code, str(self))


class QuotaExceeded(SubmitRefused):
    """The namespace has as many open jobs or tasks as it may. Commands exit with 75 (sysexits EX_TEMPFAIL)."""


class MasterBusy(SubmitRefused):
    """The master takes no new job: it is stopping, or has as many as it can. Commands exit with 75, as above."""


class NoSuchJob(SubmitRefused):
    """There is no job of this number, or it has ended."""


class NoSuchNamespace(SubmitRefused):
    """There is no namespace of this name."""


class TaskError(CycloneError):
    """A task did not complete, and its own exception cannot be raised here.

    ``state`` is how it ended, ``index`` its place in the job, ``remote_traceback`` the worker's, or empty.
    """

    def __init__(
        self, message: str, *, state: str = "failed", job_id: int = 0, index: int = 0, remote_traceback: str = ""
    ) -> None:
        super().__init__(message)
        self.state = state
        self.job_id = job_id
        self.index = index
        self.remote_traceback = remote_traceback


class SetupFailed(TaskError):
    """What the task needs could not be made ready: it did not run."""


class TaskTimeout(TaskError, TimeoutError):
    """The task took longer than its time limit, and was ended."""


class WorkerDied(TaskError):
    """The task's worker process died, each time that it was tried: the task is quarantined."""


class TaskExpired(TaskError):
    """The task had not started when its time, ``not_after``, was over."""


class TaskRefused(TaskError):
    """No controller may execute what the task is."""


class GeneratorFailed(CycloneError):
    """The generator process raised or died; the message ends with its traceback where there is one."""
