"""ChecksumTask against digests that are known from elsewhere."""

import hashlib
import os
from pathlib import Path

import pytest

from tasks.checksum import ChecksumTask
from tests.support.drive import rebuilt

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(("content", "sha256"), [(b"", EMPTY), (b"abc", ABC)])
def test_given_a_file_then_its_digest_and_size_are_returned(tmp_path: Path, content: bytes, sha256: str) -> None:
    (tmp_path / "file").write_bytes(content)

    assert rebuilt(ChecksumTask(str(tmp_path / "file"))).execute() == {"sha256": sha256, "bytes": len(content)}


def test_given_a_file_of_many_blocks_then_all_of_it_counts(tmp_path: Path) -> None:
    content = os.urandom(1_000_003)
    (tmp_path / "file").write_bytes(content)

    value = rebuilt(ChecksumTask(str(tmp_path / "file"))).execute()

    assert value == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": 1_000_003}


def test_given_a_name_that_is_not_utf_8_then_the_file_is_found(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9")  # noqa: PTH118
    with open(path, "wb") as file:
        file.write(b"abc")

    assert rebuilt(ChecksumTask(os.fsdecode(path))).execute() == {"sha256": ABC, "bytes": 3}


def test_given_no_such_file_then_the_failure_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        ChecksumTask(str(tmp_path / "absent")).execute()
