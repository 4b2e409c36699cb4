"""Options of a job that are out of bounds: what is said of them to people who have never heard of types."""

from typing import Any

import pytest

from cyclone.cli.submit_spec import make_spec


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cpus": 70000}, "-c/--cpus: 70,000 is too great: write at most 4,096"),
        ({"cpus": 0}, "-c/--cpus: 0 is too small: write at least 1"),
        ({"priority": 99_999_999_999}, "--priority: 99,999,999,999 is too great: write at most 1,000,000"),
        ({"priority": -99_999_999}, "--priority: -99,999,999 is too small: write at least -1,000,000"),
        ({"retry_delay_s": -0.5}, "--backoff: -0.5 is too small: write at least 0"),
        ({"name": "x" * 5000}, "--name: too long: write at most 255 characters"),
        ({"tags": {"a": "x" * 999}}, "--tag: too long: write at most 255 characters"),
        ({"limits": {"a": 0}}, "--limit: too small: write at least 1"),
        ({"labels": ["gpu"] * 9999}, "-C/--constraint: too many: write at most 64"),
        ({"labels": ["a b"]}, "-C/--constraint: not a name: write letters, digits and _.:/@-, 255 at most"),
        ({"nodes": [3]}, "-w/--nodelist: expected str, got int"),
    ],
)
def test_given_an_option_out_of_bounds_then_its_bound_is_told_in_words(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        make_spec(options, lambda option: option.flags)
    assert str(caught.value).startswith(said)
