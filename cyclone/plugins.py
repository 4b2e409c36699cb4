"""From ``module:Class`` to the class, with a message that says what was looked for and where.

Generator, worker and master all find user modules alike: in the configuration file's folder, the working directory and
``PYTHONPATH``, in this order. Owns nothing; imports what it is asked for, so only a generator or a worker process may
call ``load_class``: user code never runs in the master or the controller.
"""

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from cyclone.errors import ClassRefused, PluginError

T = TypeVar("T")

ANY_MODULE = "*"
# Names that Python gives to its own attributes, such as __class__, and __main__, are no part of a class's path.
_DOTTED = r"(?!__)[^\W\d]\w*(?:\.(?!__)[^\W\d]\w*)*"
_PATH = re.compile(rf"({_DOTTED}):{_DOTTED}")


def class_path(cls: type) -> str:
    """``module:Class`` of a class; PluginError where another process could not find it under that name."""
    if "<locals>" in cls.__qualname__:
        raise PluginError(
            f"{cls.__qualname__} is defined inside a function: move it to the top of its module, "
            "workers import it by name"
        )
    if cls.__module__ == "__main__":
        raise PluginError(
            f"{cls.__qualname__} is defined in __main__: put it in a module of its own, workers import it by name"
        )
    module = sys.modules.get(cls.__module__)
    if module is not None and _member(module, cls.__qualname__) is not cls:
        raise PluginError(
            f"{cls.__module__}:{cls.__qualname__} is not what its module calls by this name; workers import it by name"
        )
    return f"{cls.__module__}:{cls.__qualname__}"


def split_path(path: str, default_class: str = "") -> tuple[str, str]:
    """The module and class of ``module:Class``, or of a bare module with its class given elsewhere."""
    module, _, name = path.partition(":")
    if not module or not (name or default_class):
        raise PluginError(f"{path!r} does not name a class: write module:Class")
    return module, name or default_class


def add_search_path(*folders: str) -> None:
    """Put folders in front of the import path, in the order given, each once."""
    for folder in reversed(folders):
        absolute = str(Path(folder).resolve())
        if absolute in sys.path:
            sys.path.remove(absolute)
        sys.path.insert(0, absolute)


def load_class(path: str, base: type[T]) -> type[T]:
    """Import ``module:Class`` and check that it is a subclass of ``base``. Raises PluginError."""
    module_name, class_name = split_path(path)
    module = _load_module(module_name)
    found = _member(module, class_name)
    if found is None:
        raise PluginError(
            f"module {module_name!r} ({_file(module)}) has no class {class_name!r}; {_offer(module, base)}"
        )
    if not (isinstance(found, type) and issubclass(found, base) and found is not base):
        raise ClassRefused(f"{path} is not a subclass of {base.__name__}")
    return found


def load_allowed_class(path: str, base: type[T], modules: Sequence[str]) -> type[T]:
    """``load_class`` for a path that somebody else has named: only of modules under one of these dotted prefixes.

    Raises ClassRefused before anything is imported where the path is none of an allowed module; a class that such a
    module has only imported from elsewhere is refused too.
    """
    found = _PATH.fullmatch(path)
    if not found:
        raise ClassRefused(f"{path!r} is not the path of a class that can be executed: that is module:Class")
    _require_allowed(path, found[1], modules)
    cls = load_class(path, base)
    _require_allowed(path, cls.__module__, modules)
    return cls


def load_allowed(path: str, modules: Sequence[str]) -> Callable[..., Any]:
    """Import ``module:name`` of anything that can be called, under the rules of ``load_allowed_class``.

    What was made elsewhere counts for the module where it was made: a function by its own, another object by that of
    its class. Raises ClassRefused, PluginError.
    """
    parts = _PATH.fullmatch(path)
    if not parts:
        raise ClassRefused(f"{path!r} is not the path of a function that can be executed: that is module:name")
    _require_allowed(path, parts[1], modules)
    module = _load_module(parts[1])
    found = _member(module, path.partition(":")[2])
    if found is None:
        raise PluginError(f"module {module.__name__!r} ({_file(module)}) has no {path.partition(':')[2]!r}")
    if not callable(found):
        raise ClassRefused(f"{path} is a {type(found).__qualname__}, which cannot be called")
    _require_allowed(path, getattr(found, "__module__", None) or parts[1], modules)
    return found


def _require_allowed(path: str, module: str, modules: Sequence[str]) -> None:
    if any(allowed == ANY_MODULE or f"{module}.".startswith(f"{allowed}.") for allowed in modules):
        return
    line = ", ".join([*modules, module.partition(".")[0]])
    raise ClassRefused(
        f"{path} may not be executed here: its module {module} is not one of task_modules; "
        f"the line that allows it, in this controller's configuration, is [processing] task_modules = {line}"
    )


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise PluginError(f"{name} cannot be imported, it needs {error.name}: {error}") from error
        looked = ", ".join(folder or "." for folder in sys.path)
        raise PluginError(f"no module {name!r}; looked in {looked}") from error
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{name} raised {type(error).__name__} while it was imported: {error}{_place(error)}"
        ) from error


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "built in"


def _place(error: BaseException) -> str:
    """Where in the user's code an import failed; empty where the message says it, as that of a SyntaxError does."""
    import traceback

    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    # The first two frames that remain are this module's and importlib's.
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if len(frames) > 2 else ""


def _member(module: ModuleType, qualified_name: str) -> object:
    """What a module calls by a name such as ``Outer.Inner``, None where there is nothing."""
    found: object = module
    for part in qualified_name.split("."):
        # Only a class is a way to another one: what a module has imported is not its own.
        found = getattr(found, part, None) if found is module or isinstance(found, type) else None
    return found


def _offer(module: ModuleType, base: type) -> str:
    """What might have been meant."""
    classes = {name: item for name, item in vars(module).items() if isinstance(item, type) and issubclass(item, base)}
    names = sorted(name for name, item in classes.items() if item is not base)
    return f"it has {', '.join(names)}" if names else f"it has no subclass of {base.__name__}"
