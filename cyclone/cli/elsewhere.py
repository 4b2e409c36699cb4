"""Verbs and options that people type who come from other systems, and what does the same here.

Owns these words alone: they are looked up where a verb or an option is not known, to name ours in the error. A guess
that misleads is worse than none: a word that may mean several things here has a sentence, and no verb.
"""

from collections.abc import Container, Mapping

# A verb of others, alone or with its second word, which counts for more: our command.
_COMMANDS: dict[str, str] = {
    **dict.fromkeys(("sbatch", "qsub", "bulksubmit", "apply", "bsub", "job submit"), "submit"),
    "array": "submit --array",
    **dict.fromkeys(("srun", "salloc", "exec"), "run"),
    **dict.fromkeys(("squeue", "job", "list", "ls", "qstat", "bjobs", "queue", "inspect", "jobs list"), "jobs"),
    **dict.fromkeys(("task", "sacct", "ps", "job task-ids", "tasks list"), "tasks"),
    **dict.fromkeys(("info", "scontrol", "describe", "job info", "job summary", "task info"), "show"),
    **dict.fromkeys(("scancel", "qdel", "kill", "revoke", "bkill", "rm", "abort", "delete", "job cancel"), "cancel"),
    **dict.fromkeys(("sinfo", "worker", "workers", "node", "controllers", "resource", "host", "hosts"), "nodes"),
    **dict.fromkeys(("why", "reason", "job explain", "task explain"), "explain"),
    **dict.fromkeys(("watch", "progress", "attach", "job wait", "job attach"), "wait"),
    "job progress": "wait --progress",
    **dict.fromkeys(("eventlog", "audit", "history", "job timeline", "job eventlog"), "events"),
    **dict.fromkeys(("journal stream", "journal replay"), "events -f --json"),
    **dict.fromkeys(("download", "fetch", "output-log export"), "export"),
    **dict.fromkeys(("dashboard", "htop", "live"), "top"),
    **dict.fromkeys(("server", "servers", "ping", "sdiag", "uptime", "scontrol ping"), "status"),
    **dict.fromkeys(("namespace", "partition", "ns"), "namespaces"),
    **dict.fromkeys(("result", "values"), "results"),
    **dict.fromkeys(("log", "output", "stdout", "stderr", "tail", "peek", "cat", "job cat", "output-log"), "logs"),
    **dict.fromkeys(("rerun", "retry-failed", "resubmit"), "retry"),
    **dict.fromkeys(("scontrol hold", "scontrol uhold"), "hold"),
    **dict.fromkeys(("unhold", "scontrol release"), "release"),
    "scontrol requeue": "requeue",
    "job close": "seal",
    "queue stop": "pause",
    "queue start": "resume",
    **dict.fromkeys(("worker stop", "resource drain"), "drain"),
    **dict.fromkeys(("undrain", "resource undrain"), "drain --undo"),
    "man": "manual",
    "generate-completion": "completion",
}
_MASTER = "`cyclone-master -f FILE` starts a master"
_CONTROLLER = "`cyclone-controller -f FILE` starts the workers of a node"
_BY_SIGNAL = "a master or a controller ends by SIGTERM"
_SUSPEND = "`cyclone hold` starts no more tasks of a job; what runs goes on"
# The same where no single command of ours is meant.
_NO_COMMAND = {
    "start": f"{_MASTER}, {_CONTROLLER}; `cyclone run` needs neither",
    "server start": f"{_MASTER}; `cyclone run` needs none",
    "worker start": _CONTROLLER,
    "stop": f"`cyclone cancel` ends jobs; {_BY_SIGNAL}",
    **dict.fromkeys(("server stop", "shutdown"), _BY_SIGNAL),
    "restart": f"`cyclone retry` runs again what did not complete; {_BY_SIGNAL}",
    **dict.fromkeys(("alloc", "deploy-ssh", "worker deploy-ssh"), f"{_CONTROLLER}, also in a job of Slurm"),
    **dict.fromkeys(("suspend", "scontrol suspend"), _SUSPEND),
    "scontrol resume": "`cyclone release` lets held jobs go on, `cyclone resume` a namespace or nodes",
    "scontrol show": "`cyclone show` is for a job or a task, `cyclone nodes` for nodes",
    "scontrol update": "`cyclone drain` is for nodes, `cyclone pause` for a namespace; a job stays as it was submitted",
    **dict.fromkeys(("forget", "job forget"), "jobs go by themselves, after the --keep that they were submitted with"),
    "job open": "Client.submit(..., sealed=False) of Python makes a job that takes more tasks",
    "version": "`cyclone --version` tells it",
}

