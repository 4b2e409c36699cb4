"""Functions by reference: a name that workers import, and arguments and results that msgpack has an exact form for.

Owns how such a call stands on the wire. Nothing of it is pickled.
"""

import sys
from collections.abc import Callable
from typing import Any

from cyclone.errors import NotSerialisable
from cyclone.values import decode, encode, encode_properties

_REMEDY = (
    "put it at the top of a module that workers can import, or send functions by value: by_value=True here, and "
    "[processing] by_value = yes for the controllers"
)


def function_path(function: object) -> str | None:
    """``module:name`` of a function or class, None where another process would not find this very one by it."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__":
        return None
    # ``operator.add`` is made in ``_operator``: people write, and allow, the former.
    for one in (module.removeprefix("_"), module):
        found: Any = sys.modules.get(one)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is function:
            return f"{one}:{name}"
    return None


def pack_function(function: Callable[..., Any]) -> bytes:
    """What all tasks of a job share: the name. Raises NotSerialisable."""
    path = function_path(function)
    if path is None:
        name = getattr(function, "__qualname__", None) or repr(function)
        raise NotSerialisable(f"{name} cannot be named to another process: {_REMEDY}")
    return encode([path])


def pack_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """A call as the properties of a task. Raises NotSerialisable."""
    try:
        return encode([args, kwargs] if kwargs else [args])
    except NotSerialisable:
        names = (*(f"argument {place}" for place in range(1, len(args) + 1)), *kwargs)
        # Finds the one to blame.
        encode_properties(names, (*args, *kwargs.values()))
        raise


def pack_arguments(args: tuple[Any, ...]) -> bytes:
    """The same for positional arguments alone."""
    return pack_call(args, {})


def read_values(values: list[bytes]) -> list[Any]:
    """Results."""
    return list(map(decode, values))
