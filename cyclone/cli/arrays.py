"""Where the tasks of an array come from: numbers, lines, JSON values, words of a command line.

Owns how each is written and read. All are lazy: a million entries are never held together, and a pipe is read as it is
filled. A ValueError starts with what is wrong and ends with what would be right; a ConfigError names the file.
"""

import io
import itertools
import re
import select
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from cyclone.errors import ConfigError, UsageError
from cyclone.protocol import limits

# What a slip such as 0-9999999999 must not fill a journal with.
ENTRIES_MAX = 1_000_000_000
WORDS = ":::"
STDIN = "-"

# What GNU parallel has besides, and what to write instead.
_NOT_OURS = {
    ":::+": "several ::: make each combination; what belongs together goes on a line of a file, --each-line FILE",
    "::::": "a task for each line of a file is --each-line FILE",
    "::::+": "a task for each line of a file is --each-line FILE",
}

# {} and, of several lists, {1}. Behind a dollar it is the shell's own.
NUMBERED = re.compile(r"(?<!\$)\{([1-9][0-9]?)?\}")

_BLOCK_BYTES = 64 * 1024
# What comes out of a pipe in drops does not wait longer for more.
_PAUSE_S = 1.0
# JSON takes up to six characters for one of a text.
_JSON_CHARS_MAX = 6 * limits.VALUE_BYTES_MAX
_OPERATORS = frozenset("!&^")


class Pause:
    """Stands among entries: those before it have waited long enough for others."""


class Entries(NamedTuple):
    """The entries of an array. ``open`` begins to read them, and can do so once where they come from a pipe.

    A Pause may stand among those of a pipe.
    ``total`` is None where only reading tells how many they are; ``parallel`` is how many may be at work at once, None
    for any number; ``lists`` of words they are taken from, 0 where they are no words of the command line.
    """

    origin: str
    open: Callable[[], Iterator[Any]]
    total: int | None = None
    parallel: int | None = None
    lists: int = 0


def numbers(text: str) -> Entries:
    """``0-99``, ``0-99:2``, ``1,3,5-8``, each with ``%10`` behind it for at most ten at once. Raises ValueError."""
    ranges_text, percent, parallel_text = text.partition("%")
    parallel = None
    if percent:
        if not parallel_text.isdecimal() or not int(parallel_text):
            raise ValueError(f"{text!r}: {parallel_text!r} is not how many may be at work at once: write 0-99%10")
        parallel = int(parallel_text)
    origin = f"--array {text}"
    if _OPERATORS.intersection(ranges_text):
        from cyclone.ranges import range_set

        found = range_set(ranges_text)
        return Entries(origin, lambda: iter(found), len(found), parallel)
    from cyclone.ranges import number_ranges

    ranges = sorted(number_ranges(ranges_text), key=lambda one: one.start)
    if sum(map(len, ranges)) > ENTRIES_MAX:
        raise ValueError(f"{text!r} holds more than {ENTRIES_MAX:,} numbers: write a shorter range")
    if all(before[-1] < behind.start for before, behind in itertools.pairwise(ranges)):
        return Entries(origin, lambda: itertools.chain.from_iterable(ranges), sum(map(len, ranges)), parallel)
    return Entries(origin, lambda: _each_once(ranges), None, parallel)


def _each_once(ranges: Sequence[range]) -> Iterator[int]:
    """The numbers of ranges that overlap, ascending."""
    import heapq

    return (number for number, _ in itertools.groupby(heapq.merge(*ranges)))


def words(lists: Sequence[Sequence[str]]) -> Entries:
    """The words behind ``:::``; of several lists each combination, the last one changing first. Raises ValueError."""
    origin = " ".join(f"{WORDS} {' '.join(one)}" for one in lists)
    if not all(lists):
        raise ValueError(f"{WORDS} has no words behind it: write {WORDS} a b c")
    count = 1
    for one in lists:
        count *= len(one)
    if len(lists) == 1:
        return Entries(origin, lambda: iter(lists[0]), count, lists=1)
    return Entries(origin, lambda: map(list, itertools.product(*lists)), count, lists=len(lists))


