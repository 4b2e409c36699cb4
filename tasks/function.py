"""A call of a Python function: what the Executor submits, and ``cyclone submit --class`` does by name.

    FunctionTask("math:factorial", [5])

By reference, as here, the function is named ``module:name``; it must be one that the controller may execute
(``[processing] task_modules``), and arguments and result are msgpack values. By value, where the job says so and the
controller allows it, the function and what is not plain come pickled: see ``cyclone.client.byvalue``.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from cyclone import BaseTask
from cyclone.client import byvalue
from cyclone.errors import ClassRefused
from cyclone.task import Executable


class FunctionTask(BaseTask):
    """``function`` is ``module:name``; ``args`` and ``kwargs`` are what it is called with."""

    def __init__(self, function: str | bytes, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs

    @classmethod
    def prepared(cls, shared: tuple[Any, ...]) -> Callable[..., Executable]:
        """Look the function up once for a job; by value, open it once."""
        if not shared:
            return cls
        if isinstance(shared[0], bytes):
            if not BaseTask.current.by_value:
                raise ClassRefused("a function by value in a job that is not by value")
            return byvalue.caller(shared[0])
        return partial(_Call, BaseTask.current.load(shared[0]), *shared[1:])

    @classmethod
    def failure(cls, error: BaseException) -> bytes:
        """The exception itself."""
        return byvalue.dumps(error)

    def execute(self) -> Any:
        """What the function returns."""
        assert isinstance(self.function, str)
        return _Call(BaseTask.current.load(self.function), self.args, self.kwargs).execute()


class _Call(msgspec.Struct, gc=False):
    """A struct, because a million of them are made in a second: its constructor is no Python code."""

    function: Callable[..., Any]
    args: Sequence[Any] = ()
    kwargs: dict[str, Any] | None = None

    def execute(self) -> Any:
        if self.kwargs:
            return self.function(*self.args, **self.kwargs)
        return self.function(*self.args)
