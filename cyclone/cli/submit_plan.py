"""What ``cyclone submit`` is going to submit: the job's options, and its tasks as they are asked for.

Owns how command line, directives and job file become a ``JobSpec`` and packed tasks, for each of the three things that
tasks can be: a command, a script, a class. Sends nothing. ConfigError and UsageError name the option.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from cyclone.cli import arrays, output, submit_values
from cyclone.cli.submit_options import Given
from cyclone.cli.submit_spec import make_spec
from cyclone.errors import ConfigError, NotSerialisable, UsageError
from cyclone.programs.interpreter import interpreter
from cyclone.protocol import limits
from cyclone.protocol.job_spec import JobSpec
from cyclone.values import decode, encode, encode_properties, pack

COMMAND_CLASS = "tasks.job_command:JobCommand"
SCRIPT_CLASS = "tasks.script:ScriptTask"

PYTHON_SUFFIX = ".py"
"""What a script is called that needs no first line: the worker's Python runs it."""

# The constructor's names behind those that a job shares.
_COMMAND_SHARED = ("command", "stdin", "output_bytes_max", "grace")
_SCRIPT_SHARED = ("name", "source", "stdin", "output_bytes_max", "grace", "arguments")
_GRACE_S = 5.0
OUTPUT_BYTES = 64 * 1024
_ENTRY = "{}"
# That of the only list by its number.
_ONLY_LIST = re.compile(r"(?<!\$)\{1\}")
# What the task itself would fill in: in the words of a list it stands for itself.
_PLACEHOLDER = re.compile(r"(?<!\$)\{(?:index|job_id|task_id|attempt|task_dir)?\}")


class Plan(NamedTuple):
    """A job that can be submitted. ``tasks`` begins to pack them; from a pipe it can do so once. None among them: those
    before it have waited long enough for others.

    ``total`` is how many they are, None where only reading tells. ``common`` are the properties that all tasks share,
    by name, ``names`` are those that each has of its own.
    """

    spec: JobSpec
    tasks: Callable[[], Iterator[bytes | None]]
    total: int | None
    common: Given
    names: tuple[str, ...]
    key: str | None

    def described(self, packed: bytes) -> dict[str, Any]:
        """A task's own properties by name."""
        # The last ones may be left out.
        return dict(zip(self.names, decode(packed), strict=False))


class _Tasks(NamedTuple):
    """How tasks are made: properties that they share, and those that each has of its own.

    ``pack`` gets an entry and its place in the array, from 0 on; None and None where there is no array.
    """

    task_class: str
    shared: bytes
    shared_names: tuple[str, ...]
    names: tuple[str, ...]
    pack: Callable[[Any, int | None], bytes]
    options: Given


def make_plan(given: Given, output_bytes: int = OUTPUT_BYTES, as_json: bool = False) -> Plan:
    """From all that was asked for. Raises UsageError, ConfigError, PluginError."""
    entries = _entries(given)
    tasks = _tasks_of(given, entries, output_bytes)
    options = {
        "name": _usual_name(given),
        **tasks.options,
        **given,
        "task_class": tasks.task_class,
        "shared": tasks.shared,
    }
    if given.get("env_all"):
        options["environment"] = {**_whole_environment(as_json), **given.get("environment", {})}
    folder = options["directory"] = str(Path.cwd() / given.get("directory", ""))
    if not (submit_values.is_unicode(folder) or "directory" in given):
        raise UsageError(f"this folder, {folder!r}, has a name that is not UTF-8 text: give another by --cwd")
    if entries is not None and entries.parallel and "parallel" not in given:
        options["parallel"] = entries.parallel
    try:
        spec = make_spec(options, lambda option: option.flags)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not spec.retries and ("retry_on" in given or "retry_delay_s" in given):
        output.note("nothing is tried again without --retries: --retry-on and --backoff say how", as_json)
    return Plan(
        spec,
        lambda: _packed(entries, tasks.pack),
        entries.total if entries else 1,
        dict(zip(tasks.shared_names, decode(tasks.shared), strict=True)) if tasks.shared else {},
        tasks.names,
        given.get("key"),
    )


