"""``#CYCLONE`` lines of a script: which count, and what is said of wrong ones."""

import pytest

from cyclone.cli.directives import directives, unread
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
        ("#CYCLONE --cpus 5000\n", "job.py: #CYCLONE -c/--cpus: 5,000 is too great: write at most 4,096"),
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


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "#!/bin/sh\n#SBATCH --array=0-3\n",
            ["line 2: #SBATCH --array=0-3 is not read here: write #CYCLONE --array 0-3"],
        ),
        (
            "#SBATCH -J x\n#\n#SBATCH -c 2\n#PBS -q x\n",
            [
                "line 1: #SBATCH -J x is not read here: write #CYCLONE --name x",
                "line 3: #SBATCH -c 2 is not read here: write #CYCLONE --cpus 2",
                "line 4: #PBS -q x is not read here: write #CYCLONE --namespace x",
            ],
        ),
        ("#SBATCH -J x\ntrue\n#SBATCH -c 2\n", ["line 1: #SBATCH -J x is not read here: write #CYCLONE --name x"]),
        ("true\n#SBATCH --array=0-3\n", []),
        ("#SBATCH is not for us\n#SBATCHES -a 1\n", []),
        ("#!/bin/sh\n", []),
        # What is said here, too, has been taken over, whatever its value.
        (
            "#CYCLONE -t 10m\n#SBATCH -t 10\n#SBATCH --array=1-9%3\n",
            ["line 3: #SBATCH --array=1-9%3 is not read here: write #CYCLONE --array 1-9%3"],
        ),
        (
            "#CYCLONE --cpus 2\n#SBATCH -c2 --mem=4000\n",
            ["line 2: #SBATCH -c2 --mem=4000 is not read here: write #CYCLONE --mem 4000M"],
        ),
        ("#CYCLONE --array 0-3 --hold\n#SBATCH --array=0-3\n#SBATCH -H\n", []),
        ("#CYCLONE --hold\n#SBATCH -d 5\n", ["line 2: #SBATCH -d 5 is not read here: no job waits for another: "]),
        ("#CYCLONE --hold\n#SBATCH -c two\n", ["line 2: #SBATCH -c two is not read here: write #CYCLONE --cpus two"]),
    ],
)
def test_given_lines_of_another_system_then_each_that_is_not_said_here_is_told_of(source: str, said: list[str]) -> None:
    told = unread(source, "job.sh", directives(source, "job.sh"))
    assert len(told) == len(said)
    assert all(line.startswith(f"job.sh, {part}") for line, part in zip(told, said, strict=True))
