"""An Lfs that answers in this process, for tests of what its callers make of the answers; and tasks run by hand."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cyclone import BaseTask, values
from cyclone.lustre.lfs import Layout, Lfs, LfsError, Reason
from cyclone.task_context import TaskContext
from tests.support.drive import rebuilt

Answer = Any
"""What a call returns, or the exception that it raises; a list has one for each call, the last one for all others."""


class AnsweringLfs(Lfs):
    """Each method has its answers by name; ``calls`` are the methods with their arguments.

    ``set_stripe`` creates the file, as lfs does, where its answer is None or an index: that of the OST it lands on.
    """

    def __init__(self, **answers: Answer) -> None:
        super().__init__()
        self.answers = answers
        self.calls: list[tuple[Any, ...]] = []
        self.made: list[tuple[Any, ...]] = []

    def of(self) -> Callable[..., Lfs]:
        """What stands in for the class."""

        def make(lfs_bin: str = "lfs", sudo: bool = False, timeout_s: float = 60.0) -> Lfs:
            self.made.append((lfs_bin, sudo, timeout_s))
            return self

        return make

    def run(self, arguments: Any, timeout_s: float | None = None) -> str:
        """Nothing is run."""
        raise AssertionError(f"no test has an answer to {arguments}")

    def check_osts(self, target: str) -> dict[int, str]:
        return self._answer("check_osts", target)  # type: ignore[no-any-return]

    def layout(self, path: str) -> Layout:
        return self._answer("layout", path)  # type: ignore[no-any-return]

    def set_stripe(self, path: str, ost_index: int, stripe_count: int = 1) -> None:
        self._answer("set_stripe", path, ost_index)
        with open(path, "xb"):
            pass

    def migrate(self, path: str, ost_index: int, **options: Any) -> None:
        self._answer("migrate", path, ost_index, options)

    def dir_mdt_index(self, path: str) -> int:
        return self._answer("dir_mdt_index", path)  # type: ignore[no-any-return]

    def fid_to_path(self, fs_path: str, fid: str) -> str:
        return self._answer("fid_to_path", fs_path, fid)  # type: ignore[no-any-return]

    def _answer(self, name: str, *arguments: Any) -> Any:
        self.calls.append((name, *arguments))
        answer = self.answers.get(name)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer(*arguments)
        if isinstance(answer, Exception):
            raise answer
        return answer


def on(*indices: int, **more: Any) -> Layout:
    """A plain layout on these OSTs."""
    return Layout(**{"stripe_count": len(indices), "ost_indices": indices, **more})


def refusal(reason: str, text: str = "lfs said no") -> LfsError:
    """What Lfs raises."""
    return LfsError(text, reason=Reason(reason))


@contextmanager
def recording() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The records that tasks make meanwhile, with their fields."""
    context, before = TaskContext(), BaseTask.current
    found: list[tuple[str, dict[str, Any]]] = []
    BaseTask.current = context
    try:
        yield found
    finally:
        BaseTask.current = before
        found += [(name, values.decode(packed)) for name, packed in context.records]


def executed(task: BaseTask) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
    """What a task returns or raises when a worker runs it, and its records."""
    with recording() as records:
        try:
            value = rebuilt(task).execute()
        except Exception as error:
            value = error
    return value, records


def files(folder: Path) -> list[str]:
    """The names in a folder."""
    return sorted(path.name for path in folder.iterdir())
