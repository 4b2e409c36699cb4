"""CommandTask: any executable as a task of a generator, with all that it needs in the task itself.

Of a job whose tasks are one command, ``tasks.job_command`` sends the command once.
"""

from typing import Any

from cyclone import BaseTask
from cyclone.programs.command import GRACE_S, OUTPUT_BYTES, Command, check_command
from cyclone.programs.invocation import environment, variables


class CommandTask(BaseTask):
    """Runs a command and returns its exit code and output.

    ``command`` is an argument list, or a string for the shell. ``stdin`` is text or bytes for its standard input, which
    is empty otherwise. ``time_limit`` and ``grace`` are seconds: after the first, the command and all of its process
    group get SIGTERM, after the second SIGKILL. ``environment`` is put over the worker's, and over both
    CYCLONE_TASK_ID, CYCLONE_ATTEMPT, CYCLONE_TASK_DIR (a folder that is removed after the task) and the others that
    ``tasks.job_command`` names. Of standard output
    and standard error the first ``output_bytes_max`` bytes each are kept.

    The value is ``{"exit_code", "stdout", "stderr", "stdout_bytes", "stderr_bytes", "stdout_truncated",
    "stderr_truncated"}``: text (bytes that are not UTF-8 as Python's surrogate escapes), how many bytes there were in
    all, and whether some were left out. With ``check``, any exit code but 0 is a failure; without, that of a signal is
    its negative number. Raises CommandFailed and those derived from it (``cyclone.programs.command``); ValueError for
    impossible properties.
    """

    def __init__(
        self,
        command: str | list[str],
        stdin: str | bytes | None = None,
        time_limit: float | None = None,
        cwd: str | None = None,
        environment: dict[str, str] | None = None,
        output_bytes_max: int = OUTPUT_BYTES,
        check: bool = True,
        grace: float = GRACE_S,
    ) -> None:
        check_command(command, output_bytes_max)
        self.command = command
        self.stdin = stdin
        self.time_limit = time_limit
        self.cwd = cwd
        self.environment = environment
        self.output_bytes_max = output_bytes_max
        self.check = check
        self.grace = grace

    def execute(self) -> dict[str, Any]:
        ended = Command(
            self.command,
            environment(variables(), self.environment),
            self.cwd,
            self.stdin,
            self.output_bytes_max,
            self.grace,
            self.time_limit,
        ).run()
        if self.check:
            ended.check()
        return ended.value()
