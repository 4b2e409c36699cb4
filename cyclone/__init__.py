"""Cyclone runs very many tasks on a cluster and loses none of them. These are its public names.

They are imported when they are first used: a command's ``--help``, and the guardian, need none of them.
"""

from typing import TYPE_CHECKING, Any

from cyclone.version import __version__

if TYPE_CHECKING:
    from cyclone.generator import BaseTaskGenerator
    from cyclone.results import TaskResult
    from cyclone.task import BaseTask

__all__ = ["BaseTask", "BaseTaskGenerator", "TaskResult", "__version__"]

_HOMES = {
    "BaseTask": "cyclone.task",
    "BaseTaskGenerator": "cyclone.generator",
    "TaskResult": "cyclone.results",
}


def __getattr__(name: str) -> Any:
    """A public name, on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
