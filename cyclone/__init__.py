"""Cyclone runs very many tasks on a cluster and loses none of them. These are its public names.

They are imported when they are first used: a command's ``--help``, and the guardian, need none of them.
"""

from typing import TYPE_CHECKING, Any

from cyclone.version import __version__

if TYPE_CHECKING:
    from cyclone.client.async_client import AsyncClient
    from cyclone.client.client import Client
    from cyclone.client.executor import Executor
    from cyclone.client.submitting import Row
    from cyclone.generator import BaseTaskGenerator
    from cyclone.protocol.job_spec import JobSelection, JobSpec
    from cyclone.results import TaskResult
    from cyclone.task import BaseTask
    from cyclone.task import with_options as task

__all__ = [
    "AsyncClient",
    "BaseTask",
    "BaseTaskGenerator",
    "Client",
    "Executor",
    "JobSelection",
    "JobSpec",
    "Row",
    "TaskResult",
    "__version__",
    "task",
]

_HOMES = {
    "AsyncClient": "cyclone.client.async_client",
    "BaseTask": "cyclone.task",
    "BaseTaskGenerator": "cyclone.generator",
    "Client": "cyclone.client.client",
    "Executor": "cyclone.client.executor",
    "JobSelection": "cyclone.protocol.job_spec",
    "JobSpec": "cyclone.protocol.job_spec",
    "Row": "cyclone.client.submitting",
    "TaskResult": "cyclone.results",
    # The module itself can be called.
    "task": "cyclone.task",
}


def __getattr__(name: str) -> Any:
    """A public name, on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    home = importlib.import_module(_HOMES[name])
    return home if name == "task" else getattr(home, name)
