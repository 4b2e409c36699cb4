"""The configuration keys that concern what clients submit: who may, how namespaces share, what classes of service are.

Owns these lines of the table, which ``config_keys.py`` joins to the others.
"""

from cyclone import config_kinds as kinds
from cyclone.config_key import Key, Role

_MASTER: tuple[Role, ...] = ("master",)

JOB_KEYS: tuple[Key, ...] = (
    Key(
        "clients",
        "submit",
        kinds.choice("auto", "yes", "no"),
        "auto",
        _MASTER,
        "Whether clients may submit jobs; auto: where keys are in use, or a socket file. Without either "
        "anyone on the host could run commands as the controllers' user.",
    ),
    Key(
        "clients",
        "namespaces",
        kinds.WEIGHTS,
        "",
        _MASTER,
        "Namespaces that are made at the start if they are not there, each with its weight in the fair share.",
    ),
    Key(
        "clients",
        "qos",
        kinds.QOS,
        "",
        _MASTER,
        "Classes of service, each a priority and a weight, besides low, normal, high and urgent, or in their place.",
    ),
    Key(
        "clients",
        "jobs_max",
        kinds.integer(0, 1_000_000_000),
        "100000",
        _MASTER,
        "Open jobs that each namespace may have which the configuration makes, default too; 0: any number.",
    ),
    Key(
        "clients",
        "tasks_max",
        kinds.integer(0, 1_000_000_000),
        "0",
        _MASTER,
        "Open tasks that each namespace may have which the configuration makes, default too; 0: any number.",
    ),
    Key(
        "clients",
        "abandon",
        kinds.duration(0.0),
        "1d",
        _MASTER,
        "A job that may get more tasks ends with those that it has, when no client of its owner has said anything of "
        "it for so long; 0: it waits for ever.",
    ),
    Key(
        "clients",
        "memory_max",
        kinds.size(1 << 20),
        "256MiB",
        _MASTER,
        "Without a journal, how much of the results of submitted jobs is kept for their clients; the oldest go first.",
    ),
)
