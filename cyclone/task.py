"""BaseTask: constructor properties in, result out; how a task is named and serialised.

Users derive from ``BaseTask``. This module knows how such a class is taken apart in the generator (``TaskSerialiser``)
and put together in a worker; it knows no socket and no process.
"""

import functools
import logging
import operator
import sys
from collections.abc import Callable, Iterator, Sized
from itertools import islice
from types import ModuleType
from typing import Any, ClassVar, Protocol, TypeVar, overload

from cyclone.errors import NotSerialisable, PluginError
from cyclone.plugins import class_path
from cyclone.protocol.limits import NAME_CHARS_MAX, VALUE_BYTES_MAX
from cyclone.task_context import TaskContext
from cyclone.values import SCALARS, encode, encode_properties, pack

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS_ATTRIBUTE = "__cyclone_options__"
# Of a thousand million tasks two are taken for one with a probability of 10^-21.
_IDENTITY_BYTES = 16


class Executable(Protocol):
    """What ``BaseTask.prepared`` may make instead of tasks."""

    def execute(self) -> Any:
        """Do the work and return the result."""


class _TaskLogger(logging.LoggerAdapter[logging.Logger]):
    """Puts the task's id in front of each line."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return f"task={BaseTask.current.task_id} {msg}", kwargs


class _FromContext:
    """A read-only attribute that a constructor property of the same name may hide, unlike a ``property``."""

    def __init__(self, read: Callable[[TaskContext], Any], doc: str) -> None:
        self._read = read
        self.__doc__ = doc

    def __get__(self, instance: object, owner: type) -> Any:
        return self if instance is None else self._read(BaseTask.current)


class BaseTask:
    """One unit of work. Derive from it, take what ``execute`` needs in the constructor, and return the result.

    >>> class Square(BaseTask):
    ...     def __init__(self, number):
    ...         self.number = number
    ...     def execute(self):
    ...         return self.number**2
    >>> Square(3).execute()
    9

    Each constructor parameter must be assigned to ``self`` under its own name: it is serialised by value from there. An
    exception in ``execute`` is a failure with its traceback; what it returns, any msgpack value, is the result.
    """

    time_limit_s: float | None = None
    """Seconds of ``execute`` after which the task's process group is ended and the result is *timed_out*; None for no
    limit. What comes before, such as ``setup``, has a limit of its node's: ``[processing] setup_limit``."""

    retries: int | None = None
    """How often it is tried again after a failure or a time-out; None for what ``[tasks]`` of the file says."""

    retry_delay_s: float | None = None
    """Seconds before the first retry; each further one waits twice as long. None for what ``[tasks]`` says."""

    retry_on: tuple[type[BaseException] | str, ...] | None = None
    """Exceptions that are worth a retry, with those derived from them, or "TaskTimedOut"; empty for all. None for what
    ``[tasks]`` says."""

    exclusive: bool = False
    """Whether no attempt may run while an earlier one might: then a lost controller's lease has to run out first."""

    current: ClassVar[TaskContext] = TaskContext()
    """The context of the task that this process is executing."""

    log: ClassVar[_TaskLogger] = _TaskLogger(logging.getLogger("cyclone.task"), {})
    """A logger whose lines carry the task's id."""

    task_id = _FromContext(lambda context: context.task_id, "The task's id, 0 outside a worker.")
    attempt = _FromContext(lambda context: context.attempt, "1 for the first lease of this task, rising with each.")
    scratch_dir = _FromContext(
        lambda context: context.scratch_dir(), "A Path to a private folder, removed after the task."
    )

    def time_left_s(self) -> float | None:
        """Seconds until this task's time limit, None without one."""
        return BaseTask.current.time_left_s()

    def record(self, name: str, /, **fields: Any) -> None:
        """Make a record for the sinks: the database proxy and the Pushgateway client take those whose name they know.

        It travels with the result of this attempt, and counts when that does: once, whatever is killed meanwhile. The
        fields are msgpack values, and all records of a task together take 2 MiB at most. Raises ValueError where that
        is not so, and for a name that is none.
        """
        # Checked here, because the worker could not even say what is wrong with it.
        if type(name) is not str or not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable():
            raise ValueError(f"{name!r} is no name of a record: it has 1 to {NAME_CHARS_MAX} printable characters")
        try:
            packed = encode(fields)
        except NotSerialisable as error:
            raise ValueError(f"the record {name!r} {error}") from None
        BaseTask.current.record(name, packed)

    def key(self) -> str | bytes | None:
        """What this task is the same as another by, among those of its class; None, the default, for nothing.

        Of tasks with the same key only the first is added, however often they are made; text counts as its UTF-8. It is
        asked for once, in the generator, and costs the master an index entry for each task that has one.
        """
        return None

    def setup(self) -> None:
        """Prepare what ``execute`` needs. Called before it where a class defines it; an exception here is a
        *setup_failed*, which says that the work itself has not begun. The time limit counts from its end.
        """

    @classmethod
    def prepared(cls, shared: tuple[Any, ...]) -> "Callable[..., Executable]":
        """What makes the tasks of a job, each of its own properties, in order. Called once by each worker for a job.

        ``shared`` are the first properties, which all tasks of the job have in common, () for none; they are put in
        front of the others. A class may open here what all its tasks use, or return something that is made faster than
        an instance: of what it makes only ``execute`` is called, and ``setup`` where the class defines that. Here
        ``BaseTask.current`` knows the job, and ``current.load`` which functions may be executed. An exception is a
        *setup_failed* of the task at hand, and the next one tries again.
        """
        build = builder(cls)
        return functools.partial(build, *shared) if shared else build

    @classmethod
    def failure(cls, error: BaseException) -> bytes:
        """What a client that submitted by value gets of an error besides its text; it alone opens these bytes.

        Asked for in jobs by value only. Where it raises, or gives too much, the text has to do.
        """
        return b""

    def execute(self) -> Any:
        """Do the work and return the result."""
        raise NotImplementedError(f"{type(self).__name__} does not define execute()")


