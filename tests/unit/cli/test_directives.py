"""``#CYCLONE`` lines of a script: which count, and what is said of wrong ones."""

import pytest

from cyclone.cli.directives import directives
from cyclone.errors import ConfigError


@pytest.mark.parametrize(
    ("source", "given"),
    [
        ("print(1)\n", {}),
        ("#!/usr/bin/python3\n#CYCLONE --time-limit 10m\nprint(1)\n", {"time_limit_s": 600.0}),
        (
            "#CYCLONE -t 10m --cpus 2 # two are enough\n# more\n\n#CYCLONE --hold\n",
            {"time_limit_s": 600.0, "cpus": 2, "held": True},
        ),
        ("#CYCLONE --tag a=1\n#CYCLONE --tag b=2 --tag a=3\n", {"tags": {"a": "3", "b": "2"}}),
        ("#CYCLONE --name 'two words'\n", {"name": "two words"}),
        ("#CYCLONE --array 0-9%2\n", {"array": "0-9%2"}),
        ("#CYCLONE\n", {}),
        ("#CYCLONES --hold\n", {}),
        ("# CYCLONE --hold\n", {"held": True}),
        ("# CYCLONE is a cluster\n#  CYCLONE --hold\n", {}),
        ("import os\n#CYCLONE --hold\n", {}),
    ],
)
def test_given_a_script_then_the_lines_at_its_beginning_count(source: str, given: dict[str, object]) -> None:
    assert directives(source, "job.py") == given


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "\n#CYCLONE --cpus 0\n",
            "job.py, line 2: #CYCLONE --cpus 0: argument -c/--cpus: '0' is not a number of things",
        ),
        (
            "#CYCLONE --tim-limit 1\n",
            "line 1: #CYCLONE --tim-limit 1: '--tim-limit' is no option: is --time-limit meant?",
        ),
        ("#CYCLONE --array 5-1\n", "job.py: #CYCLONE '5-1' begins behind its end"),
        ("#CYCLONE --cpus 5000\n", "job.py: #CYCLONE -c/--cpus: expected int <= 4096"),
        ("#CYCLONE --name 'x\n", "No closing quotation"),
        ("#CYCLONE --wait\n", "'--wait' is no option: "),
        ("#CYCLONE --class a:B\n", "this belongs on the command line"),
        ("#CYCLONE --key a\n", "this belongs on the command line"),
    ],
)
def test_given_a_wrong_line_then_the_error_names_script_and_line(source: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        directives(source, "job.py")
    assert said in str(caught.value)
