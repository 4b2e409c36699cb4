"""Task classes that tests take apart and put together: they must stand at the top of an importable module."""

import os
import subprocess
import sys
import time
from typing import Any

from cyclone import BaseTask


class PlainTask(BaseTask):
    def __init__(self, first: Any, second: Any = "default") -> None:
        self.first = first
        self.second = second

    def execute(self) -> Any:
        return [self.first, self.second]


class PrintingTask(BaseTask):
    def __init__(self, number: int) -> None:
        self.number = number

    def execute(self) -> None:
        print(self.number, "and no end", end="")


class OddPrinterTask(BaseTask):
    """Prints past Python's print, in the way of this name; returns what should have gone elsewhere."""

    def __init__(self, how: str) -> None:
        self.how = how

    def execute(self) -> str:
        return str(getattr(self, self.how)() or "")

    def buffer(self) -> None:
        sys.stdout.buffer.write(b"\xff by bytes")

    def descriptor(self) -> None:
        os.write(1, b"by descriptor")
        until = time.monotonic() + 0.005
        while time.monotonic() < until:
            pass

    def child(self) -> None:
        subprocess.run(["printf", "by a child"], check=True)

    def fork(self) -> None:
        pid = os.fork()
        if not pid:
            print("by a fork")
            os._exit(0)
        os.waitpid(pid, 0)

    def elsewhere(self) -> str:
        """As those do it who catch what a library prints."""
        kept = os.dup(1)
        with (self.scratch_dir / "file").open("w+") as file:
            os.dup2(file.fileno(), 1)
            print("caught", flush=True)
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            caught: str = file.read()
        print("not caught", end="")
        return caught


class NothingTask(BaseTask):
    def execute(self) -> str:
        return "nothing"


class KeywordTask(BaseTask):
    def __init__(self, path: str, /, mode: str = "r", *, depth: int, name: str | None = None) -> None:
        self.path = path
        self.mode = mode
        self.depth = depth
        self.name = name


class InheritingTask(PlainTask):
    """Takes its constructor from its base."""


class ChangedTask(BaseTask):
    def __init__(self, text: str) -> None:
        self.text = text.upper()


class UnassignedTask(BaseTask):
    def __init__(self, kept: int, lost: int) -> None:
        self.kept = kept
        self.other = lost


class UnassignedAttemptTask(BaseTask):
    """BaseTask has an ``attempt`` of its own, which must not be taken for the property."""

    def __init__(self, attempt: int) -> None:
        self.tries = attempt


class OwnAttemptTask(BaseTask):
    def __init__(self, attempt: int, current: str) -> None:
        self.attempt = attempt
        self.current = current  # type: ignore[misc,assignment]


class KeyTask(BaseTask):
    """The same as another by its name."""

    def __init__(self, name: Any, note: str = "") -> None:
        self.name = name
        self.note = note

    def key(self) -> Any:
        return self.name


class OtherKeyTask(KeyTask):
    """Of another class, and therefore never the same."""


class KeyPropertyTask(BaseTask):
    """A property that is called key, and is none."""

    def __init__(self, key: str) -> None:
        self.key = key  # type: ignore[method-assign,assignment]


class KeyAttributeTask(BaseTask):
    key = "no method"  # type: ignore[assignment]


class StarTask(BaseTask):
    def __init__(self, *args: Any) -> None:
        self.args = args


class KeywordStarTask(BaseTask):
    def __init__(self, path: str, **options: Any) -> None:
        self.path = path
        self.options = options


class Outer:
    class InnerTask(BaseTask):
        def __init__(self, value: Any) -> None:
            self.value = value


def made_in_a_function() -> type[BaseTask]:
    class LocalTask(BaseTask):
        pass

    return LocalTask


Renamed = type("Original", (BaseTask,), {})