# What of ours may be meant, where the verb has it.
_OURS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("-J", "--job-name"), ("--name",)),
    **dict.fromkeys(("-j", "--jobs"), ("--parallel", "--workers", "--job")),
    **dict.fromkeys(("--max-procs", "-P", "--concurrency"), ("--parallel", "--workers")),
    "-a": ("--array", "--each-line"),
    "--arg-file": ("--each-line",),
    "--entries": ("--each-line", "--from-json"),
    **dict.fromkeys(("-0", "--null"), ("--from0",)),
    "--cc": ("--array",),
    "-W": ("--wait",),
    **dict.fromkeys(("--bar", "--eta"), ("--progress",)),
    **dict.fromkeys(("--partition", "--queue", "-A", "--account"), ("--namespace",)),
    "--cpus-per-task": ("--cpus",),
    "--mem-per-cpu": ("--mem",),
    **dict.fromkeys(("--gres", "--gpus", "-G", "-L", "--licenses"), ("--resource", "--limit")),
    **dict.fromkeys(("--time", "--timeout"), ("--time-limit",)),
    **dict.fromkeys(("-D", "--chdir", "--wd", "--workdir"), ("--cwd",)),
    "--export": ("--env", "--env-all"),
    **dict.fromkeys(("-i", "--input"), ("--stdin",)),
    "--max-retries": ("--retries",),
    "--halt": ("--max-fails",),
    "--delay": ("--wait-after-success",),
    **dict.fromkeys(("--test-only", "--simulate"), ("--dry-run",)),
    "--nice": ("--priority",),
    "-H": ("--hold",),
    "-q": ("--qos",),
    **dict.fromkeys(("-u", "--user", "--me"), ("--owner",)),
    **dict.fromkeys(("-S", "--starttime"), ("--since",)),
    "--output-mode": ("--json",),
}
# The same, but only the first that the verb has: another verb calls it otherwise.
_FIRST_OF_OURS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("-t", "--states", "--filter", "--failed"), ("--only", "--state")),
}
_SUBMITS, _LISTS_JOBS, _ASKS = "--retries", "--before", "--connect"
_OUTPUT = "what a task prints is kept: `cyclone logs` shows it, `cyclone export` writes files"
_RUNS_AGAIN = "what a lost node had always runs again; --exclusive lets no two attempts overlap"
_NOT_HERE = "there is nothing like it here"
# What is not there, for verbs that have the option before it.
_REMARKS: dict[str, dict[str, str]] = {
    _SUBMITS: {
        **dict.fromkeys(
            ("-d", "--dependency", "--deps", "--after"),
            "no job waits for another: `cyclone wait 5 && cyclone submit ...`, with 5 for the first",
        ),
        **dict.fromkeys(("-o", "--output", "-e", "--error", "--stdout", "--stderr", "--stream", "--results"), _OUTPUT),
        **dict.fromkeys(
            ("--joblog", "--resume", "--resume-failed"), "`cyclone tasks` and `cyclone retry` know it anyway"
        ),
        **dict.fromkeys(("-k", "--keep-order"), "`cyclone results` prints in order what tasks return"),
        **dict.fromkeys(("-N", "--nodes", "--ntasks"), "a task runs on one node: --array makes several tasks"),
        **dict.fromkeys(("--requeue", "--no-requeue"), _RUNS_AGAIN),
        **dict.fromkeys(("--mail-type", "--mail-user"), "nobody is mailed: `cyclone wait` ends when a job does"),
        "--directives": "lines #CYCLONE of a script are always read",
        "--pty": "a task has no terminal",
        **dict.fromkeys(("--pin", "--time-request"), _NOT_HERE),
    },
    _LISTS_JOBS: dict.fromkeys(("-a", "--all"), "all jobs are listed, the newest first, at most --limit of them"),
    _ASKS: dict.fromkeys(("-j", "--jobs"), "jobs stand alone, without an option: 5 or 1,3,5-8"),
}


def command(first: str, second: str) -> str:
    """What these first words of a command line of another system are here; '' where nothing is known of them."""
    for words in (f"{first} {second}", first):
        if words in _COMMANDS:
            return f"is `cyclone {_COMMANDS[words]}` meant?"
        if words in _NO_COMMAND:
            return _NO_COMMAND[words]
    return ""


def hint(word: str, options: Container[str]) -> str:
    """What an option of another system is here, for a verb with these; '' where nothing is known of it."""
    name = word.partition("=")[0] if word.startswith("--") else word[:2]
    ours = _known(name, _OURS, options) or _known(name, _FIRST_OF_OURS, options)[:1]
    if ours:
        return f"is {' or '.join(ours)} meant?"
    return next((said[name] for needed, said in _REMARKS.items() if needed in options and name in said), "")


def _known(name: str, ours: Mapping[str, tuple[str, ...]], options: Container[str]) -> list[str]:
    return [option for option in ours.get(name, ()) if option in options]
