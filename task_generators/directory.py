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

    def summary(self) -> Mapping[str, Any]:
        return {"files": self.files, "bytes": self.bytes, "unreadable_folders": self.unreadable_folders}

    def _files(self, top: str) -> Iterator[str]:
        """Depth first; holds the names of one folder and of the folders beside the way to it, not those of the tree."""
        folders = [top]
        while folders:
            folder = folders.pop()
            below = []
            for entry in self._entries(folder):
                try:
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield entry.path
                except OSError as error:
                    self.log.warning("%r is skipped: %s", entry.path, error.strerror)
            folders.extend(reversed(below))

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.unreadable_folders += 1
            self.log.warning("folder %r is skipped: %s", folder, error.strerror)
            return []
