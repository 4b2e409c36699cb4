"""The work of a chaos run: tasks that note by themselves what was executed when, and their generator.

Plug-ins of real processes, as a user writes them. ``[chaos]`` of the configuration holds the plan.
"""

import os
import resource
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator

from cyclone import BaseTask, BaseTaskGenerator, TaskResult
from cyclone.generator import Config
from tests.chaos import history
from tests.chaos.plan import Deed, Plan


class ChaosTask(BaseTask):
    """Notes its start, does its deed, notes its end. What it returns is new in each attempt."""

    def __init__(self, number: int, kind: str, duration_ms: int) -> None:
        self.number = number
        self.kind = kind
        self.duration_ms = duration_ms

    history_name = history.EXECUTIONS

    def execute(self) -> str:
        me = (self.number, self.task_id, self.attempt, os.getpid(), os.environ[history.CONTROLLER])
        history.append(self.history_name, "S", *me)
        if self.kind == "poison" or (self.kind == "crash_once" and self.attempt == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "litter":
            # It leaves a process behind, out of its session, with nothing open: whoever runs us has to find that.
            quiet = subprocess.DEVNULL
            subprocess.Popen(["sleep", "3600"], start_new_session=True, stdin=quiet, stdout=quiet, stderr=quiet)
        if self.duration_ms:
            time.sleep(self.duration_ms / 1000)
        payload = f"{self.number}:{uuid.uuid4().hex}"
        history.append(self.history_name, "E", *me, history.digest(payload))
        if self.kind == "fail":
            raise ValueError(payload)
        return payload


class ExclusiveChaosTask(ChaosTask):
    """Must never overlap with an earlier attempt of its own."""

    exclusive = True


class JobTask(ChaosTask):
    """Of a job that a client has submitted."""

    history_name = history.JOBS


class ChaosGenerator(BaseTaskGenerator):
    """Yields the plan's tasks in order; its cursor is the number of the next one."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        # A full disk is played to the master by a limit that its children inherit; histories must be written.
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        self._next = 0
        self._plan = Plan(
            self.integer_option("chaos", "tasks"),
            self.integer_option("chaos", "seed"),
            self.option("chaos", "pace"),
            self.option("chaos", "follow") == "yes",
            self.option("chaos", "exclusive") == "yes",
        )

    def generate(self) -> Iterator[BaseTask]:
        while self._next < self._plan.tasks:
            self._next += 1
            yield self._task(self._next - 1)

    def cursor(self) -> int:
        """All below this number have been yielded."""
        return self._next

    def resume(self, cursor: int) -> None:
        """Go on behind those."""
        self._next = cursor

    def _task(self, number: int) -> ChaosTask:
        deed: Deed = self._plan.deed(number)
        made = ExclusiveChaosTask if deed.exclusive else ChaosTask
        return made(number, deed.kind, deed.duration_ms)


class FollowingGenerator(ChaosGenerator):
    """Makes another task of every tenth result, and notes what was delivered."""

    def on_result(self, result: TaskResult) -> BaseTask | None:
        number = result.args[0]
        history.append(history.DELIVERIES, "D", number, result.state, os.getpid())
        follow_up = self._plan.follow_up(number)
        return None if follow_up is None else self._task(follow_up)
