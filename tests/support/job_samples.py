"""Tasks as submitted jobs have them: with shared properties, a setup of their own, surroundings, errors by value."""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from cyclone import BaseTask
from cyclone.errors import ClassRefused


class Three(BaseTask):
    """Tells its properties; one of them is always given by name."""

    def __init__(self, one: Any, two: Any, *, three: Any = 3) -> None:
        self.one = one
        self.two = two
        self.three = three

    def execute(self) -> Any:
        return [self.one, self.two, self.three]


class Counted(BaseTask):
    """Tells how often its job was prepared in this process; the shared property says what goes wrong with that."""

    prepared_times = 0

    @classmethod
    def prepared(cls, shared: tuple[Any, ...]) -> Callable[..., Any]:
        cls.prepared_times += 1
        match shared[0]:
            case "raise":
                raise LookupError("nothing to prepare it with")
            case "exit":
                sys.exit("no")
            case "refuse":
                raise ClassRefused("not here")
            case "load":
                return type("Loaded", (_Call,), {"function": staticmethod(cls.current.load(shared[1]))})
        return super().prepared((shared[0], cls.prepared_times))

    def __init__(self, what: str, times: int, value: int) -> None:
        self.what = what
        self.times = times
        self.value = value

    def execute(self) -> Any:
        return [self.times, self.value]


class _Call(msgspec.Struct):
    argument: Any

    def execute(self) -> Any:
        return self.function(self.argument)  # type: ignore[attr-defined]


class SetUp(BaseTask):
    """Needs a file that may be missing."""

    def __init__(self, path: str) -> None:
        self.path = path

    def setup(self) -> None:
        if self.path == "exit":
            sys.exit("no")
        self.text = Path(self.path).read_text(encoding="utf-8")

    def execute(self) -> str:
        if not self.text:
            raise ValueError("the file is empty")
        return self.text


class Gated(BaseTask):
    """Waits in each of its stages at two named pipes, and returns what is left of its time limit in each."""

    @classmethod
    def prepared(cls, shared: tuple[Any, ...]) -> Callable[..., Any]:
        left_s = _gate(Path(shared[0]))
        return super().prepared((*shared, left_s))

    def __init__(self, folder: str, prepared_left_s: float, number: int) -> None:
        self.folder = folder
        self.prepared_left_s = prepared_left_s
        self.number = number

    def setup(self) -> None:
        self.setup_left_s = _gate(Path(self.folder))

    def execute(self) -> Any:
        return [self.prepared_left_s, self.setup_left_s, _gate(Path(self.folder))]


def _gate(folder: Path) -> float | None:
    (folder / "there").write_bytes(b"there")
    (folder / "go").read_bytes()
    return BaseTask.current.time_left_s()


class Around(BaseTask):
    """Tells what it finds around it: a variable, the working directory, and what programs are told of the task."""

    def __init__(self, variable: str) -> None:
        self.variable = variable

    def execute(self) -> Any:
        return [os.environ.get(self.variable), str(Path.cwd()), BaseTask.current.variables()]


class Temporary(BaseTask):
    """Tells where its temporary files go."""

    def execute(self) -> str:
        return tempfile.gettempdir()


class LeftAlone(Around):
    """Its time limit, as it knows it."""

    def execute(self) -> Any:
        left_s = self.time_left_s()
        return None if left_s is None else round(left_s)


class ByValue(BaseTask):
    """Fails, and tells its client why in bytes, unless these are too many, or cannot be made."""

    def __init__(self, how: str) -> None:
        self.how = how

    def execute(self) -> Any:
        if self.how == "told":
            return BaseTask.current.by_value
        raise KeyError(self.how)

    @classmethod
    def failure(cls, error: BaseException) -> bytes:
        how: str = error.args[0]
        if how == "raise":
            raise SystemExit("cannot be pickled")
        return bytes(2 << 20) if how == "large" else how.encode()


def double(value: int) -> int:
    """A function to be named."""
    return 2 * value


NOT_A_FUNCTION = 7


class Waiting(BaseTask):
    """Waits for a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def execute(self) -> None:
        while not Path(self.path).exists():
            time.sleep(0.01)


class Napping(BaseTask):
    """Takes its time."""

    def __init__(self, nap_s: float) -> None:
        self.nap_s = nap_s

    def execute(self) -> None:
        time.sleep(self.nap_s)
