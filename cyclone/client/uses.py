"""What a function uses besides its arguments: by name, and for the message where some of that cannot be sent.

Owns how that is found. Pickles nothing: whoever asks says why a value cannot be.
"""

from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any

Why = Callable[[Any], str]
"""Why a value cannot be sent, '' where it can."""


def names(code: CodeType) -> Iterator[str]:
    """Those that may be looked up by a function with this code, and by those inside of it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names(constant)


def blame(value: Any, why: Why, reason: str) -> str:
    """``reason`` why a value cannot be sent, with what it uses that is to blame, and what that uses."""
    chain: list[str] = []
    seen = {id(value)}
    user: Any = value
    while user is not None:
        user, used = None, _used(user)
        for name, one in used:
            if id(one) not in seen and (found := why(one)):
                seen.add(id(one))
                chain.append(repr(name))
                user, reason = one, found
                break
    if not chain:
        return reason
    return f"it uses {', which uses '.join(chain)}: {reason}; put all of it into a module that workers can import"


def _used(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, MethodType):
        value = value.__func__
    # What a decorator has made of a function.
    function = value if isinstance(value, FunctionType) else getattr(value, "__wrapped__", None)
    if isinstance(value, type):
        yield from ((name, one) for name, one in vars(value).items() if not name.startswith("__"))
    elif isinstance(function, FunctionType):
        for name in names(function.__code__):
            if name in function.__globals__:
                yield name, function.__globals__[name]
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                yield name, cell.cell_contents
            except ValueError:
                # Nothing is in it yet.
                continue
