"""Job files: what their keys mean, and that an error names file, key and what was expected."""

import re
from pathlib import Path
from typing import Any

import pytest

from cyclone.cli.job_file import read_job_file
from cyclone.cli.submit_options import OPTIONS
from cyclone.cli.submit_plan import make_plan
from cyclone.errors import ConfigError

EXAMPLE = Path(__file__).parents[3] / "Configuration" / "examples" / "job.toml"


def read(folder: Path, text: str) -> dict[str, Any]:
    file = folder / "job.toml"
    file.write_text(text)
    return read_job_file(file)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ('command = ["a", "{}"]', {"command": ["a", "{}"]}),
        ('command = "a | b"', {"command": "a | b"}),
        ('class = "a:B"\nproperties = {x = [1, {y = 2}]}', {"task_class": "a:B", "properties": {"x": [1, {"y": 2}]}}),
        ("values = [1, 'a', {b = 2}]", {"values": [1, "a", {"b": 2}]}),
        ("array = '0-9%2'", {"array": "0-9%2"}),
        ("array = 5", {"array": "5"}),
        ("time_limit = '1h30m'\nbackoff = 0.5", {"time_limit_s": 5400.0, "retry_delay_s": 0.5}),
        ("mem = '4GiB'\ncpus = 2", {"mem_bytes": 4 << 30, "cpus": 2}),
        ("nodelist = 'node[1-2]'", {"nodes": ["node1", "node2"]}),
        ("nodelist = ['node[1-2]', 'x']", {"nodes": ["node1", "node2", "x"]}),
        ("constraint = 'a,b'\nretry_on = ['OSError']", {"labels": ["a", "b"], "retry_on": ["OSError"]}),
        ("[tags]\nyear = 2026", {"tags": {"year": "2026"}}),
        ("[limits]\n'ost:17' = 3", {"limits": {"ost:17": 3}}),
        ("begin = 2026-11-22T18:30:00Z", {"not_before": 1795372200.0}),
        ("deadline = '2036-11-22T18:30:00Z'", {"not_after": 2110991400.0}),
        ("hold = true\nexclusive = false", {"held": True, "exclusive": False}),
        ("crash_limit = 'never'", {"crash_limit": 1}),
        ("stdin = '-'", {"stdin": "-"}),
    ],
)
def test_given_keys_then_they_mean_what_the_options_do(text: str, given: dict[str, Any], tmp_path: Path) -> None:
    assert read(tmp_path, text) == given


def test_given_relative_paths_then_they_start_at_the_file(tmp_path: Path) -> None:
    given = read(tmp_path, "script = 'a.py'\neach_line = 'b'\ncwd = '/c'\nstdin = '../d'")
    assert given == {
        "script": f"{tmp_path}/a.py",
        "each_line": f"{tmp_path}/b",
        "directory": "/c",
        "stdin": f"{tmp_path}/../d",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time_limit = [1]", "time_limit: expected int | float | str, got array"),
        ("time_limit = 'soon'", "time_limit: 'soon' is not a duration: write 30"),
        ("tim_limit = 1", "tim_limit is no key of a job file: did you mean time_limit?"),
        ('env = {A = "1"}', "env is no key of a job file: --env is environment here, a table"),
        ("limit = {ost = 1}", "limit is no key of a job file: --limit is limits here, a table"),
        ('expires = "now+1h"', "expires is no key of a job file: --expires is deadline here"),
        ("zzz = 1", "zzz is no key of a job file; there are command, script"),
        ("exclusive = 1", "exclusive: expected bool, got int"),
        ("cpus = 0", "cpus: '0' is not a number of things: write 1, 2, 3..."),
        ("limits = {a = 'x'}", "limits: 'a=x' is not an amount: write name=number"),
        ("limits = 3", "limits: expected object, got int"),
        ("tags = {'a=b' = 1}", "tags: 'a=b' is no name"),
        ("nodelist = [3]", "nodelist[0]: expected str, got int"),
        ("begin = true", "begin: True is not text"),
        ("begin = 1", "begin: '1' is not a moment: write now+10m"),
        ("command = [1]", "command[0]: expected str, got int"),
        ("x = ", "is no TOML: Invalid value"),
        (f"x = {'[' * 10_000}", "is no TOML: maximum recursion depth exceeded"),
        ("array = '5-1'", "'5-1' begins behind its end"),
        ("cpus = 5000", "cpus: 5,000 is too great: write at most 4,096"),
        ("key = ''", "key: '' is no key"),
        ("begin = 'now+1h'\ndeadline = 'now'", "deadline is not after begin"),
    ],
)
def test_given_a_wrong_file_then_the_error_names_it_the_key_and_what_is_right(
    text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/job.toml: {said}")


def test_given_no_file_then_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the job file cannot be read: No such file"):
        read_job_file(tmp_path / "job.toml")


def test_given_the_example_then_it_can_be_submitted() -> None:
    plan = make_plan(read_job_file(EXAMPLE))
    entries = [plan.described(packed)["entry"] for packed in plan.tasks() if packed]
    assert entries == [line for line in (EXAMPLE.parent / "fruit.txt").read_text().splitlines() if line]
    assert (plan.spec.name, plan.spec.time_limit_s, plan.spec.retries) == ("fruit", 600.0, 2)


def test_given_the_example_then_it_shows_every_key_with_a_value_that_is_one(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    shown = re.findall(r"^#?([a-z_0]+) = (.*)$", text, re.MULTILINE)
    keys = {name for name, _ in shown}
    assert keys == {"command", "script", "arguments", "values", *(option.key for option in OPTIONS)}
    for name, value in shown:
        assert read(tmp_path, f"{name} = {value}")