def _usual_name(given: Given) -> str:
    """What lists call a job that has no name: its class, script or program."""
    command = given.get("command", "")
    words = command.split() if isinstance(command, str) else command
    called = given.get("task_class", "").rpartition(":")[2] or given.get("script") or next(iter(words), "")
    name = Path(called).name
    return name if len(name) <= limits.NAME_CHARS_MAX and name.isprintable() else ""


def _tasks_of(given: Given, entries: arrays.Entries | None, output_bytes: int) -> _Tasks:
    if "task_class" in given:
        for field in ("stdin", "arguments"):
            if given.get(field) is not None:
                raise UsageError(f"{field} is for commands, and --class makes none: give it as a property, with -p")
        from cyclone.cli.submit_class import class_tasks

        made = class_tasks(given["task_class"], given.get("properties", {}), entries)

        def pack_own(entry: Any, _: int | None) -> bytes:
            return made.pack(entry)

        return _Tasks(given["task_class"], made.shared, made.shared_names, made.names, pack_own, made.options)
    if "properties" in given:
        raise UsageError("-p/--property belongs to --class MODULE:CLASS")
    if "script" in given:
        name, source = Path(given["script"]).name, _script(given["script"])
        around = [_stdin(given), output_bytes, _GRACE_S]
        shared = [name, source, *around, list(given.get("arguments", ()))]
        return _programs(SCRIPT_CLASS, _SCRIPT_SHARED, shared, entries)
    if "command" not in given:
        raise UsageError("submit what? Give -- COMMAND, a script, --class MODULE:CLASS or --file JOB.toml")
    command = given["command"]
    if not command or not command[0]:
        raise UsageError("the command is empty: write a program, as in -- echo hello")
    return _programs(COMMAND_CLASS, _COMMAND_SHARED, [command, _stdin(given), output_bytes, _GRACE_S], entries)


def _programs(task_class: str, names: tuple[str, ...], shared: list[Any], entries: arrays.Entries | None) -> _Tasks:
    """Tasks whose last properties are entry and index. Several lists of words are put into the arguments here."""
    at = next(number for number, name in enumerate(names) if name in ("command", "arguments"))
    words = shared[at]
    if entries is not None and entries.lists > 1 and isinstance(words, str):
        raise UsageError(f"a text for the shell takes one list of words: write -- COMMAND {{1}} {{2}} {entries.origin}")
    if entries is not None and entries.lists == 1:
        is_text = isinstance(words, str)
        words = _ONLY_LIST.sub(_ENTRY, words) if is_text else [_ONLY_LIST.sub(_ENTRY, word) for word in words]
        shared[at] = words
    if entries is not None and entries.lists and isinstance(words, list):
        if not any(arrays.NUMBERED.search(word) for word in words):
            words = [*words, *([_ENTRY] if entries.lists == 1 else [f"{{{n}}}" for n in range(1, entries.lists + 1)])]
            shared[at] = words
        if entries.lists > 1:
            return _with_filled_words(task_class, names, shared, at)
    return _Tasks(task_class, _encoded(names, shared), names, ("entry", "index"), _pack_entry, {})


def _with_filled_words(task_class: str, names: tuple[str, ...], shared: list[Any], at: int) -> _Tasks:
    """Of what tasks have in common, all before the words is shared."""
    own = (*names[at:], "entry", "index")

    def pack_filled(entry: list[str], index: int | None) -> bytes:
        words = [_fill(word, entry) for word in shared[at]]
        return encode_properties(own, (words, *shared[at + 1 :], entry, index))

    return _Tasks(task_class, _encoded(names[:at], shared[:at]) if at else b"", names[:at], own, pack_filled, {})


def _fill(word: str, entry: list[str]) -> str:
    """``{1}`` is the first list's, ``{}`` all with blanks between them, as GNU parallel has it."""

    def value(found: re.Match[str]) -> str:
        number = int(found[1] or 0)
        if number > len(entry):
            return found[0]
        text = entry[number - 1] if number else " ".join(entry)
        return _PLACEHOLDER.sub(lambda inner: f"{{{inner[0]}}}", text)

    return arrays.NUMBERED.sub(value, word)


