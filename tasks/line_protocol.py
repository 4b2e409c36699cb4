"""LineTask: a task of a program in any language, which goes on running and answers a line of JSON with another.

docs/line-protocol.md is the contract for those who write such programs.
"""

import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import msgspec

from cyclone import BaseTask, json_values
from cyclone.errors import CycloneError
from cyclone.programs.command import check_command
from cyclone.programs.conversation import Program
from cyclone.programs.invocation import environment
from cyclone.programs.running import AnswerMalformed

_SHOWN_BYTES = 200
_HALF_PAIR = re.compile(rb"\\u[dD][89abAB]")
# Of the task that it happens to be started in: it will be asked for others.
_OF_ONE_TASK = frozenset({"CYCLONE_TASK_ID", "CYCLONE_ATTEMPT"})
# A job has one program; only tasks of a generator may differ in it.
_PROGRAMS_MAX = 4


class LineTaskFailed(CycloneError):
    """The program has answered ``{"error": text}``."""


class NoSuchTask(LineTaskFailed):
    """It has answered ``no_such_task``: it has none of this name."""


class InvalidParamCount(LineTaskFailed):
    """It has answered ``invalid_param_count``: too many arguments, or too few."""


class InvalidDataFormat(LineTaskFailed):
    """It has answered ``invalid_data_format``: the arguments are not what it expects."""


_FAILURES = {
    "no_such_task": NoSuchTask,
    "invalid_param_count": InvalidParamCount,
    "invalid_data_format": InvalidDataFormat,
}


class LineTask(BaseTask):
    """Asks a program for ``name`` with these ``arguments``, and returns what it answers.

    ``program`` is an argument list, or a string for the shell. Each worker has one process of it for a job, which it
    asks for one task after the other, and which is started again when it has died. With ``socket`` it talks by the Unix
    socket that $CYCLONE_SOCKET names, else by its standard input and output. With ``details`` the request has a third
    part, an object that says which task it is.

    The value is whatever JSON it answers. Raises LineTaskFailed, or what is derived from it, for an answer
    ``{"error": text}``; ProgramDied, AnswerMalformed (``cyclone.programs.running``) where it does not answer;
    CommandFailed where it cannot be started, as a set-up failure. ValueError for impossible properties.
    """

    def __init__(
        self,
        program: str | list[str],
        socket: bool = False,
        details: bool = False,
        name: str = "",
        arguments: list[Any] | None = None,
    ) -> None:
        check_command(program)
        if not name:
            raise ValueError("the name is empty: which task is the program to do?")
        self.program = program
        self.socket = socket
        self.details = details
        self.name = name
        self.arguments = arguments
        self._programs: _Programs | None = None

    @classmethod
    def prepared(cls, shared: tuple[Any, ...]) -> "_Programs":
        return _Programs(cls, shared)

    def setup(self) -> None:
        """Have the program run."""
        self._programs = self._programs or _Programs(type(self), ())
        told = {name: text for name, text in BaseTask.current.variables().items() if name not in _OF_ONE_TASK}
        self._programs.find(self.program, self.socket).begin(environment(told))

    def execute(self) -> Any:
        assert self._programs is not None, "setup() is owed"
        program = self._programs.find(self.program, self.socket)
        line = program.ask(json_values.encode_value(self._request()))
        try:
            answer = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            # Perhaps it is not even the answer to this line: from here on nobody could tell.
            program.close()
            raise AnswerMalformed(f"{program.name} answered {_why_no_json(line, str(error))}") from None
        said = answer.get("error") if isinstance(answer, dict) else None
        if isinstance(said, str):
            raise _FAILURES.get(said, LineTaskFailed)(f"{program.name} answered {said!r} to {self.name!r}")
        return answer

    def _request(self) -> list[Any]:
        request: list[Any] = [self.name, list(self.arguments or [])]
        if self.details:
            current = BaseTask.current
            about = {"task_id": current.task_id, "attempt": current.attempt, "job_id": current.job_id}
            request.append(about | {"job_name": current.job_name, "time_left": current.time_left_s()})
        return request


class _Programs:
    """Makes the tasks of one job in one worker, and keeps their programs."""

    def __init__(self, task_class: type[LineTask], shared: tuple[Any, ...]) -> None:
        self._task_class = task_class
        self._shared = shared
        self._programs: OrderedDict[tuple[str | tuple[str, ...], bool], Program] = OrderedDict()

    def __call__(self, *own: Any) -> LineTask:
        task = self._task_class(*self._shared, *own)
        task._programs = self
        return task

    def find(self, command: str | list[str], over_socket: bool) -> Program:
        """The one for this command. Of many the one that was asked longest ago is ended."""
        key = (command if isinstance(command, str) else tuple(command), over_socket)
        program = self._programs.get(key)
        if program is None:
            if len(self._programs) == _PROGRAMS_MAX:
                self._programs.popitem(last=False)[1].close()
            name = Path((command.split() if isinstance(command, str) else command)[0]).name

            def say(line: str) -> None:
                BaseTask.log.info("%s: %s", name, line)

            program = self._programs[key] = Program(command, over_socket, say)
        self._programs.move_to_end(key)
        return program

    def close(self) -> None:
        """End them all, as it happens by itself when nobody asks them for a while, and when the worker ends."""
        for program in self._programs.values():
            program.close()


def _why_no_json(line: bytes, reason: str) -> str:
    if not line.strip():
        return "an empty line"
    shown = line[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    if _HALF_PAIR.search(line) and "truncated" in reason:
        # msgspec takes what follows the first half for missing.
        reason = "it has half of a surrogate pair"
    return f"{shown!r}, which is no JSON: {reason}"
