"""Cyclone runs very many tasks on a cluster and loses none of them. These are its public names."""

from cyclone.generator import BaseTaskGenerator
from cyclone.results import TaskResult
from cyclone.task import BaseTask
from cyclone.version import __version__

__all__ = ["BaseTask", "BaseTaskGenerator", "TaskResult", "__version__"]
