"""Functions, arguments, results and exceptions by value: the one place where anything is pickled, or unpickled.

Owns how a call and its result stand on the wire where both ends have switched this on: what msgpack has an exact form
for travels plain, everything else as a pickle, in a msgpack byte string; a byte string is therefore always a pickle.
Opened only in a worker, for jobs that say ``by_value`` and where the controller allows them, and in the client that
submitted: whoever opens such bytes executes what they say.

pickle takes what can be imported at the other end; cloudpickle, which need not be installed, the rest: lambdas,
functions inside of others, and whatever is defined in ``__main__``.
"""

import functools
import io
import pickle
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from cyclone.client import uses
from cyclone.client.byreference import function_path
from cyclone.errors import NotSerialisable
from cyclone.task import OPTIONS_ATTRIBUTE
from cyclone.values import decode, pack

PLAIN = frozenset({type(None), bool, int, float, str})
"""Types that travel as they are; but for an int of more than 64 bits, and text that is not valid Unicode."""

_PROTOCOL = 5
# Another process has another one.
_MAIN = b"__main__"
# Of what it cannot pickle the standard library says so in one of these three ways.
_MISTAKES = (pickle.PicklingError, AttributeError, TypeError)
_CACHED = type(functools.cache(len))
_INT_MIN, _INT_END = -(1 << 63), 1 << 64


class _CannotBeSentError(Exception):
    """Why."""


def dumps(value: Any) -> bytes:
    """The pickle of anything. Raises NotSerialisable, and what the value's own ``__reduce__`` raises."""
    try:
        return _dumps(value)
    except _CannotBeSentError as error:
        raise NotSerialisable(f"{_name(value)} cannot be sent: {_blame(value, str(error))}") from None


def _why(value: Any) -> str:
    """Why it cannot be sent, '' where it can."""
    try:
        _dumps(value)
    except _CannotBeSentError as error:
        return str(error)
    return ""


def _blame(value: Any, reason: str) -> str:
    # Without cloudpickle it may be what is missing.
    return uses.blame(value, _why, reason) if _cloudpickle() else reason


def _dumps(value: Any) -> bytes:
    try:
        pickled = pickle.dumps(value, _PROTOCOL)
        if _MAIN not in pickled or _is_importable(value):
            return pickled
        reason = "it is, or holds, something that is defined in __main__, which workers cannot import"
    except _MISTAKES as error:
        reason = str(error)
    cloudpickle = _cloudpickle()
    if cloudpickle is None:
        raise _CannotBeSentError(
            f"{reason}; put it into a module of its own, or install cloudpickle (pip install 'cyclone[all]') here and "
            "where the workers run"
        )
    buffer = io.BytesIO()
    try:
        _thorough(cloudpickle)(buffer, _PROTOCOL).dump(value)
    except _MISTAKES as error:
        raise _CannotBeSentError(str(error)) from None
    return buffer.getvalue()


def loads(pickled: bytes) -> Any:
    """What was pickled. Executes what the bytes say: see the module. Raises anything."""
    return pickle.loads(pickled)  # noqa: S301 - both ends have switched it on


def pack_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """A call as the properties of a task: its plain arguments as they are, or a pickle of all. Raises as ``dumps``."""
    if not kwargs:
        for value in args:
            if type(value) not in PLAIN:
                break
        else:
            try:
                return pack(args)
            except (OverflowError, ValueError):
                pass  # pickle takes it
    try:
        return pack((_dumps((args, kwargs)),))
    except _CannotBeSentError as error:
        raise _blamed(args, kwargs, str(error)) from None


def _blamed(args: tuple[Any, ...], kwargs: dict[str, Any], reason: str) -> NotSerialisable:
    """The one of the arguments that cannot be sent."""
    named = (*((f"argument {place}", value) for place, value in enumerate(args, 1)),)
    for what, value in (*named, *((f"argument {name!r}", value) for name, value in kwargs.items())):
        if why := _why(value):
            return NotSerialisable(f"{what}, a {type(value).__qualname__}, cannot be sent: {_blame(value, why)}")
    return NotSerialisable(f"the arguments cannot be sent: {reason}")


def pack_arguments(args: tuple[Any, ...]) -> bytes:
    """The same for positional arguments alone: 100,000 of them a second and more."""
    for value in args:
        if type(value) not in PLAIN:
            return pack_call(args, {})
    try:
        return pack(args)
    except (OverflowError, ValueError):
        return pack_call(args, {})


def pack_function(function: Callable[..., Any]) -> bytes:
    """What all tasks of a job share: the function."""
    return pack((dumps(function),))


NO_FUNCTION = pack((b"",))
"""What they share where each task brings its own, by ``pack_whole_call``."""


def pack_whole_call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """A call with its function as it is at this moment, as the properties of a task."""
    try:
        return pack((_dumps((function, args, kwargs)),))
    except _CannotBeSentError as error:
        dumps(function)
        raise _blamed(args, kwargs, str(error)) from None


