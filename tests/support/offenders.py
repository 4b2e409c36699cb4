"""How a test of a rule fails: with all that offends against it."""

from collections.abc import Iterable

import pytest


def refuse(offenders: Iterable[str]) -> None:
    """Fail with all of them; a plain assert would shorten the list."""
    listed = "\n".join(offenders)
    if listed:
        pytest.fail(f"offends against the rule:\n{listed}", pytrace=False)
