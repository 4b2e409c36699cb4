"""Command-line options as getopt_long(3) reads them, without the time that importing ``getopt`` takes."""

from collections.abc import Mapping, Sequence


class Usage(Exception):
    """An option that is not known, or lacks its value."""


def parse(
    arguments: Sequence[str], short: str, long: Mapping[str, str], long_only: bool = False
) -> tuple[list[tuple[str, str]], list[str]]:
    """The options in their order, by letter, with their values, and the operands.

    ``short`` is getopt's ("c:y" for -c VALUE and -y); ``long`` names a letter for each word. With ``long_only`` a word
    may also follow a single dash.
    """
    takes_value = {letter: short[at + 1 : at + 2] == ":" for at, letter in enumerate(short) if letter != ":"}
    options: list[tuple[str, str]] = []
    operands: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            return options, operands + waiting
        if not word.startswith("-") or word == "-":
            operands.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("--") or (long_only and name in long):
            letter = long.get(name)
            if letter is None:
                raise Usage(f"unrecognized option '{word}'")
            if takes_value[letter] and not equals:
                value = _next(waiting, word)
            options.append((letter, value))
            continue
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter not in takes_value:
                raise Usage(f"invalid option -- '{letter}'")
            value = ""
            if takes_value[letter]:
                value, letters = letters or _next(waiting, word), ""
            options.append((letter, value))
    return options, operands


def _next(waiting: list[str], word: str) -> str:
    if not waiting:
        raise Usage(f"option '{word}' requires an argument")
    return waiting.pop(0)


def size(text: str, default_unit: int = 1) -> int:
    """Bytes of ``64k``, ``1M``, ``66T``, ``5MB/s``; a number without a letter is in ``default_unit``. Raises Usage."""
    text = text.removesuffix("/s").removesuffix("B")
    letter = text[-1:].upper()
    power = "KMGTPE".find(letter) + 1 if letter else 0
    try:
        return int(float(text[:-1]) * 1024**power) if power else int(text) * default_unit
    except ValueError:
        raise Usage(f"bad size '{text}'") from None


def seconds(text: str) -> float:
    """Of ``30s``, ``200ms``, ``2`` or ``1.5``. Raises Usage."""
    factor = 0.001 if text.endswith("ms") else 1.0
    try:
        return float(text.removesuffix("ms").removesuffix("s")) * factor
    except ValueError:
        raise Usage(f"bad duration '{text}': expected 30s or 200ms") from None


def indices(text: str) -> list[int]:
    """Of ``3``, ``3,7`` or ``0-9,12``. Raises Usage."""
    found: list[int] = []
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            found += range(int(first), int(last if dash else first) + 1)
    except ValueError:
        raise Usage(f"bad index '{text}': expected 3, 0-9 or 0-9,12") from None
    return found
