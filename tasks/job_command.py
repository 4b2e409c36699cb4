"""JobCommand: any executable, run for each entry of a job.

The job has the command, its environment and its folder once; a task has no more than its entry.
"""

from typing import Any

from cyclone import BaseTask
from cyclone.programs.command import GRACE_S, OUTPUT_BYTES, Command, check_command
from cyclone.programs.invocation import environment, filled, variables


class JobCommand(BaseTask):
    """Runs a command for an entry, and returns its exit code and output.

    ``command`` is an argument list, or a string for the shell. ``{}`` in it is the ``entry``: a number, text, any value
    as JSON, or None for a command that is run once, whose ``{}`` are left alone. ``{index}`` (the ``index``, or an
    entry that is a whole number), ``{job_id}``, ``{task_id}``, ``{attempt}`` and ``{task_dir}`` are filled in, too;
    ``{{}}`` stands for ``{}``. A string for the shell gets each value as one word, whatever it holds, and must not
    quote it once more.

    The command finds CYCLONE_ENTRY, CYCLONE_ARRAY_INDEX, CYCLONE_JOB_ID, CYCLONE_JOB_NAME, CYCLONE_NAMESPACE,
    CYCLONE_TASK_ID, CYCLONE_ATTEMPT, CYCLONE_TASK_DIR (a folder that is removed after the task), CYCLONE_NODE,
    CYCLONE_SLOT and CYCLONE_CPUS in its environment. ``stdin`` is text or bytes for its standard input, which is empty
    otherwise. Of each output the first ``output_bytes_max`` bytes are kept. When the task is to end, the command and
    all of its process group get SIGTERM, and after ``grace`` seconds SIGKILL.

    The value is that of ``tasks.command.CommandTask``. Any exit code but 0 is a failure: CommandFailed; CommandNotFound
    (127) and CommandNotExecutable (126) are told apart. ValueError for impossible properties.
    """

    def __init__(
        self,
        command: str | list[str],
        stdin: str | bytes | None = None,
        output_bytes_max: int = OUTPUT_BYTES,
        grace: float = GRACE_S,
        entry: Any = None,
        index: int | None = None,
    ) -> None:
        check_command(command, output_bytes_max)
        self.command = command
        self.stdin = stdin
        self.output_bytes_max = output_bytes_max
        self.grace = grace
        self.entry = entry
        self.index = index

    def execute(self) -> dict[str, Any]:
        told = variables(self.entry, self.index)
        ended = Command(
            filled(self.command, told),
            environment(told),
            stdin=self.stdin,
            output_bytes_max=self.output_bytes_max,
            grace_s=self.grace,
        ).run()
        ended.check()
        return ended.value()
