"""The corpus: seeds that once failed, in a text file, a seed and what it showed on each line."""

from pathlib import Path

_FILE = Path(__file__).parent / "corpus" / "seeds.txt"


def corpus_seeds() -> list[int]:
    """All of them."""
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    return [int(line.split(maxsplit=1)[0]) for line in lines if line.strip() and not line.startswith("#")]
