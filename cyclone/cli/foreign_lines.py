"""Lines such as ``#SBATCH --array=0-3`` in a script: what the same is in a line ``#CYCLONE``.

Owns the options of other systems as they stand in their scripts, with what their values mean there: a bare number
is minutes or megabytes. What they are on a command line is ``elsewhere``'s.
"""

import re
import shlex
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence

from cyclone.cli import elsewhere

MARKS = ("#SBATCH", "#PBS", "#HQ", "#BSUB")

_SEE = "`cyclone submit --help` lists the options"
_TWO_NUMBERS = re.compile(r"(\d+):(\d+)")
_WITH_INDEXES = re.compile(r".*\[([^%\]]+)\](%\d+)?")


def _same(option: str) -> Callable[[str], str]:
    def line(value: str) -> str:
        return f"{option} {shlex.quote(value)}" if value else option

    return line


def _walltime(value: str) -> str:
    """Of PBS, where 90 are seconds, and 10:30 minutes and seconds."""
    parts = _TWO_NUMBERS.fullmatch(value)
    return _same("--time-limit")(f"{int(parts[1])}m{int(parts[2])}s" if parts else value)


def _time(value: str) -> str:
    """Of Slurm, where 90 are minutes, 10:30 minutes and seconds, and behind days the last parts may be left out."""
    days, dash, rest = value.partition("-")
    if dash:
        hours, minutes, seconds, *_ = *rest.split(":"), "00", "00"
        value = f"{days}-{hours}:{minutes}:{seconds}"
    return _walltime(f"{value}m" if value.isdecimal() else value)


def _run_limit(value: str) -> str:
    """Of LSF, where 90 are minutes, and 10:30 hours and minutes."""
    parts = _TWO_NUMBERS.fullmatch(value)
    return _same("--time-limit")(f"{int(parts[1])}h{int(parts[2])}m") if parts else _time(value)


def _megabytes(value: str) -> str:
    return _same("--mem")(f"{value}M" if value.isdecimal() else value)


def _name_or_array(value: str) -> str:
    found = _WITH_INDEXES.fullmatch(value)
    return f"--array {found[1]}{found[2] or ''}" if found else _same("--name")(value)


_NAMESPACE, _NAME, _ARRAY, _CPUS, _CWD = map(_same, ("--namespace", "--name", "--array", "--cpus", "--cwd"))
_LINES: dict[str, dict[str, Callable[[str], str]]] = {
    "#SBATCH": {
        **dict.fromkeys(("-a", "--array"), _ARRAY),
        **dict.fromkeys(("-J", "--job-name"), _NAME),
        **dict.fromkeys(("-c", "--cpus-per-task"), _CPUS),
        **dict.fromkeys(("-p", "--partition"), _NAMESPACE),
        **dict.fromkeys(("-D", "--chdir"), _CWD),
        **dict.fromkeys(("-t", "--time"), _time),
        "--mem": _megabytes,
        **dict.fromkeys(("-w", "--nodelist"), _same("--nodelist")),
        **dict.fromkeys(("-x", "--exclude"), _same("--exclude")),
        **dict.fromkeys(("-C", "--constraint"), _same("--constraint")),
        **dict.fromkeys(("-q", "--qos"), _same("--qos")),
        **dict.fromkeys(("-H", "--hold"), _same("--hold")),
        **{option: _same(option) for option in ("--begin", "--deadline", "--priority")},
    },
    "#PBS": {
        "-N": _NAME,
        **dict.fromkeys(("-J", "-t"), _ARRAY),
        "-q": _NAMESPACE,
        "-p": _same("--priority"),
        "-d": _CWD,
        "-h": _same("--hold"),
        "-l walltime": _walltime,
        "-l ncpus": _CPUS,
        "-l mem": _same("--mem"),
    },
    "#HQ": {
        option: _same(option)
        for option in (
            *("--array", "--cpus", "--cwd", "--env", "--max-fails", "--name", "--priority", "--time-limit"),
            *("--crash-limit", "--each-line", "--from-json", "--resource"),
        )
    },
    "#BSUB": {
        "-J": _name_or_array,
        "-q": _NAMESPACE,
        "-n": _CPUS,
        "-W": _run_limit,
        "-cwd": _CWD,
        "-H": _same("--hold"),
    },
}
# Of these alone the words are those of a command line, too.
_LIKE_ELSEWHERE = {"#SBATCH": None, "#HQ": None, "#PBS": ("-o", "-e"), "#BSUB": ("-o", "-e")}


def translated(mark: str, text: str) -> list[tuple[str, str]]:
    """The options of such a line, each with ours and its value; with '' where there is none."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        words = text.split()
    known = _LINES[mark]
    return [(name, known[name](value) if name in known else "") for name, value in _options(mark, words, known)]


def advice(mark: str, found: Sequence[tuple[str, str]], options: Container[str]) -> str:
    """What to write for options that ``translated`` has found, for a verb with these ``options`` of ours."""
    ours = [ours for _, ours in found if ours]
    parts = [f"write #CYCLONE {' '.join(ours)}"] if ours else []
    alike = _LIKE_ELSEWHERE[mark]
    for name in (name for name, ours in found if not ours):
        told = (elsewhere.hint(name, options) if alike is None or name in alike else "") or _SEE
        parts.append(told if len(found) == 1 else f"{name}: {told}")
    return "; ".join(parts)


def _options(mark: str, words: list[str], known: Container[str]) -> Iterator[tuple[str, str]]:
    """Options and their values, which may be joined to them, by = or, behind one letter, by nothing."""
    rest = deque(words)
    while rest:
        word = rest.popleft()
        if not word.startswith("-"):
            continue
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            is_joined = bool(equals)
        else:
            is_joined = len(word) > 2 and word not in known
            name, value = (word[:2], word[2:]) if is_joined else (word, "")
        if not is_joined and rest and not rest[0].startswith("-"):
            value = rest.popleft()
        if mark == "#PBS" and name == "-l":
            for resource in value.split(","):
                key, _, amount = resource.partition("=")
                yield f"-l {key}", amount
        else:
            yield name, value
