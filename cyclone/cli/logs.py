"""``cyclone logs``: what tasks have printed, or print.

Owns how that is shown. Bytes come out as they were printed, both streams in the order in which they came.
"""

import argparse
import base64
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cyclone.cli import columns, common, connecting, output, parsing, selectors
from cyclone.cli.tasks import JobTask, add_selection, chosen, no_task
from cyclone.errors import CycloneError, UsageError

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.client.task_output import TaskOutput

# Without a word about which, nobody wants to read more.
_TASKS_MAX = 100
# A silent task is asked about so often.
_WAIT_S = 2.0
_TAIL_BYTES = 64 * 1024
# How far before the end it stands that something is missing.
_CUT_BYTES_MAX = 256
_SCHEMA = "cyclone.logs/1"
_BAD_ENDS = (*selectors.BAD_TASK_STATES, *selectors.MISSING_TASK_STATES)

_EXAMPLES = (
    ("cyclone logs 5.17", "all that task 17 of job 5 has printed"),
    ("cyclone logs -f last.0", "what the first task of the newest job prints, live"),
    ("cyclone logs 5 --stream stderr --tail 20", "the last 20 lines of standard error of each of its tasks"),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "logs",
        help="show what tasks print, or follow it live",
        description="Show what tasks have printed, as it was printed: standard output and standard error together, in "
        "the order in which they came. It lies on the node that has executed the task, as long as there is room.",
        epilog="Exit codes: 0 done, 1 there is no such task or its node cannot be asked, "
        f"{connecting.EXIT_CODES}. docs/output.md has more.",
    )
    add_selection(parser)
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on until the task has ended, through its retries"
    )
    parser.add_argument("--tail", metavar="N", type=selectors.number, help="only the last N lines")
    parser.add_argument(
        "--attempt", metavar="N", type=common.positive, default=0, help="not the last attempt, but this"
    )
    parser.add_argument(
        "--stream", choices=("both", "stdout", "stderr"), default="both", help="only what went there (default: both)"
    )
    parser.add_argument(
        "--json", action="store_true", help=f"an object for each line, {_SCHEMA}; base64 where it is not UTF-8"
    )
    connecting.add_options(parser, config_file=False)
    parsing.add_examples(parser, *_EXAMPLES)


