"""DirectoryTaskGenerator: a task for each regular file of a directory tree.

The section [directory] has:

- ``path``: the top of the tree; the folder of Python's standard library where it is empty
- ``task``: ``module:Class`` of a task that is made with a file's path; ``tasks.checksum:ChecksumTask`` by default
"""

import os
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cyclone import BaseTask, BaseTaskGenerator, TaskResult
from cyclone.errors import ConfigError
from cyclone.generator import Config


class DirectoryTaskGenerator(BaseTaskGenerator):
    """Yields a task for each regular file below a folder, once, in the sorted order of each folder.

    A file is named as ``os.path.join(root, name)``; symbolic links are skipped, folders that cannot be read are logged.
    """

    def __init__(self, config: Config, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        self.task_class = self.task_option("directory", "task", "tasks.checksum:ChecksumTask", properties=1)
        if self.option("directory", "path", ""):
            self.path = self.path_option("directory", "path")
        else:
            self.path = Path(sysconfig.get_path("stdlib"))
        if not self.path.is_dir():
            raise ConfigError(f"[directory] path = {self.path}: expected a folder")
        self.last_path = ""
        """The file whose task was yielded last."""
        self.walked = False
        self.files = 0
        self.bytes = 0
        self.unreadable_folders = 0

    def generate(self) -> Iterator[BaseTask]:
        return map(self.task_class, self._files(str(self.path)))

    def on_result(self, result: TaskResult) -> None:
        if result.ok:
            self.files += 1
            value = result.value
            # Another class of task may have something else to say.
            if isinstance(value, dict):
                self.bytes += value.get("bytes", 0)

    def cursor(self) -> list[Any]:
        return [
            self.last_path and str(Path(self.last_path).relative_to(self.path)),
            self.walked,
            self.files,
            self.bytes,
            self.unreadable_folders,
        ]

    def resume(self, cursor: list[Any]) -> None:
        last_path, self.walked, self.files, self.bytes, self.unreadable_folders = cursor
        self.last_path = last_path and str(self.path / last_path)

    def summary(self) -> Mapping[str, Any]:
        return {"files": self.files, "bytes": self.bytes, "unreadable_folders": self.unreadable_folders}

    def _files(self, top: str) -> Iterator[str]:
        """Depth first; holds the names of one folder and of the folders beside the way to it, not those of the tree."""
        folders = [] if self.walked else self._folders_ahead(top)
        while folders:
            folder, after = folders.pop()
            below = []
            for entry in self._entries(folder):
                kind = self._kind(entry)
                if kind == "folder":
                    below.append((entry.path, ""))
                elif kind == "file" and entry.name > after:
                    self.last_path = entry.path
                    yield entry.path
            folders.extend(reversed(below))
        self.walked = True

    def _folders_ahead(self, top: str) -> list[tuple[str, str]]:
        """Those that follow ``last_path``, the next one last, each with the name of the file behind which it begins."""
        if not self.last_path:
            return [(top, "")]
        folders = []
        folder = top
        *parents, last = Path(self.last_path).relative_to(top).parts
        for name in parents:
            beside = [entry for entry in self._entries(folder) if entry.name > name and self._kind(entry) == "folder"]
            folders += [(entry.path, "") for entry in reversed(beside)]
            folder = str(Path(folder, name))
        return [*folders, (folder, last)]

    def _kind(self, entry: os.DirEntry[str]) -> str:
        """``folder``, ``file`` or nothing of interest."""
        try:
            if entry.is_dir(follow_symlinks=False):
                return "folder"
            return "file" if entry.is_file(follow_symlinks=False) else ""
        except OSError as error:
            self.log.warning("%r is skipped: %s", entry.path, error.strerror)
            return ""

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.unreadable_folders += 1
            self.log.warning("folder %r is skipped: %s", folder, error.strerror)
            return []
