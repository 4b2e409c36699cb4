"""ChecksumTask: the SHA-256 of one file."""

import hashlib
from typing import Any

from cyclone import BaseTask


class ChecksumTask(BaseTask):
    """Reads a regular file block by block and returns ``{"sha256": lower-case hex, "bytes": how many were read}``.

    OSError where the file cannot be read is this task's failure. The path may be any that ``os.walk`` gives, also one
    that is not valid Unicode.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def execute(self) -> dict[str, Any]:
        with open(self.path, "rb", buffering=0) as file:
            digest = hashlib.file_digest(file, "sha256")
            return {"sha256": digest.hexdigest(), "bytes": file.tell()}
