"""Task files as a test writes them."""

from pathlib import Path


def write(folder: Path, text: str) -> Path:
    """The only one of this folder."""
    path = folder / "tasks.xml"
    path.write_text(text)
    return path
