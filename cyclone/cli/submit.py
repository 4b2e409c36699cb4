"""``cyclone submit``: from a command line to a job of a running master.

Owns how command line, job file and directives come together, and what is printed. What a job is made of is
``submit_plan``'s, how it is sent ``submit_send``'s, what comes after it ``submit_wait``'s.
"""

import argparse
import os
import shutil
import stat
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclone.cli import arrays, columns, common, connecting, interrupts, output, submit_options, submit_send
from cyclone.cli.submit_options import Given
from cyclone.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from cyclone.cli.submit_plan import Plan
    from cyclone.client.client import Client

SCHEMA = "cyclone.submit/1"
_DRY_RUN_SCHEMA = "cyclone.submit-dry-run/1"
_SHOWN_TASKS = 3
_SHOWN_CHARS = 400
# All that a script says of itself stands at its beginning.
_HEAD_BYTES = 256 * 1024
_SIGN = b"#!"
_SHELL_SUFFIX = ".sh"
_NAMESPACE = "CYCLONE_NAMESPACE"


def submit(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    from cyclone.cli.submit_plan import make_plan

    if args.follow and (args.json or args.parsable or args.progress):
        raise UsageError("--follow prints what the tasks print: leave out --json, --parsable and --progress")
    plan = make_plan(asked_for(args), as_json=args.json)
    if args.dry_run:
        return dry_run(plan, args.json)
    waits = args.wait or args.progress or args.follow
    with interrupts.raised(), connecting.client(args, is_patient=waits) as client:
        job_id, count = submit_send.send(client, plan, args.json)
        if not waits:
            _say(args, job_id, count)
            return common.EXIT_OK
        return _wait(client, args, job_id, count)


def _wait(client: "Client", args: argparse.Namespace, job_id: int, count: int) -> int:
    """Wait for its end; the number is told before, to scripts also."""
    from cyclone.cli import submit_wait

    if args.follow:
        output.note(_submitted(job_id, count))
    elif not args.json:
        _say(args, job_id, count)
    try:
        job = submit_wait.wait(client, job_id, args.follow, args.progress, args.json)
    except (KeyboardInterrupt, BrokenPipeError, output.OutputLost):
        output.note(f"job {job_id} goes on: cyclone wait {job_id}, or cyclone cancel {job_id}", args.json)
        raise
    if args.json:
        output.print_json(SCHEMA, {"job": job_id, "tasks": count, "state": job.state, "ended": job.tasks})
    output.note(columns.summary_text(job), args.json)
    return submit_wait.exit_code(job)


def asked_for(args: argparse.Namespace) -> Given:
    """All that a command line asks for, with what its job file and its script say under it. Raises ConfigError."""
    as_json = getattr(args, "json", False)
    found = submit_options.given(args)
    words, lists = arrays.split_words(args.words)
    if lists:
        found["words"] = lists
    is_command = words[:1] == ["--"]
    if is_command:
        words = words[1:]
    ways = [bool(words), "task_class" in found, args.wrap is not None]
    if sum(ways) > 1:
        raise UsageError("submit what? A command behind --, a script, --wrap or --class: give one of them")
    if args.wrap is not None:
        found["command"] = args.wrap
    elif is_command and words:
        found["command"] = words
    elif words:
        found |= _script_or_command(words, as_json)
    if args.job_file is not None:
        from cyclone.cli.job_file import read_job_file

        found = submit_options.merge(read_job_file(args.job_file), found)
    found = _with_directives(found, as_json)
    if "namespace" not in found and (namespace := _usual_namespace(args)):
        found["namespace"] = namespace
    return found


def _script_or_command(words: Sequence[str], as_json: bool) -> Given:
    """A script that is here travels with the job; anything else is a command, which the nodes find by its name."""
    from cyclone.cli.submit_plan import PYTHON_SUFFIX

    path = Path(words[0])
    mode = _mode(path)
    # A program that nodes find may be called as a folder is here.
    if stat.S_ISDIR(mode) and ("/" in words[0] or not shutil.which(words[0])):
        raise ConfigError(f"{words[0]} is a folder: name a script in it; a program of the nodes stands behind --")
    head = _head(path)
    # What is called a script of the shell and is none is told so, rather than looked for on the nodes.
    if path.suffix == PYTHON_SUFFIX or (head and (head.startswith(_SIGN) or path.suffix == _SHELL_SUFFIX)):
        return {"script": words[0], "arguments": list(words[1:])}
    # As with a folder, a program of that name is meant where there is one.
    if head == b"" and (path.suffix == _SHELL_SUFFIX or "/" in words[0] or not shutil.which(words[0])):
        right = "a script begins with a line such as #!/bin/bash; a program of the nodes stands behind --"
        raise ConfigError(f"{words[0]} is an empty file, and there is nothing to run in it: {right}")
    if path.suffix[1:].isalpha() and not mode and not shutil.which(words[0]):
        output.note(f"there is no file {words[0]} here: taken for a command, which the nodes have to find", as_json)
    return {"command": list(words)}


def _mode(path: Path) -> int:
    """Of what is there; 0 where nothing is, or none that we may look at: the nodes may."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _head(path: Path) -> bytes | None:
    """The beginning of a file; None where none can be read here, as for a command that nodes find by its name."""
    try:
        if path.is_file():
            with path.open("rb") as file:
                return file.read(_HEAD_BYTES)
    except OSError:
        return None
    return None


def _with_directives(found: Given, as_json: bool) -> Given:
    """What a script says of itself counts where nobody says otherwise."""
    command = found.get("command")
    path = found.get("script") or (command[0] if isinstance(command, list) and command else "")
    head = (_head(Path(path)) if path else None) or b""
    if not ("script" in found or head.startswith(_SIGN)):
        return found
    from cyclone.cli.directives import directives, unread

    source = head.decode("utf-8", "surrogateescape")
    asked = submit_options.merge(directives(source, path), found)
    for told in unread(source, path, asked):
        output.note(told, as_json)
    return asked


def _usual_namespace(args: argparse.Namespace) -> str:
    """That of ``$CYCLONE_NAMESPACE``, else of the profile, where that is what names the master."""
    from cyclone.client.connection import ENVIRONMENT
    from cyclone.client.profiles import find_profile

    if namespace := os.environ.get(_NAMESPACE):
        return namespace
    profile, named = find_profile(args.profile)
    elsewhere = args.connect or args.config_file or os.environ.get(ENVIRONMENT)
    return profile.namespace if named or not elsewhere else ""


def _say(args: argparse.Namespace, job_id: int, count: int) -> None:
    """What was submitted, as the command line wishes."""
    if args.json:
        output.print_json(SCHEMA, {"job": job_id, "tasks": count})
    else:
        output.write(str(job_id) if args.parsable else _submitted(job_id, count))
    sys.stdout.flush()


def _submitted(job_id: int, count: int) -> str:
    return f"job {job_id}: {columns.counted(count, 'task')}"


def dry_run(plan: "Plan", as_json: bool) -> int:
    """Print what would be submitted: how many, the first of them, all options."""
    tasks = (packed for packed in plan.tasks() if packed is not None)
    first = [plan.described(packed) for packed in islice(tasks, _SHOWN_TASKS)]
    # Also where the number is known: an entry that no task can take is told here, and not when half of them are sent.
    count = len(first) + sum(1 for _ in tasks)
    options = _options(plan)
    if as_json:
        from cyclone import json_values

        fields = {"tasks": count, "first": first, "shared": plan.common, "options": options}
        output.write(json_values.encode_value({"schema": _DRY_RUN_SCHEMA, **fields}).decode(), is_json=True)
        return common.EXIT_OK
    said = [*plan.common.items(), *options.items()]
    output.print_pairs([("tasks", f"{count:,}"), *((name, _shown(value)) for name, value in said if value is not None)])
    for number, task in enumerate(first):
        # Outside of an array the entry is none.
        if own := ", ".join(f"{name} = {_shown(value)}" for name, value in task.items() if value is not None):
            output.write(f"task {number}: {own}")
    if count > len(first):
        output.write(f"and {count - len(first):,} more")
    return common.EXIT_OK


def _options(plan: "Plan") -> Given:
    """The job's options that are not the default."""
    import msgspec

    fields: Given = msgspec.to_builtins(msgspec.structs.replace(plan.spec, shared=b""))
    for name in ("not_before", "not_after"):
        if name in fields:
            fields[name] = columns.moment_json(fields[name])
    return fields


def _shown(value: Any) -> str:
    from cyclone import json_values

    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    text = value if isinstance(value, str) else json_values.encode_value(value).decode("utf-8", "backslashreplace")
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
