"""``cyclone export``: the tasks of jobs as files in a folder, for whoever has no Cyclone.

Owns how far each job has come, so that an export that was interrupted goes on, and what is exported already is left
alone. How it is written is ``export_files``. Tasks are asked for page by page, and none is kept.
"""

import argparse
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclone.cli import columns, common, connecting, export_files, jobs, output, parsing, selectors
from cyclone.errors import ConfigError, CycloneError

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.job_messages import JobSummary

SCHEMA = "cyclone.export/1"
_SYNC_EVERY_S = 2.0

_EXAMPLES = (
    ("cyclone export 5 out", "all of job 5 as out/job-5.jsonl, a line for each task"),
    (
        "cyclone export night out -s processed --format tar",
        "what was processed of a namespace, a tar file for each job",
    ),
    ("cyclone export 5 out --format dir --parts output,log", "files out/job-5/17/output and log, of each task"),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "export",
        help="write the tasks of jobs to files: input, output, log, error, information",
        description="Write what there is of each task with a result to DIR: its input (arguments), output (value, or "
        "standard output of a command), log (standard error), error, and information (JSON). There is one file for "
        "each job, and one that describes it. An export that was interrupted goes on when it is called again; jobs "
        "that are exported already are passed over, as long as nothing more has happened to them.",
        epilog=f"Exit codes: 0 done, 1 there is no such job, {connecting.EXIT_CODES}.",
    )
    what = parser.add_argument("what", metavar="JOBS", help=f"{selectors.JOBS_FORMS}; or the name of a namespace")
    what.completer = connecting.offered_jobs  # type: ignore[attr-defined]
    parser.add_argument("folder", metavar="DIR", type=Path, help="where to; it is made where it is missing")
    selectors.add_filters(parser)
    selectors.add_states_option(
        parser, "-s", "--state", help="only tasks in these states", default=selectors.ENDED_TASK_STATES
    )
    parser.add_argument(
        "--format",
        choices=tuple(export_files.FORMATS),
        default="jsonl",
        help="a file with a line for each task, an archive with a folder for each, or such folders (default: jsonl)",
    )
    parts = parser.add_argument(
        "--parts",
        metavar="NAMES",
        type=_parts,
        default=export_files.PARTS,
        help=f"only these: {', '.join(export_files.PARTS)} (default: all)",
    )
    parts.completer = selectors.completer(*export_files.PARTS)  # type: ignore[attr-defined]
    output.add_json_option(parser, f"one JSON object, {SCHEMA}")
    connecting.add_options(parser)
    parsing.add_examples(parser, *_EXAMPLES)