class TaskSerialiser:
    """How instances of one task class are taken apart: made once per class, used for each task.

    ``identity`` makes the 16 bytes that stand for a task's class and key, or none where it has no key; it is None for a
    class that does not define ``key``.
    """

    def __init__(self, task_class: type[BaseTask]) -> None:
        if not issubclass(task_class, BaseTask):
            raise PluginError(f"{task_class.__qualname__} is not a subclass of BaseTask")
        self.task_class = task_class
        self.path = class_path(task_class)
        self.names = property_names(task_class)
        self._get: Callable[[BaseTask], Any] = operator.attrgetter(*self.names) if self.names else lambda task: ()
        self._single = len(self.names) == 1
        # Where BaseTask has an attribute of that name, attrgetter would find it instead of a property not assigned.
        inherited = tuple(name for name in self.names if name in vars(BaseTask))
        if inherited:
            self._get = _assigned_first(self._get, inherited)
        self.identity = _identity(task_class, self.path)

    def arguments(self, task: BaseTask) -> bytes:
        """The constructor properties as a msgpack array. Raises NotSerialisable, PluginError."""
        try:
            found = self._get(task)
        except AttributeError as error:
            missing = next((name for name in self.names if not hasattr(task, name)), error.name)
            raise PluginError(
                f"{self.path}: the constructor does not assign its parameter {missing!r} to self.{missing}; "
                "workers get each property from there"
            ) from None
        properties = (found,) if self._single else found
        # Nearly all properties are plain: a million tasks a second come this way, so it makes no call of its own.
        for value in properties:
            if type(value) not in SCALARS:
                break
        else:
            try:
                packed = pack(properties)
                if len(packed) <= VALUE_BYTES_MAX:
                    return packed
            except (OverflowError, ValueError):
                pass  # encode_properties finds the one to blame, or packs text that is not valid Unicode
        try:
            return encode_properties(self.names, properties)
        except NotSerialisable as error:
            raise type(error)(f"{self.path}: {error}") from None

    def take_alike(
        self,
        first: BaseTask,
        tasks: Iterator[Any],
        column: list[bytes],
        count: int,
        bytes_max: int,
        asked: Sized,
    ) -> tuple[list[Any], int]:
        """Append the arguments of the next tasks to a column while they are like the first: of this very class, with
        the same time limit. Ends after so many, before so many bytes, and behind a task when ``asked`` is not empty.

        Each is taken apart before the next is asked for: what yields them may go on to change them. What was taken and
        not appended, one task at most, and the size of what was. Raises what ``tasks`` raises, and as ``arguments``.
        """
        # A million tasks a second come this way: no call of our own, no attribute of ours; 190 ns with one property.
        task_class, limit_s, get, single, scalars = type(first), first.time_limit_s, self._get, self._single, SCALARS
        append, pack_plain, arguments = column.append, pack, self.arguments
        size = 0
        for task in islice(tasks, count):
            if type(task) is not task_class or task.time_limit_s is not limit_s:
                return [task], size
            try:
                if single:
                    value = get(task)
                    packed = pack_plain((value,)) if type(value) in scalars else arguments(task)
                else:
                    properties = get(task)
                    for value in properties:
                        if type(value) not in scalars:
                            packed = arguments(task)
                            break
                    else:
                        packed = pack_plain(properties)
            except (AttributeError, OverflowError, ValueError):
                packed = arguments(task)
            size += len(packed)
            if size > bytes_max:
                return [task], size - len(packed)
            append(packed)
            if asked:
                break
        return [], size