Stamp = tuple[tuple[dict[str, Any], str, object], ...]
"""What a function depends on besides itself: names in dicts, and what they meant when it was pickled."""


def stamp(function: Callable[..., Any]) -> Stamp | None:
    """Of a function that may be pickled once for many calls; None where only a pickle made for each call is right."""
    if function_path(function):
        # Workers import it.
        return ()
    found: dict[tuple[int, str], tuple[dict[str, Any], str, object]] = {}
    return tuple(found.values()) if _collect(function, found) else None


def is_unchanged(found: Stamp) -> bool:
    """Whether all names mean what they meant."""
    return not found or all(names.get(name) is value for names, name, value in found)


def _collect(function: object, found: dict[tuple[int, str], tuple[dict[str, Any], str, object]]) -> bool:
    """Add what a function of ``__main__`` uses; False where something of it may change without a trace."""
    if not isinstance(function, FunctionType) or function.__closure__ or set(function.__dict__) - {OPTIONS_ATTRIBUTE}:
        return False
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    if not all(type(value) in PLAIN for value in defaults):
        return False
    names = function.__globals__
    for name in uses.names(function.__code__):
        if name not in names or (id(names), name) in found:
            continue
        value = found[id(names), name] = names, name, names[name]
        constant = type(value[2]) in PLAIN or isinstance(value[2], ModuleType) or function_path(value[2])
        if not constant and not _collect(value[2], found):
            return False
    return True


class Caller:
    """In a worker: makes of properties what executes the call. It is the same object each time, for speed."""

    __slots__ = ("_function", "_properties")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._properties: tuple[Any, ...] = ()

    def __call__(self, *properties: Any) -> "Caller":
        self._properties = properties
        return self

    def execute(self) -> Any:
        """The result, in a form that msgpack has: a million times a second where nothing is pickled."""
        properties, self._properties = self._properties, ()
        if properties and type(properties[0]) is bytes:
            result = self._opened(properties[0])
        else:
            result = self._function(*properties)
        kind = type(result)
        if kind in PLAIN and (kind is not int or _INT_MIN <= result < _INT_END):
            return result
        try:
            return _dumps(result)
        except _CannotBeSentError as error:
            # What it is of, the worker says.
            raise NotSerialisable(f"cannot be sent: {error}") from None

    def _opened(self, pickled: bytes) -> Any:
        args, kwargs = loads(pickled)
        return self._function(*args, **kwargs)


class _WholeCaller(Caller):
    """Of calls that bring their function along, see ``pack_whole_call``."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(_brought_by_each)

    def _opened(self, pickled: bytes) -> Any:
        function, args, kwargs = loads(pickled)
        return function(*args, **kwargs)


def _brought_by_each(*_: Any) -> Any:
    raise TypeError("a call without a function in a job whose calls bring theirs along")


def caller(pickled: bytes) -> Caller:
    """What makes the tasks of a job whose function this is; see ``pack_function``."""
    return Caller(loads(pickled)) if pickled else _WholeCaller()


def read_values(values: list[bytes]) -> list[Any]:
    """Results, as they were returned. Raises anything, as ``loads`` does."""
    found = list(map(decode, values))
    if bytes in set(map(type, found)):
        return [loads(value) if type(value) is bytes else value for value in found]
    return found


class _Importable(pickle.Pickler):
    """Refuses what another process would look for in its own ``__main__``."""

    def reducer_override(self, value: Any) -> Any:
        if getattr(value, "__module__", None) == "__main__":
            raise pickle.PicklingError
        return NotImplemented


def _is_importable(value: Any) -> bool:
    """Whether a pickle that has that name in it has it in its data alone."""
    try:
        _Importable(io.BytesIO(), _PROTOCOL).dump(value)
    except pickle.PicklingError:
        return False
    return True


@functools.cache
def _thorough(cloudpickle: ModuleType) -> type[pickle.Pickler]:
    """A pickler that also takes what the standard library makes of functions, where these go by value."""

    class Thorough(cloudpickle.Pickler):  # type: ignore[misc, name-defined]
        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, _CACHED) and function_path(value) is None:
                return _cached_anew, (value.__wrapped__, value.cache_parameters())
            if type(value) is functools.cached_property:
                return _property_anew, (value.func, value.attrname)
            return super().reducer_override(value)

    return Thorough


def _cached_anew(function: Callable[..., Any], parameters: dict[str, Any]) -> Callable[..., Any]:
    cached: Callable[..., Any] = functools.lru_cache(**parameters)(function)
    return cached


def _property_anew(function: Callable[[Any], Any], name: str | None) -> "functools.cached_property[Any]":
    made = functools.cached_property(function)
    made.attrname = name
    return made


def _cloudpickle() -> ModuleType | None:
    try:
        import cloudpickle  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        return None
    module: ModuleType = cloudpickle
    return module


def _name(value: Any) -> str:
    return str(getattr(value, "__qualname__", None) or type(value).__qualname__)
