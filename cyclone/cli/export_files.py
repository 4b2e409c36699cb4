"""Tasks as files, packed: what is written of a task, and the three forms in which a job's tasks lie in a folder.

Owns the forms. A *target* takes one task after the other and says at any moment where it is, so that whoever is
interrupted goes on from there: what was written behind that place is cut off or written again, with the same bytes.
Nothing is kept in memory. Knows no master.
"""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cyclone.cli.columns import PACKED, moment_json, program_texts
from cyclone.errors import CycloneError

if TYPE_CHECKING:
    from cyclone.protocol.job_messages import JobSummary, TaskRow

PARTS = ("input", "output", "log", "error", "information")
# Of tar, whose module is imported only where one is written.
_BLOCK = 512
_MODE = 0o644


def task_parts(job: "JobSummary", row: "TaskRow", wanted: tuple[str, ...]) -> dict[str, Any]:
    """What there is of a task by the names of its parts; text, or what becomes JSON.

    Of a command the output is what it wrote to standard output and the log what it wrote to standard error, also where
    it failed; of a bundle's program output, log and error are the files that it left, in the same way; of any other
    task the output is its value.
    """
    value = PACKED.as_json(row.value)
    is_of_command = isinstance(value, dict) and {"exit_code", "stdout", "stderr"} <= value.keys()
    left = program_texts(row.value if is_of_command else row.printed)
    is_of_bundle = {"log", "error"} <= left.keys()
    parts = {
        "input": PACKED.as_json(row.args),
        "output": left.get("output" if is_of_bundle else "stdout") if left else value,
        "log": left.get("log" if is_of_bundle else "stderr"),
        "error": row.error or (left["error"] or None if is_of_bundle else None),
        "information": {
            "job": job.job_id,
            "index": row.index,
            "task_id": row.task_id,
            "namespace": job.namespace,
            "session": job.session,
            "class": job.task_class,
            "state": row.state,
            "attempt": row.attempt,
            "node": row.controller,
            "started": moment_json(row.started),
            "finished": moment_json(row.started + row.seconds if row.started else 0.0),
            "seconds": round(row.seconds, 6),
            "cpu_s": round(row.cpu_s, 6),
            "peak_bytes": row.peak_bytes,
            **({"exit_code": value["exit_code"]} if is_of_command else {}),
        },
    }
    return {name: parts[name] for name in wanted if parts[name] is not None}


class Target(ABC):
    """Where the tasks of a job go. A context; ``position`` is how far it has come when it is ``sync``ed."""

    suffix = ""

    def __init__(self, path: Path, position: int) -> None:
        """Go on at this position, 0 for the beginning. Raises CycloneError where what was written to there is gone."""
        self.path = path
        self.position = position

    @abstractmethod
    def write(self, index: int, moment: float, parts: dict[str, Any]) -> None:
        """One more task, which ended at this moment (Unix time)."""

    @abstractmethod
    def sync(self) -> None:
        """What was written survives a power failure."""

    @abstractmethod
    def finish(self) -> None:
        """All are written: from now on they stand under ``path``."""

    @abstractmethod
    def close(self) -> None:
        """Finished or not."""


class _File(Target):
    """One file for all tasks; not under its name before it is whole."""

    def __init__(self, path: Path, position: int) -> None:
        super().__init__(path, position)
        self._part = path.with_name(f"{path.name}.part")
        self._file: IO[bytes] = self._part.open("r+b" if position and self._part.exists() else "w+b")
        size = self._file.seek(0, os.SEEK_END)
        if size < position:
            self._file.close()
            raise CycloneError(f"{self._part} has {size} bytes where {position} were written: remove it to begin anew")
        self._file.truncate(position)
        self._file.seek(position)

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self) -> None:
        self.sync()
        self._part.replace(self.path)

    def close(self) -> None:
        self._file.close()

    def _append(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._file.write(piece)
            self.position += len(piece)


class Lines(_File):
    """A JSON object a line."""

    suffix = ".jsonl"

    def write(self, index: int, moment: float, parts: dict[str, Any]) -> None:
        from cyclone.json_values import text_form

        texts = {name: text_form(part) for name, part in parts.items() if isinstance(part, str)}
        self._append(_json(parts | texts), b"\n")


class Tar(_File):
    """A folder ``job-5/17`` for each task, in an archive that any tar reads."""

    suffix = ".tar"

    def write(self, index: int, moment: float, parts: dict[str, Any]) -> None:
        import tarfile

        for name, content in parts.items():
            data = file_bytes(content)
            member = tarfile.TarInfo(f"{self.path.stem}/{index}/{name}")
            member.size, member.mtime, member.mode = len(data), int(moment), _MODE
            self._append(member.tobuf(tarfile.PAX_FORMAT), data, bytes(-len(data) % _BLOCK))

    def finish(self) -> None:
        self._append(bytes(2 * _BLOCK))
        super().finish()


class Folder(Target):
    """A folder ``job-5/17`` for each task: for a few tasks, not for a million."""

    def __init__(self, path: Path, position: int) -> None:
        super().__init__(path, position)
        if not position:
            import shutil

            shutil.rmtree(path, ignore_errors=True)
        path.mkdir(exist_ok=True)

    def write(self, index: int, moment: float, parts: dict[str, Any]) -> None:
        folder = self.path / str(index)
        folder.mkdir(exist_ok=True)
        for name, content in parts.items():
            (folder / name).write_bytes(file_bytes(content))
        self.position += 1

    def sync(self) -> None:
        """Syncing each file would take longer than writing all of them again: the file system as a whole."""
        os.sync()

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass


FORMATS: dict[str, type[Target]] = {"jsonl": Lines, "tar": Tar, "dir": Folder}


def file_bytes(content: Any) -> bytes:
    """Text as it is, anything else as JSON."""
    if isinstance(content, str):
        return content.encode("utf-8", "surrogateescape")
    return _json(content) + b"\n"


def _json(content: Any) -> bytes:
    from cyclone import json_values

    return json_values.encode(content)