def logs(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    args.config_file = None
    with connecting.client(args, is_patient=args.follow) as client:
        found, has_more = _first(chosen(client, args.selection), _TASKS_MAX, args.selection)
        if args.follow and (len(found) != 1 or has_more):
            raise UsageError(
                "only one task can be followed: name it, such as 5.17; `cyclone results --follow` tells of all of them"
            )
        code = common.EXIT_OK
        silent = []
        for task in found:
            shown = _Shown(args, task, is_one=len(found) == 1)
            if not shown.show(client):
                code = common.EXIT_FAILED
            if shown.was_silent:
                silent.append(task)
    if silent:
        output.note(
            f"{columns.counted(len(silent), 'task')} printed nothing, or it is not kept: {_places(silent)}", args.json
        )
    if has_more:
        last = found[-1]
        at = last.row.index
        more = f"{last.job_id}.{at + 1}-{at + _TASKS_MAX}"
        output.note(f"there are more behind {last.job_id}.{at}: name them, such as {more}", args.json)
    return code


def cut_of(client: "Client", job_id: int, index: int) -> str:
    """How much more a task has printed than was kept of it, and why; empty where all was, or nobody can tell now."""
    try:
        size = client.output(job_id, index, bytes_max=0).size
        if not size:
            return ""
        reader = client.read_output(job_id, index, offset=max(0, size - _CUT_BYTES_MAX))
        for _ in reader.read():
            pass
    except CycloneError:
        return ""
    return reader.cut


class _Shown:
    """One task on standard output."""

    def __init__(self, args: argparse.Namespace, task: JobTask, is_one: bool) -> None:
        self._args = args
        self._job_id, self._index = task.job_id, task.row.index
        self._name = f"{task.job_id}.{task.row.index}"
        self._has_header = not (is_one or args.json)
        self._lines = _Lines(self._name, self._job_id, self._index) if args.json else None
        self._said = ""
        # Of several that are shown: it is told of all of these together.
        self.was_silent = False
        self._is_one = is_one

    def show(self, client: "Client") -> bool:
        """Whether there was nothing wrong with that."""
        offset = 0 if self._args.tail is None else self._show_tail(client)
        reader = client.read_output(self._job_id, self._index, attempt=self._args.attempt, offset=offset)
        pieces = reader.follow(min(_WAIT_S, self._args.connect_timeout / 2)) if self._args.follow else reader.read()
        has_any = bool(offset)
        for piece in pieces:
            if piece is None:
                self._say_why(reader.last.text if reader.last else "")
                continue
            has_any = True
            self._put(piece)
        if self._lines:
            self._lines.end()
        if reader.lost_bytes:
            self._say_why(f"{reader.lost_bytes:,} bytes before or within this are not kept any more")
        if reader.cut:
            self._say_why(f"it has printed more: {reader.cut}")
        text, state = (reader.last.text, reader.last.state) if reader.last else ("", "")
        if not (self._is_one or has_any or text):
            self.was_silent = True
            return True
        said = text or ("" if has_any else _nothing(state))
        if state in _BAD_ENDS and (self._args.follow or not has_any):
            said = f"{said}{'; ' * bool(said)}it has ended: {state}; `cyclone show {self._name}` says why"
        self._say_why(said)
        return not text

    def _show_tail(self, client: "Client") -> int:
        """Print the last lines; where they end."""
        size = client.output(self._job_id, self._index, attempt=self._args.attempt, bytes_max=0).size
        span, pieces = _TAIL_BYTES, list["TaskOutput"]()
        while size:
            start = max(0, size - span)
            reader = client.read_output(self._job_id, self._index, attempt=self._args.attempt, offset=start)
            pieces = [piece for piece in reader.read() if self._is_wanted(piece)]
            if start == 0 or sum(piece.data.count(b"\n") for piece in pieces) > self._args.tail:
                break
            span *= 4
        end = max((piece.offset + len(piece.data) for piece in pieces), default=size)
        for piece in _last_lines(pieces, self._args.tail):
            self._put(piece)
        return end

    def _is_wanted(self, piece: "TaskOutput") -> bool:
        return self._args.stream in ("both", piece.stream)

    def _put(self, piece: "TaskOutput") -> None:
        if not self._is_wanted(piece):
            return
        if self._lines:
            self._lines.put(piece)
        else:
            if self._has_header:
                self._has_header = False
                sys.stdout.write(f"==> {self._name} <==\n")
            sys.stdout.flush()
            sys.stdout.buffer.write(piece.data)
        sys.stdout.flush()

    def _say_why(self, text: str) -> None:
        if text and text != self._said:
            self._said = text
            output.note(f"task {self._name}: {text}", self._args.json)


class _Lines:
    """Lines as objects, for programs; those of one stream do not wait for the other's."""

    def __init__(self, name: str, job_id: int, index: int) -> None:
        self._name, self._job_id, self._index = name, job_id, index
        self._partial: dict[tuple[int, str], tuple[TaskOutput, bytes]] = {}

    def put(self, piece: "TaskOutput") -> None:
        """Print the lines that it ends."""
        key = piece.attempt, piece.stream
        for line in _lines_of(piece.data):
            first, before = self._partial.pop(key, (piece, b""))
            if line.endswith(b"\n"):
                self._print(first, before + line[:-1])
            else:
                self._partial[key] = first, before + line

    def end(self) -> None:
        """Print what has no end of line."""
        for first, line in self._partial.values():
            self._print(first, line)
        self._partial.clear()

    def _print(self, piece: "TaskOutput", line: bytes) -> None:
        told: dict[str, Any] = {"schema": _SCHEMA, "id": self._name, "job": self._job_id, "index": self._index}
        told |= {"attempt": piece.attempt, "node": piece.controller, "stream": piece.stream}
        try:
            told["line"] = line.decode()
        except UnicodeDecodeError:
            told["base64"] = base64.b64encode(line).decode()
        sys.stdout.write(json.dumps(told) + "\n")


def _lines_of(data: bytes) -> Iterator[bytes]:
    """Only a line feed ends a line here."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end


def _last_lines(pieces: "list[TaskOutput]", count: int) -> "Iterator[TaskOutput]":
    """The pieces from where the last so many lines begin."""
    lines = sum(piece.data.count(b"\n") for piece in pieces)
    if pieces and not pieces[-1].data.endswith(b"\n"):
        lines += 1
    passed_over = max(0, lines - count)
    for piece in pieces:
        at = 0
        while passed_over and (end := piece.data.find(b"\n", at) + 1):
            at = end
            passed_over -= 1
        if not passed_over and piece.data[at:]:
            yield piece._replace(offset=piece.offset + at, data=piece.data[at:])


def _first(tasks: Iterable[JobTask], count: int, meant: Sequence[selectors.Tasks]) -> tuple[list[JobTask], bool]:
    """The first so many, and whether there are more. Raises CycloneError where there is none of what is meant."""
    found: list[JobTask] = []
    for task in tasks:
        if len(found) == count:
            return found, True
        found.append(task)
    if not found:
        raise no_task(meant)
    return found, False


def _places(tasks: Iterable[JobTask]) -> str:
    """Tasks as they are written: ``5.0-3,7 6.1``."""
    indexes: dict[int, list[int]] = {}
    for task in tasks:
        indexes.setdefault(task.job_id, []).append(task.row.index)
    return " ".join(
        f"{job_id}.{selectors.fold(selectors.joined((one, one) for one in of_job))}"
        for job_id, of_job in indexes.items()
    )


def _nothing(state: str) -> str:
    return (
        "printed nothing, or it is not kept any more" if state not in ("held", "queued", "delayed") else f"is {state}"
    )
