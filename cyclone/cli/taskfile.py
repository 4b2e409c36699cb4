"""``cyclone taskfile``: check task files before a generator reads them."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cyclone.cli import common, output, parsing
from cyclone.errors import ConfigError

if TYPE_CHECKING:
    from cyclone.taskfile import TaskTemplate

_EXAMPLES = (("cyclone taskfile check lustre_tasks.xml", "whether each task can be made, as its generator would"),)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The verb and its action."""
    parser = verbs.add_parser("taskfile", help="check task files", description="Check the XML files of tasks.")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="compare each task with its class",
        description="Read task files, import the class of each task, and compare its properties with the constructor: "
        "names, order and types. Modules are looked for as the generator does: in the file's folder, here, and in "
        "PYTHONPATH.",
        epilog="Exit codes: 0 every task can be made, 1 one cannot, 78 a file is no task file.",
    )
    check.add_argument("files", metavar="FILE", type=Path, nargs="+", help="a task file")
    check.add_argument("--json", action="store_true", help="print a JSON object for each task")
    parsing.add_examples(check, *_EXAMPLES)


def taskfile(args: argparse.Namespace) -> int:
    """Run the action."""
    return max(_check_file(path, args.json) for path in args.files)


def _check_file(path: Path, as_json: bool) -> int:
    from cyclone.plugins import add_search_path
    from cyclone.taskfile import read_task_file

    try:
        templates = read_task_file(path)
    except ConfigError as error:
        print(f"cyclone: {error}", file=sys.stderr)
        return common.EXIT_CONFIG
    add_search_path(str(path.resolve().parent), str(Path.cwd()))
    faults = [_check_task(path, template, as_json) for template in templates.values()]
    return common.EXIT_FAILED if any(faults) else common.EXIT_OK


def _check_task(path: Path, template: "TaskTemplate", as_json: bool) -> str:
    """Print what a task is, with the fault that is returned."""
    fault = ""
    types: dict[str, str] = {}
    left_out: list[str] = []
    warnings: list[str] = []
    try:
        template.task_class()
        types = {name: type(value).__name__ for name, value in template.given.items()}
        left_out, warnings = list(template.left_out), list(template.warnings)
        if not left_out:
            template.try_out()
    except ConfigError as error:
        fault = str(error)
    if as_json:
        row = {"file": str(path), "task": template.name, "class": template.class_path, "properties": types}
        output.write_json(row | {"left_to_generator": left_out, "warnings": warnings, "error": fault})
    elif fault:
        print(f"wrong: {fault}")
    else:
        listed = ", ".join(f"{name} ({kind})" for name, kind in types.items()) or "no properties"
        rest = f"; its generator gives {', '.join(left_out)}" if left_out else ""
        print(f"{template.place}: {template.name}: {template.class_path}, {listed}{rest}")
    return fault
