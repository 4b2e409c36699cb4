"""What a command line of ``cyclone submit`` would submit, and the tasks that workers make of it."""

from typing import Any

from cyclone.cli import parsing
from cyclone.cli.submit import asked_for
from cyclone.cli.submit_plan import Plan, make_plan
from cyclone.plugins import load_class
from cyclone.task import BaseTask
from cyclone.values import decode_properties


def plan(*words: str) -> Plan:
    """Of these words behind the verb."""
    return make_plan(asked_for(parsing.parser(["submit"]).parse_args(["submit", *words])))


def tasks(made: Plan) -> list[BaseTask]:
    """What a worker makes of it."""
    task_class = load_class(made.spec.task_class, BaseTask)
    shared = decode_properties(made.spec.shared) if made.spec.shared else ()
    return [task_class(*shared, *decode_properties(packed)) for packed in made.tasks() if packed]


def properties(made: Plan, *names: str) -> list[Any]:
    """These of each task."""
    return [tuple(getattr(task, name) for name in names) for task in tasks(made)]