def _pack_entry(entry: Any, index: int | None) -> bytes:
    if entry is None and index is not None:
        # What is none would leave the braces of a command as they are.
        entry = "null"
    # A whole number is its own index.
    place = () if index is None or type(entry) is int else (index,)
    # An array of a million comes this way: what has a plain form is packed in one call.
    if type(entry) in (int, str):
        try:
            return pack((entry, *place))
        except (OverflowError, ValueError):
            pass  # text that is not valid Unicode, or too large a number: encode knows, or says so
    return pack((msgspec.Raw(encode(entry)), *place))


def _packed(entries: arrays.Entries | None, pack_one: Callable[[Any, int | None], bytes]) -> Iterator[bytes | None]:
    if entries is None:
        yield pack_one(None, None)
        return
    index = -1
    for entry in entries.open():
        if type(entry) is arrays.Pause:
            yield None
            continue
        index += 1
        try:
            packed = pack_one(entry, index)
        except NotSerialisable as error:
            raise ConfigError(f"{entries.origin}: entry {index + 1} {error}") from None
        except ConfigError as error:
            raise ConfigError(f"{entries.origin}: entry {index + 1}: {error}") from None
        yield packed


def _entries(given: Given) -> arrays.Entries | None:
    readers: dict[str, Callable[[Any], arrays.Entries]] = {
        "array": arrays.numbers,
        "each_line": arrays.lines,
        "from0": arrays.nul_separated,
        "from_json": arrays.json_values,
        "words": arrays.words,
        "values": lambda values: arrays.given(values, "values"),
    }
    chosen = [name for name in readers if name in given]
    if len(chosen) > 1:
        both = " and ".join(arrays.WORDS if name == "words" else f"--{name.replace('_', '-')}" for name in chosen)
        raise UsageError(f"{both}: a task for each of what? Give one of them")
    if not chosen:
        return None
    try:
        return readers[chosen[0]](given[chosen[0]])
    except ValueError as error:
        raise UsageError(str(error)) from None


def _script(path: str) -> bytes:
    """A script's text, where a node will know what runs it."""
    source = _read_file(path, "the script", f", and submit -- {path}")
    try:
        if not interpreter(source) and Path(path).suffix != PYTHON_SUFFIX:
            raise ConfigError(f"{path} has no first line such as #!/bin/bash, which says what runs it")
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    if Path(path).suffix == PYTHON_SUFFIX and (at := source.find(b"\0")) >= 0:
        raise ConfigError(f"{path} is no Python script: byte {at:,} of it is NUL")
    return source


def _stdin(given: Given) -> bytes | None:
    if "stdin" not in given:
        return None
    path = given["stdin"]
    if path == arrays.STDIN and path in (given.get(name) for name in ("each_line", "from0", "from_json")):
        raise UsageError("standard input cannot be both the tasks' (--stdin -) and the array's")
    return _read_file(path, "--stdin")


def _read_file(path: str, what: str, and_then: str = "") -> bytes:
    """All of a file, which must fit a job; else the error says where it belongs, and what then."""
    most = limits.VALUE_BYTES_MAX
    try:
        with arrays.opened(path) as file:
            data = file.read(most + 1)
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read: {error.strerror}") from None
    if len(data) > most:
        raise ConfigError(f"{what} {path} has more than {most:,} bytes: put it where the nodes can read it{and_then}")
    return data


def _encoded(names: tuple[str, ...], values: list[Any]) -> bytes:
    try:
        return encode_properties(names, tuple(values))
    except NotSerialisable as error:
        raise ConfigError(str(error)) from None


def _whole_environment(as_json: bool) -> dict[str, str]:
    found, long = submit_values.all_variables(os.environ)
    if long:
        output.note(f"--env-all: left out, too long for a job or not UTF-8: {', '.join(long)}", as_json)
    return found
