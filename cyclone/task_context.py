"""What a task knows of itself while it runs, and outside of a worker.

Owns ``TaskContext``, which a worker derives its own from (``cyclone.controller.context``). Knows no process.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclone.plugins import ANY_MODULE, load_allowed

if TYPE_CHECKING:
    import tempfile


class TaskContext:
    """What the running worker knows of the current task. Outside a worker it stands for a task run by hand.

    The worker sets its fields for a batch, and derives the rest when it is asked, so that a task pays only for what it
    uses. ``job_id`` is 0 for the tasks of a generator, ``node`` the name of the controller, ``slot`` a number from 0 to
    below its ``worker_count`` that no other task has meanwhile, ``cpus`` how many slots the task takes, and
    ``by_value`` whether pickles of this job may be opened here. ``worker_dir`` is a private folder that goes with the
    worker process, whatever it ends of, and has room for what lasts longer than a task.
    """

    def __init__(self) -> None:
        self.job_id = 0
        self.job_name = ""
        self.namespace = ""
        self.node = ""
        self.slot = 0
        self.cpus = 1
        self.by_value = False
        self.attempt = 1
        self.started_s: float | None = None
        self.time_limit_s: float | None = None
        self.worker_dir: Path | None = None
        self.records: list[tuple[str, bytes]] = []
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @property
    def task_id(self) -> int:
        """0 for a task that no master handed out."""
        return 0

    def time_left_s(self) -> float | None:
        """Seconds until the time limit, None without one."""
        if self.time_limit_s is None or self.started_s is None:
            return None
        return max(0.0, self.started_s + self.time_limit_s - time.monotonic())

    def scratch_dir(self) -> Path:
        """A folder of this task's own, made when first asked for."""
        import tempfile

        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="cyclone-task-")
        return Path(self._scratch.name)

    def record(self, name: str, packed: bytes) -> None:
        """See ``BaseTask.record``."""
        self.records.append((name, packed))

    def printed(self, stream: int, data: bytes) -> None:
        """A program that the task runs has printed this to its standard output (1) or error (2)."""

    def load(self, path: str) -> Callable[..., Any]:
        """The function or class ``module:name``, if this controller may execute it; see ``plugins.load_allowed``."""
        return load_allowed(path, (ANY_MODULE,))

    def variables(self) -> dict[str, str]:
        """What a program that the task starts should find in its environment about it."""
        return {
            "CYCLONE_JOB_ID": str(self.job_id),
            "CYCLONE_JOB_NAME": self.job_name,
            "CYCLONE_NAMESPACE": self.namespace,
            "CYCLONE_TASK_ID": str(self.task_id),
            "CYCLONE_ATTEMPT": str(self.attempt),
            "CYCLONE_NODE": self.node,
            "CYCLONE_SLOT": str(self.slot),
            "CYCLONE_CPUS": str(self.cpus),
        }