def _identity(task_class: type[BaseTask], path: str) -> Callable[[BaseTask], bytes] | None:
    """See ``TaskSerialiser``. What it gives raises PluginError for a key that is none."""
    key = task_class.key
    if key is BaseTask.key:
        return None
    if not callable(key):
        raise PluginError(f"{path}: key is a {type(key).__qualname__}; it must be a method that returns the key")
    from hashlib import blake2b

    prefix = path.encode() + b"\0"

    def identity(task: BaseTask) -> bytes:
        found = key(task)
        if found is None:
            return b""
        if isinstance(found, str):
            found = found.encode("utf-8", "surrogatepass")
        elif not isinstance(found, bytes):
            raise PluginError(f"{path}: key() returned a {type(found).__qualname__}; expected str, bytes or None")
        return blake2b(prefix + found, digest_size=_IDENTITY_BYTES).digest()

    return identity


def _assigned_first(get: Callable[[BaseTask], Any], names: tuple[str, ...]) -> Callable[[BaseTask], Any]:
    """``get``, with an AttributeError where one of the names is not the task's own."""

    def checked(task: BaseTask) -> Any:
        for name in names:
            if name not in vars(task):
                raise AttributeError(name=name, obj=task)
        return get(task)

    return checked


def property_names(task_class: type[BaseTask]) -> tuple[str, ...]:
    """The constructor's parameters in order; PluginError for ``*args`` and ``**kwargs``, which name no attribute."""
    import inspect

    if task_class.__init__ is object.__init__:
        return ()
    names = []
    for parameter in list(inspect.signature(task_class.__init__).parameters.values())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise PluginError(f"{class_path(task_class)}: the constructor takes {parameter}; name each property")
        names.append(parameter.name)
    return tuple(names)


def builder(task_class: type[BaseTask]) -> Callable[..., BaseTask]:
    """What makes the task of its decoded properties, in order; also for keyword-only parameters."""
    import inspect

    parameters = list(inspect.signature(task_class).parameters.values())
    positional = sum(parameter.kind is not parameter.KEYWORD_ONLY for parameter in parameters)
    if positional == len(parameters):
        return task_class
    keywords = [parameter.name for parameter in parameters[positional:]]

    def build(*properties: Any) -> BaseTask:
        if len(properties) > len(parameters):
            raise TypeError(
                f"{task_class.__qualname__} takes {len(parameters)} properties, {len(properties)} were given"
            )
        # Of those that are left out the class may have a default.
        named = dict(zip(keywords, properties[positional:], strict=False))
        return task_class(*properties[:positional], **named)

    return build


@overload
def with_options(function: F, /) -> F: ...


@overload
def with_options(**options: Any) -> Callable[[F], F]: ...


def with_options(function: F | None = None, /, **options: Any) -> F | Callable[[F], F]:
    """Say how a function is to be executed, wherever an Executor gets it; called by itself it is what it was.

    >>> @cyclone.task(time_limit="10m", retries=3)
    ... def double(number):
    ...     return 2 * number
    >>> double(1), executor.submit(double, 2).result()
    (2, 4)

    The options are those of ``Executor.options``, which overrule them; whether they are right is seen when the function
    is submitted. Raises TypeError for what no options can be put on.
    """

    def decorate(function: F) -> F:
        try:
            setattr(function, OPTIONS_ATTRIBUTE, options)
        except (AttributeError, TypeError):
            name = getattr(function, "__qualname__", None) or repr(function)
            raise TypeError(f"{name} takes no options: give them where it is submitted, by Executor.options") from None
        return function

    if function is None:
        return decorate
    if not callable(function):
        raise TypeError(f"cyclone.task takes a function, or options by name, not {function!r}")
    return decorate(function)


class _TaskModule(ModuleType):
    """This module, which as ``cyclone.task`` is also that decorator."""

    __call__ = staticmethod(with_options)


sys.modules[__name__].__class__ = _TaskModule
