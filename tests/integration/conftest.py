"""A lab for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab import Lab, new_lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with new_lab(tmp_path) as one:
        yield one
