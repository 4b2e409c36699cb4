"""Real shells complete our command line: bash, zsh and fish, each as a person meets it."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import parts
from tests.support.lab import program

BASH = r"""
eval "$(cyclone completion bash)"
COMP_LINE="$1" COMP_POINT=${#1} COMP_TYPE=9
COMP_WORDS=($1) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_python_argcomplete cyclone
printf '%s\n' "${COMPREPLY[@]}"
"""
FISH = 'cyclone completion fish | source; complete -C "{line}"'
LINES = {
    "cyclone expl": {"explain"},
    "cyclone re": {"release", "requeue", "results", "resume", "retry"},
    "cyclone jobs --sta": {"--state"},
    "cyclone jobs -s run": {"running"},
    "cyclone jobs -o id,na": {"id,name", "id,namespace"},
    "cyclone keys add --role mo": {"monitor"},
}


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """Our command first in PATH, and a home without the settings of anybody."""
    path = f"{Path(program('cyclone')).parent}:{os.environ['PATH']}"
    return {**parts.environment(), "PATH": path, "HOME": str(tmp_path), "TERM": "dumb"}


def completed(command: list[str], surroundings: dict[str, str]) -> set[str]:
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=True)
    return {line.partition("\t")[0].strip() for line in done.stdout.splitlines()} - {""}


@pytest.mark.parametrize(("line", "words"), LINES.items(), ids=LINES)
def test_given_bash_then_it_completes(line: str, words: set[str], surroundings: dict[str, str]) -> None:
    assert completed(["bash", "--norc", "--noprofile", "-c", BASH, "bash", line], surroundings) == words


def test_given_fish_then_it_completes(surroundings: dict[str, str]) -> None:
    for line, words in LINES.items():
        assert completed([parts.program("fish"), "--no-config", "-c", FISH.format(line=line)], surroundings) == words


class Typed:
    """A terminal on which somebody types."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def shows(self, text: str, deadline_s: float = 20.0) -> None:
        seen = b""
        end = time.monotonic() + deadline_s
        while text.encode() not in seen:
            left_s = end - time.monotonic()
            assert left_s > 0, f"{text!r} does not come: {seen!r}"
            if select.select([self._terminal], [], [], left_s)[0]:
                seen += os.read(self._terminal, 4096)


@contextmanager
def typing(command: list[str], surroundings: dict[str, str]) -> Iterator[Typed]:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, env=surroundings, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as shell:
        os.close(theirs)
        try:
            yield Typed(ours)
        finally:
            shell.kill()
            shell.wait()
            os.close(ours)


def test_given_zsh_then_it_completes(surroundings: dict[str, str]) -> None:
    zsh = parts.program("zsh")
    root = Path(zsh).parent.parent
    functions = [str(path) for path in (root / "usr/share/zsh").rglob("*") if path.is_dir()]
    surroundings |= {"FPATH": ":".join(functions)} if functions else {}
    [modules] = [*(root / "usr/lib").glob("*/zsh/[0-9]*"), Path()][:1]
    with typing([zsh, "-f", "-i"], surroundings) as person:
        if functions:
            person.type(f"module_path=({modules})\n")
        # The quotes: what is typed is shown, too.
        person.type('autoload -Uz compinit && compinit -u -D; eval "$(cyclone completion zsh)"; echo re""ady\n')
        person.shows("ready")
        person.type("cyclone expl\t")
        person.shows("cyclone explain ")
        person.type("\x15cyclone jobs -s comp\t")
        person.shows("cyclone jobs -s completed ")
        person.type("\x15cyclone tasks 5 --val\t")
        person.shows("cyclone tasks 5 --values ")
