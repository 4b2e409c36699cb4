"""The configuration keys of a node: how long it prepares a task, what becomes of what its tasks print, and what it
offers to jobs.

Owns these lines of the table, which ``config_keys.py`` joins to the others, and says why some that are looked for are
none.
"""

from collections.abc import Mapping

from cyclone import config_kinds as kinds
from cyclone.config_key import CONTROLLER, Key

_OUTPUT_BYTES_MIN = 1024 * 1024

NODE_KEYS: tuple[Key, ...] = (
    Key(
        "processing",
        "setup_limit",
        kinds.duration(0),
        "10m",
        CONTROLLER,
        "Longest preparation of a task, which its time limit does not count: its setup, what its job needs; 0s: none.",
    ),
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
        kinds.choice("keep", "log", "both", "inherit"),
        "keep",
        CONTROLLER,
        "Where what tasks print goes: keep (for cyclone logs), log (the controller's), both, or inherit: to the "
        "controller's own standard output and error, as it is.",
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

NOT_NEEDED: Mapping[tuple[str, str], str] = {
    ("processing", "idle_wait"): (
        "a node that idles does not ask for work and so waits for nothing: the master sends tasks at once when there "
        "are any"
    ),
    ("processing", "expired_wait"): (
        "a node never gets a task that is too late or too early, and so waits for nothing behind one: the master keeps "
        "those back"
    ),
}
"""Keys that people look for who come from a system whose nodes poll, each with why there is none."""