def export(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    if open_states := set(args.states) - set(selectors.ENDED_TASK_STATES):
        raise ConfigError(f"a task that is {', '.join(sorted(open_states))} has nothing to export yet")
    found: list[dict[str, object]] = []
    with connecting.client(args) as client, _folder(args.folder):
        for job in _jobs(client, args):
            count, is_new = _Job(client, job, args).export()
            path = _path(args, job.job_id)
            found.append({"job": job.job_id, "tasks": count, "path": str(path), "new": is_new})
            if not args.json:
                known = "" if is_new else " were there already"
                output.write(
                    columns.safe(f"job {job.job_id}: {columns.counted(count, 'task')}{known or ' exported'}, {path}")
                )
    if args.json:
        output.print_json(SCHEMA, {"jobs": found})
    return common.EXIT_OK


class _Job:
    """One job on its way to the folder."""

    def __init__(self, client: "Client", job: "JobSummary", args: argparse.Namespace) -> None:
        self._client = client
        self._job = job
        self._args = args
        self._about = args.folder / f"job-{job.job_id}.json"
        self._progress = args.folder / f"job-{job.job_id}.progress"
        # What must be the same for a beginning that was made to be of use: what a job has can still change.
        self._of = {
            "format": args.format,
            "states": list(args.states),
            "parts": list(args.parts),
            "submitted": columns.moment_json(job.submitted),
            "tasks": job.tasks,
        }

    def export(self) -> tuple[int, bool]:
        """How many tasks are there, and whether they have not all been before."""
        about = _read(self._about)
        if about.get("of") == self._of and _path(self._args, self._job.job_id).exists():
            return about["count"], False
        self._about.unlink(missing_ok=True)
        progress = _read(self._progress)
        if progress.get("of") != self._of:
            progress = {"of": self._of, "next": 0, "position": 0, "count": 0}
        target = export_files.FORMATS[self._args.format](_path(self._args, self._job.job_id), progress["position"])
        with closing(target):
            self._write(target, progress)
            target.finish()
        fields = {one.name: one.kind.as_json(one.get(self._job)) for one in jobs.LISTING.columns}
        _replace(self._about, {"schema": SCHEMA, "job": fields, "of": self._of, "count": progress["count"]})
        self._progress.unlink(missing_ok=True)
        return progress["count"], True

    def _write(self, target: export_files.Target, progress: dict[str, Any]) -> None:
        args = self._args
        rows = self._client.tasks(
            self._job.job_id,
            start=progress["next"],
            states=args.states,
            with_args="input" in args.parts,
            with_values=bool({"output", "log", "information"} & set(args.parts)),
        )
        due = time.monotonic() + _SYNC_EVERY_S
        try:
            for row in rows:
                target.write(row.index, row.started + row.seconds, export_files.task_parts(self._job, row, args.parts))
                # All at once: a signal may come behind any line.
                progress.update(next=row.index + 1, count=progress["count"] + 1, position=target.position)
                if time.monotonic() >= due:
                    self._note(target, progress)
                    due = time.monotonic() + _SYNC_EVERY_S
        except BaseException:
            # Whatever ends it, also Ctrl-C: the next one goes on here.
            self._note(target, progress)
            raise

    def _note(self, target: export_files.Target, progress: dict[str, Any]) -> None:
        target.sync()
        _replace(self._progress, progress)


def _jobs(client: "Client", args: argparse.Namespace) -> "Iterator[JobSummary]":
    """The jobs that are meant, the newest first. Raises NoSuchJob."""
    try:
        chosen = selectors.jobs(args.what)
    except argparse.ArgumentTypeError:
        if args.namespace not in (None, args.what):
            raise ConfigError(f"{args.what!r} and -n {args.namespace}: name one namespace") from None
        args.namespace, chosen = args.what, selectors.ALL
        if args.what not in (one.namespace.name for one in client.namespaces()):
            raise CycloneError(
                f"{args.what!r} is no namespace, and no selection of jobs: write {selectors.JOBS_FORMS}"
            ) from None
    is_none = True
    for job in client.jobs(chosen.selection(args)):
        if job.job_id:
            is_none = False
            yield job
        elif chosen.ids:
            raise CycloneError("job 0 is the generator's: `cyclone journal export` writes its tasks")
    if is_none and not chosen.is_all:
        raise selectors.no_job(chosen)


def _path(args: argparse.Namespace, job_id: int) -> Path:
    folder: Path = args.folder
    return folder / f"job-{job_id}{export_files.FORMATS[args.format].suffix}"


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make the folder, and be the only one who exports to it. Raises CycloneError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CycloneError(f"{path}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise CycloneError(f"{path}: another export is writing there") from None
    except OSError as error:
        raise CycloneError(f"{error.filename or path}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _read(path: Path) -> dict[str, Any]:
    """What was noted there, nothing where it cannot be read."""
    import json

    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _replace(path: Path, content: dict[str, Any]) -> None:
    """At once as a whole."""
    from cyclone import json_values

    part = path.with_name(f"{path.name}.part")
    part.write_bytes(json_values.encode(content) + b"\n")
    part.replace(path)


def _parts(text: str) -> tuple[str, ...]:
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    for part in wanted or [text]:
        if part not in export_files.PARTS:
            raise argparse.ArgumentTypeError(
                f"{part!r} is no part of a task; there are {', '.join(export_files.PARTS)}"
            )
    return tuple(part for part in export_files.PARTS if part in wanted)