def split_words(arguments: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """A command and the lists behind its ``:::``. Raises UsageError for GNU parallel's other separators."""
    parts: list[list[str]] = [[]]
    for argument in arguments:
        if right := _NOT_OURS.get(argument):
            raise UsageError(f"there is no {argument} here: {right}")
        if argument == WORDS:
            parts.append([])
        else:
            parts[-1].append(argument)
    return parts[0], parts[1:]


def lines(path: str) -> Entries:
    """Each line of a file that is not empty; ``-`` is standard input. It need not be UTF-8."""
    return Entries(f"--each-line {path}", lambda: _texts(path, b"\n"))


def nul_separated(path: str) -> Entries:
    """Each text of a file between NUL bytes, as ``find -print0`` writes it; ``-`` is standard input."""
    return Entries(f"--from0 {path}", lambda: _texts(path, b"\0"))


def json_values(path: str) -> Entries:
    """Each value of a JSON array, or of lines that hold a JSON value each; ``-`` is standard input.

    One that Cyclone has written of a text that is not UTF-8, ``{"base64": "..."}``, is this text again.
    """
    return Entries(f"--from-json {path}", lambda: _json_values(path))


def given(values: Sequence[Any], origin: str) -> Entries:
    """These."""
    return Entries(origin, lambda: iter(values), len(values))


def opened(path: str) -> io.BufferedReader:
    """A file to read from, or standard input, which stays open."""
    return open(0 if path == STDIN else path, "rb", closefd=path != STDIN)


def _blocks(path: str) -> Iterator[bytes | Pause]:
    """What a file holds, as soon as it is there; a Pause about once a second where it has to be waited for."""
    try:
        with opened(path) as file:
            pause_at = time.monotonic() + _PAUSE_S
            while True:
                if not select.select([file], [], [], max(0.0, pause_at - time.monotonic()))[0]:
                    pause_at = time.monotonic() + _PAUSE_S
                    yield Pause()
                elif block := file.read1(_BLOCK_BYTES):
                    yield block
                else:
                    return
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _texts(path: str, separator: bytes) -> Iterator[str | Pause]:
    for piece in _pieces(_blocks(path), separator, path):
        if isinstance(piece, Pause):
            yield piece
        elif piece:
            yield piece.decode("utf-8", "surrogateescape")


def _pieces(blocks: Iterable[bytes | Pause], separator: bytes, path: str) -> Iterator[bytes | Pause]:
    """What stands between separators. Raises ConfigError for a piece that no task could take."""
    rest = b""
    for block in blocks:
        if isinstance(block, Pause):
            yield block
            continue
        *whole, rest = (rest + block).split(separator)
        yield from whole
        if len(rest) > limits.VALUE_BYTES_MAX:
            kind = "line" if separator == b"\n" else "text between NUL bytes"
            raise ConfigError(f"{path}: holds a {kind} of more than {limits.VALUE_BYTES_MAX:,} bytes: is it the file?")
    yield rest


def _json_values(path: str) -> Iterator[Any]:
    from cyclone.json_values import text_of

    text = _Text(path)
    return map(text_of, text.array() if text.is_array() else text.lines())


class _Text:
    """The JSON of a file, read as it is needed; what was taken is let go."""

    def __init__(self, path: str) -> None:
        import codecs

        self._path = path
        self._blocks = (block for block in _blocks(path) if not isinstance(block, Pause))
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._ended = False

    def is_array(self) -> bool:
        """Whether it is one array: it begins like one, and its first line is not by itself a value among others."""
        if self._next() != "[":
            return False
        line, newline, rest = self._text[self._at :].partition("\n")
        while newline and not rest.strip() and self._more():
            rest = self._text[self._at + len(line) + 1 :]
        if not rest.strip():
            return True
        import json

        try:
            json.loads(line)
        except ValueError:
            return True
        return False

    def array(self) -> Iterator[Any]:
        """Its values."""
        import json

        decode = json.JSONDecoder().raw_decode
        self._at += 1
        for number in itertools.count(1):
            following = self._next()
            if following == "]" and number == 1:
                break
            if number > 1:
                if following == "]":
                    break
                if following != ",":
                    raise self._fault(f"value {number - 1}", f"a comma or ] belongs behind it, not {following!r}")
                self._at += 1
                self._next()
            yield self._value(decode, number)
        self._at += 1
        if following := self._next():
            raise self._fault("behind the array", f"nothing may follow, not {following!r}")

    def lines(self) -> Iterator[Any]:
        """The value of each line that is not blank."""
        import json

        # Lines end at the newline alone: others of Unicode's may stand in a JSON text.
        for number, line in enumerate(self._lines(), 1):
            if line.strip():
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise self._fault(f"line {number}", f"is no JSON value: {_reason(error)}") from None

    def _lines(self) -> Iterator[str]:
        while True:
            *whole, self._text = self._text[self._at :].split("\n")
            self._at = 0
            yield from whole
            self._bound("a line")
            if not self._more():
                yield self._text
                return

    def _value(self, decode: Callable[[str, int], tuple[Any, int]], number: int) -> Any:
        while True:
            try:
                value, end = decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if not self._more():
                    raise self._fault(f"value {number}", f"is no JSON value: {_reason(error)}") from None
            else:
                # At the end of what was read a number may go on.
                if end < len(self._text) or not self._more():
                    self._at = end
                    return value
            self._bound(f"value {number}")

    def _next(self) -> str:
        """The next character that is not blank, with which the text goes on; '' at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Read on, as much as there is already, so that a long value is not looked at too often; False at the end."""
        wanted = max(1, len(self._text) - self._at)
        parts = [self._text[self._at :]]
        while wanted > 0 and not self._ended:
            block = next(self._blocks, b"")
            self._ended = not block
            try:
                part = self._decode.decode(block, final=self._ended)
            except UnicodeDecodeError as error:
                raise self._fault("it", f"is not UTF-8 text: {error.reason}") from None
            parts.append(part)
            wanted -= len(part) or 1
        grown = sum(map(len, parts)) > len(parts[0])
        self._text, self._at = "".join(parts), 0
        return grown

    def _bound(self, what: str) -> None:
        if len(self._text) - self._at > _JSON_CHARS_MAX:
            raise self._fault(what, f"has more than {_JSON_CHARS_MAX:,} characters, which no task could take")

    def _fault(self, what: str, text: str) -> ConfigError:
        return ConfigError(f"{self._path}: {what}: {text}; write an array of JSON values, or a value a line")


def _reason(error: Exception) -> str:
    """Without the place, which is that in what happens to be in memory."""
    return str(getattr(error, "msg", error))
