"""``cyclone config``: check configuration files, also those of the original Cyclone, and show what is in effect.

Owns how a report is printed. What is in it is ``cyclone.config_check``'s. No value of a file is printed by ``check``.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from cyclone.cli import common, output, parsing

if TYPE_CHECKING:
    from cyclone.config_check import Finding

# Those of cyclone.config_check, which takes longer to import than --help may.
_ROLES = ("master", "controller", "run", "database_proxy", "pushgateway_client")
_GENERATORS = ("benchmark", "ost_monitoring", "ost_migration")

_EXAMPLES = {
    "check": (
        (
            "cyclone config check /etc/cyclone/*.conf",
            "what is wrong, and what is understood otherwise than in Cyclone 1 and 2",
        ),
        (
            "cyclone config check --role controller node.conf",
            "where neither its sections nor its name tell who reads it",
        ),
    ),
    "show": (("cyclone config show /etc/cyclone/controller.conf", "every value in effect, and where it comes from"),),
}


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The verb and its actions."""
    parser = verbs.add_parser(
        "config",
        help="check configuration files, also of the original Cyclone",
        description="Look at configuration files without starting anything.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="say what is wrong in files, and what changes against Cyclone 1 and 2",
        description="Check files as --check-config does, find who reads each, and say which of its keys have another "
        "name, meaning or default than in the original Cyclone.",
        epilog="Exit codes: 0 all are good, also with warnings; 78 one is not.",
    )
    check.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a configuration file")
    check.add_argument("--json", action="store_true", help="print one JSON object")
    show = actions.add_parser("show", help="print every value in effect and its origin, as --check-config does")
    show.add_argument("file", metavar="FILE", type=Path, help="a configuration file")
    for action, more in ((check, f", {', '.join(_GENERATORS)}"), (show, "")):
        action.add_argument(
            "--role",
            metavar="ROLE",
            help=f"who reads it: {', '.join(_ROLES)}{more} (default: found by its sections, then by its name)",
        )
    for name, action in actions.choices.items():
        parsing.add_examples(action, *_EXAMPLES[name])


def config(args: argparse.Namespace) -> int:
    """Run an action; returns the exit code."""
    from cyclone.config_check import ROLES, SCOPES
    from cyclone.errors import ConfigError

    known = SCOPES if args.action == "check" else ROLES
    if args.role and args.role not in known:
        raise ConfigError(f"--role {args.role}: expected one of {', '.join(known)}")
    return _check(args) if args.action == "check" else _show(args)


def _check(args: argparse.Namespace) -> int:
    from cyclone.config_check import check

    reports = [check(path, args.role or "") for path in args.files]
    if args.json:
        files = [{**dataclasses.asdict(report), "path": str(report.path)} for report in reports]
        output.print_json("cyclone.config_check/1", {"files": files})
    else:
        for report in reports:
            lines = [f"{report.path}{f': {report.scope}' if report.scope else ''}"]
            lines += [f"  {one}" for one in map(_line, report.findings) if one]
            lines += [f"  warning: {text}" for text in report.warnings]
            lines += [f"  error: {text}" for text in report.errors]
            verdict = "bad" if report.errors else "good, with warnings" if report.warnings else "good"
            if same := sum(one.fate == "same" for one in report.findings):
                verdict += f"; {same} of its keys are as in the original"
            print("\n".join([*lines, f"  {verdict}"]))
    return common.EXIT_CONFIG if any(report.errors for report in reports) else common.EXIT_OK


def _line(finding: "Finding") -> str:
    """What a person ought to know of a key, '' where nothing is new."""
    name = f"[{finding.section}] {finding.key}"
    match finding.fate:
        case "default":
            return f"{name} is not given: {finding.now}. {finding.why}"
        case "renamed":
            return f"{name} is {finding.now} now. {finding.why}"
        case "unused":
            return f"{name} is not used any more. {finding.why}"
    return ""


def _show(args: argparse.Namespace) -> int:
    from cyclone.config import load
    from cyclone.config_check import find_scopes, role_of
    from cyclone.config_text import read_ini

    scopes = (args.role,) if args.role else find_scopes(args.file, read_ini(args.file))
    for settings in [load(args.file, [], role_of(scope)) for scope in scopes]:
        if len(scopes) > 1:
            print(f"{args.file}: {settings.role}")
        common.check_config(settings)
    return common.EXIT_OK
