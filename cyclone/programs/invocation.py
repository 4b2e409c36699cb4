"""What a program learns of the task that it is run for: environment variables, and placeholders in its command.

Owns their names. In an argument a placeholder becomes the value as it is. In a string for the shell it becomes a
variable that the shell expands: the value is one word there, and is never read as a part of the script.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from cyclone import BaseTask, json_values
from cyclone.guardian import MARK, WORKER_MARK

_ENTRY = "CYCLONE_ENTRY"
_INDEX = "CYCLONE_ARRAY_INDEX"
_VARIABLES = {
    "": _ENTRY,
    "index": _INDEX,
    "job_id": "CYCLONE_JOB_ID",
    "task_id": "CYCLONE_TASK_ID",
    "attempt": "CYCLONE_ATTEMPT",
    "task_dir": "CYCLONE_TASK_DIR",
    "bundle": "CYCLONE_BUNDLE",
}
_OF_A_TASK = frozenset(_VARIABLES.values())
_NAME = "|".join(_VARIABLES)
# Half of what the kernel takes for one (execve(2), MAX_ARG_STRLEN), of which an argument may hold more than an entry.
_VARIABLE_BYTES_MAX = 64 * 1024
_BEFORE_A_COMMENT = " \t\n;&|()"
# Behind a dollar it is the shell's own. In two pairs of braces it stands for itself, with one pair.
_PLACEHOLDER = re.compile(rf"(?<!\$)(?:\{{(?P<literal>\{{(?:{_NAME})\}})\}}|\{{(?P<name>{_NAME})\}})")


def variables(entry: Any = None, index: int | None = None) -> dict[str, str]:
    """What the current task is, for a program's environment. An entry that is a whole number is its own index."""
    current = BaseTask.current
    told = current.variables() | {"CYCLONE_TASK_DIR": str(current.scratch_dir())}
    if index is None and type(entry) is int:
        index = entry
    if index is not None:
        told[_INDEX] = str(index)
    if entry is not None:
        told[_ENTRY] = entry_text(entry)
    return told


def environment(told: Mapping[str, str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The complete environment of a program: the worker's with the job's in it, what is ``given``, and what is told.

    An entry that no variable can take is left out.
    """
    # A controller may have been started by a task of another Cyclone, whose entry is not ours.
    kept = {name: value for name, value in os.environ.items() if name not in _OF_A_TASK}
    if given:
        # By these what a worker leaves behind is found: it must not pass for another's.
        kept |= {name: value for name, value in given.items() if name not in (MARK, WORKER_MARK)}
    return {**kept, **{name: value for name, value in told.items() if name != _ENTRY or not _unfit(value)}}


def entry_text(entry: Any) -> str:
    """An entry as text: text as it is, bytes as a file name would be, all else as JSON."""
    if isinstance(entry, str):
        return entry
    return os.fsdecode(entry) if isinstance(entry, bytes) else json_values.encode_value(entry).decode()


def entry_bytes(entry: Any) -> bytes:
    """An entry as the content of a file: nothing for None, bytes and text as they are, all else as JSON."""
    if entry is None:
        return b""
    return entry if isinstance(entry, bytes) else os.fsencode(entry_text(entry))


def filled(command: str | list[str], told: Mapping[str, str]) -> str | list[str]:
    """The command with its placeholders filled in from ``variables``; one without a value stays as it is.

    ``{}`` is the entry; the others are ``{index}``, ``{job_id}``, ``{task_id}``, ``{attempt}``, ``{task_dir}`` and, for
    a task that has one, ``{bundle}``. ``{{}}`` stands for ``{}`` itself. ValueError for ``{}`` where no argument can
    take the entry.
    """
    if isinstance(command, str):
        return _filled_script(command, told)

    def value(found: re.Match[str]) -> str:
        if found["literal"] or _VARIABLES[found["name"]] not in told:
            return found["literal"] or found[0]
        return _fitting(told, _VARIABLES[found["name"]])

    return [_PLACEHOLDER.sub(value, argument) for argument in command]


def _fitting(told: Mapping[str, str], variable: str) -> str:
    """The value of a placeholder."""
    if variable == _ENTRY and (why := _unfit(told[variable])):
        raise ValueError(f"its entry {why}, and {{}} is in its command: put that in a file, and the path in the entry")
    return told[variable]


def _unfit(entry: str) -> str:
    """Why neither an argument nor a variable can be this; '' where they can."""
    if "\0" in entry:
        return "has a NUL byte"
    size = len(os.fsencode(entry))
    return f"takes {size:,} bytes of at most {_VARIABLE_BYTES_MAX:,}" if size > _VARIABLE_BYTES_MAX else ""


def _filled_script(script: str, told: Mapping[str, str]) -> str:
    """Within quotes the expansion has to stand so that the shell still makes one word of it."""
    forms = {"": '"${%s}"', '"': "${%s}", "'": "'\"${%s}\"'"}
    parts, shell, at = [], _Shell(), 0
    while at < len(script):
        found = _PLACEHOLDER.match(script, at)
        if found is not None:
            variable = "" if found["literal"] else _VARIABLES[found["name"]]
            if variable in told:
                _fitting(told, variable)
            parts.append(forms[shell.quote] % variable if variable in told else found["literal"] or found[0])
            at = found.end()
            continue
        end = shell.read(script, at)
        parts.append(script[at:end])
        at = end
    return "".join(parts)


class _Shell:
    """Reads a script as a shell does, to know in which quotes it is: '' for none.

    Where it errs, as in a here-document with a single quote, a value may become several words, but never code.
    """

    def __init__(self) -> None:
        self.quote = ""
        # What ends each command in the command that we are in, and the quotes that it stands in.
        self._outer: list[tuple[str, str]] = []

    def read(self, script: str, at: int) -> int:
        """Go on from there by what belongs together; where it ends."""
        character = script[at]
        if self.quote == "'":
            self.quote = "" if character == "'" else "'"
        elif character == "\\":
            return at + 2
        elif character == '"':
            self.quote = "" if self.quote else '"'
        elif script.startswith("$(", at):
            self._enter(")")
            return at + 2
        elif character == "`":
            if not self._leave("`"):
                self._enter("`")
        elif not self.quote:
            return self._read_unquoted(script, at)
        return at + 1

    def _read_unquoted(self, script: str, at: int) -> int:
        character = script[at]
        if character == "'":
            self.quote = "'"
        elif character == "(":
            self._enter(")")
        elif character == ")":
            self._leave(")")
        elif character == "#" and (at == 0 or script[at - 1] in _BEFORE_A_COMMENT):
            end = script.find("\n", at)
            return len(script) if end < 0 else end
        return at + 1

    def _enter(self, end: str) -> None:
        self._outer.append((end, self.quote))
        self.quote = ""

    def _leave(self, end: str) -> bool:
        if not self._outer or self._outer[-1][0] != end:
            return False
        self.quote = self._outer.pop()[1]
        return True
