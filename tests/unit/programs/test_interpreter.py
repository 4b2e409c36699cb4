"""The first line of a script: what runs it, by the kernel's rules."""

import pytest

from cyclone.programs.interpreter import interpreter


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"#!/bin/sh\ntrue\n", ["/bin/sh"]),
        (b"#!/bin/sh", ["/bin/sh"]),
        (b"#! \t/bin/sh \t\n", ["/bin/sh"]),
        (b"#!/bin/bash -eu\n", ["/bin/bash", "-eu"]),
        # All that follows is one argument, as the kernel has it: env -S is for more.
        (b"#!/usr/bin/env -S perl -w  -l \n", ["/usr/bin/env", "-S perl -w  -l"]),
        (b"#!/opt/\xff/sh\n", ["/opt/\udcff/sh"]),
        ("#!/bin/sh\nä\n", ["/bin/sh"]),
        (b"", []),
        (b"print(1)\n", []),
        (b"\n#!/bin/sh\n", []),
        ("# !/bin/sh\n", []),
    ],
)
def test_given_a_script_then_its_first_line_says_what_runs_it(source: str | bytes, words: list[str]) -> None:
    assert interpreter(source) == words


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            b"#!\n",
            "its first line, '#!', names no interpreter by its full path, such as #!/bin/bash",
        ),
        (b"#!bash\n", "'#!bash', names no interpreter by its full path"),
        (b"#!/bin/sh\0\n", "names no interpreter"),
        (b"#!/bin/sh\r\ntrue\r\n", r"its lines end with CR LF, as on Windows: sed -i 's/\\r\$//' takes the CR away"),
    ],
)
def test_given_a_first_line_that_no_node_could_follow_then_the_error_says_what_is_right(
    source: str | bytes, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        interpreter(source)
