"""The configuration keys of a node: what becomes of what its tasks print, and what it offers to jobs.

Owns these lines of the table, which ``config_keys.py`` joins to the others.
"""

from cyclone import config_kinds as kinds
from cyclone.config_key import CONTROLLER, Key

_OUTPUT_BYTES_MIN = 1024 * 1024

NODE_KEYS: tuple[Key, ...] = (
    Key(
        "processing",
        "stdout_max_bytes",
        kinds.size(),
        "1MiB",
        CONTROLLER,
        "How much of what a task prints is passed on, the rest is counted and discarded; 0: all of it.",
    ),
    Key(
        "processing",
        "output",
        kinds.choice("keep", "log", "both"),
        "keep",
        CONTROLLER,
        "Where what tasks print goes: keep (for cyclone logs), log (the controller's), or both.",
    ),
    Key(
        "processing",
        "output_max",
        kinds.size(_OUTPUT_BYTES_MIN),
        "1GiB",
        CONTROLLER,
        "How much of it is kept on the node's disk, the oldest goes first; 0: no limit.",
    ),
    Key(
        "processing",
        "namespaces",
        kinds.LABELS,
        "",
        CONTROLLER,
        "The only namespaces whose jobs are executed here; empty: all.",
    ),
    Key(
        "processing",
        "labels",
        kinds.LABELS,
        "",
        CONTROLLER,
        "What jobs may ask of a node by name, such as gpu, rack:7.",
    ),
    Key(
        "processing",
        "resources",
        kinds.AMOUNTS,
        "",
        CONTROLLER,
        "Named amounts that the tasks here share, such as licence:2; a job says how much of each a task takes.",
    ),
    Key(
        "processing",
        "memory",
        kinds.MEMORY,
        None,
        CONTROLLER,
        "Memory that tasks share of which their jobs say how much they take; by default, or auto, what the host or the "
        "control group has; none: nobody counts.",
    ),
    Key(
        "processing",
        "by_value",
        kinds.SWITCH,
        "no",
        CONTROLLER,
        "Whether jobs are executed whose functions come as pickled code: whoever may submit then runs any code here.",
    ),
)
