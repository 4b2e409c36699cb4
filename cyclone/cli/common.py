"""What every entry point shares: options, exit codes, and from settings to what the services take.

Exit codes follow sysexits(3) where it has one.
"""

import argparse
import platform
import re
import socket
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cyclone import errors
from cyclone.cli.interrupts import Interrupted
from cyclone.errors import ConfigError, CycloneError
from cyclone.protocol import limits
from cyclone.version import __version__

if TYPE_CHECKING:
    from cyclone.config_keys import Role
    from cyclone.controller.link import Identity
    from cyclone.controller.options import AgentOptions
    from cyclone.controller.output_desk import OutputOptions
    from cyclone.controller.service import ControllerOptions
    from cyclone.master.journal import Journal
    from cyclone.master.service import MasterOptions
    from cyclone.protocol.job_spec import Namespace
    from cyclone.settings import Settings
    from cyclone.sinks.receiver import ReceiverOptions

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 69
EXIT_SOFTWARE = 70
EXIT_TEMPORARY = 75
EXIT_NOT_ALLOWED = 77
EXIT_CONFIG = 78
EXIT_TIMEOUT = 124
EXIT_INTERRUPTED = 130

_EXIT_CODES: tuple[tuple[tuple[type[CycloneError], ...], int], ...] = (
    ((errors.UsageError,), EXIT_USAGE),
    ((ConfigError, errors.PluginError), EXIT_CONFIG),
    ((errors.Unreachable,), EXIT_UNAVAILABLE),
    ((errors.NotAllowed,), EXIT_NOT_ALLOWED),
    ((errors.QuotaExceeded, errors.MasterBusy), EXIT_TEMPORARY),
)

_NO_JOBS = (
    "this master takes no jobs: make keys with 'cyclone keys init' and set [comm] keys, or, where every user of its "
    "host may run commands as its controllers do, write submit = yes in [clients]"
)
_SEVERAL_NAMES = re.compile(r"^@|[][,!&^]")


def add_version(parser: argparse.ArgumentParser) -> None:
    """``--version``."""
    parser.add_argument("-V", "--version", action="version", version=f"{parser.prog} {__version__}")


NO_CONFIG_FILE = """\
the following arguments are required: -f/--config-file
For a master and controllers on this host such a file first.conf will do:

    [clients]
    submit = yes

  cyclone-master -f first.conf
  cyclone-controller -f first.conf
"""


def add_config_options(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """``-f``, ``--set``, ``--check-config`` and ``-D``, alike everywhere."""
    parser.add_argument("-f", "--config-file", metavar="CONF", type=Path, required=required, help="configuration file")
    parser.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="overrule one value of the configuration, also of the generator's; may be repeated",
    )
    parser.add_argument(
        "--check-config", action="store_true", help="print the effective values and where each comes from, and exit"
    )
    parser.add_argument("-D", "--debug", action="store_true", help="log everything")


def positive(text: str) -> int:
    """A number of things, on a command line."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of things: write 1, 2, 3...")
    return int(text)


def names(text: str) -> list[str]:
    """One name as it is, or those of a set such as ``node[001-176]`` or ``@group``. Raises ConfigError."""
    found = [text]
    if not text or _SEVERAL_NAMES.search(text):
        from cyclone.ranges import node_set

        try:
            found = node_set(text)
        except ValueError as error:
            raise ConfigError(str(error)) from None
    for name in found:
        if len(name) > limits.NAME_CHARS_MAX:
            raise ConfigError(
                f"{name!r} is longer than a name may be: write at most {limits.NAME_CHARS_MAX} characters"
            )
    return found


def guarded(
    prog: str,
    body: Callable[[Sequence[str] | None], int],
    argv: Sequence[str] | None = None,
    say: "Callable[[str, CycloneError, int], None] | None" = None,
) -> int:
    """Run an entry point; our own errors become one line on stderr, or what ``say`` makes of them, and an exit code."""
    try:
        return body(argv)
    except CycloneError as error:
        code = exit_code(error)
        if say:
            say(prog, error, code)
        else:
            print(f"{prog}: {error}", file=sys.stderr)
        return code
    except BrokenPipeError:
        return EXIT_FAILED
    except Interrupted as interrupted:
        return interrupted.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception:
        # A mistake of ours has an exit code of its own, so that a supervisor can tell it from a refusal and start us
        # again.
        import traceback

        traceback.print_exc()
        return EXIT_SOFTWARE


def exit_code(error: CycloneError) -> int:
    """How a command ends that cannot go on for this reason."""
    return next((code for kinds, code in _EXIT_CODES if isinstance(error, kinds)), EXIT_FAILED)


def check_config(settings: "Settings") -> int:
    """``--check-config``. Raises ConfigError before anything is printed: what is refused may hold a password."""
    from cyclone.config_check import require_startable
    from cyclone.settings import explain

    require_startable(settings)
    print(explain(settings))
    from cyclone.security.policy import exposure

    if warning := exposure(settings):
        print(f"warning: {warning}", file=sys.stderr)
    return EXIT_OK


def open_journal(settings: "Settings", path: Path) -> "Journal":
    """The journal at this path, for the generator of these settings.

    Raises ConfigError where it belongs to another generator or cannot stand there, AlreadyRunning where it is in use.
    """
    from cyclone.journal import Origin, open_journal

    keep = settings.journal.keep
    origin = Origin(
        settings.task_generator.class_path, {name: dict(keys) for name, keys in settings.generator_options.items()}
    )
    return open_journal(path, origin, keep_age_s=keep.age_s, keep_tasks=keep.tasks)


def make_private_folder(folder: Path) -> Path:
    """The folder, for its owner alone where it has to be made. Raises ConfigError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"folder {folder}: cannot be made: {error.strerror}; set [control] state_dir") from None
    return folder


def state_dir(settings: "Settings") -> Path:
    """The folder of what outlives a sink, made where it is not there. Raises ConfigError."""
    if settings.control.state_dir is None:
        raise ConfigError(
            "[control] state_dir: this host names none ($STATE_DIRECTORY, $XDG_STATE_HOME, $HOME): write one"
        )
    return make_private_folder(settings.control.state_dir)


def receiver_options(settings: "Settings", name: str) -> "ReceiverOptions":
    """What a sink's receiver takes; ``name`` is what the log calls it. Raises ConfigError where it must not start."""
    from cyclone.security.gate import GateOptions
    from cyclone.security.policy import master_registry
    from cyclone.sinks.receiver import ReceiverOptions

    return ReceiverOptions(
        name=name,
        target=settings.comm.target,
        port=settings.comm.port,
        poll_timeout_s=loop_wait_s(settings),
        stop_timeout_s=settings.control.stop_timeout_s,
        gate=GateOptions(master_registry(settings), settings.comm.strike_limit),
    )


def loop_wait_s(settings: "Settings") -> float:
    """The longest that a main loop sleeps: no longer than metrics wait to be shown, where there are some."""
    wait_s = settings.comm.poll_timeout_s
    if not settings.metrics.port:
        return wait_s
    from cyclone.metrics.loop import PUBLISH_S

    return min(wait_s, PUBLISH_S)


def master_options(settings: "Settings", debug: bool, place: tuple[str, int] | None = None) -> "MasterOptions":
    """What the master service takes.

    With ``place``, a target and a port that only we know of, it listens there without keys, whatever the configuration
    says; '' is a socket file of its own.
    """
    from cyclone.master.clients.client_desk import ClientOptions
    from cyclone.master.generator.feed import FeedOptions
    from cyclone.master.jobs.registry import BUILT_IN_QOS
    from cyclone.master.scheduler import SchedulerOptions
    from cyclone.master.service import MasterOptions
    from cyclone.master.sinks.sink_feed import SinkOptions
    from cyclone.security.gate import GateOptions
    from cyclone.security.policy import master_registry, sink_keys

    control, comm = settings.control, settings.comm
    options_path = settings.generator_options_path
    feed: dict[str, object] = {
        "class": settings.task_generator.class_path,
        "sections": settings.generator_options,
        "folder": str(options_path.resolve().parent if options_path else Path.cwd()),
        "search_path": settings.search_path,
        "log": _log_of_children(settings, debug),
        "task_defaults": [settings.tasks.retries, settings.tasks.retry_delay_s, settings.tasks.retry_on],
    }
    return MasterOptions(
        target=comm.target if place is None else place[0],
        port=comm.port if place is None else place[1],
        poll_timeout_s=loop_wait_s(settings),
        stop_timeout_s=control.stop_timeout_s,
        scheduler=SchedulerOptions(
            controller_timeout_s=control.controller_timeout_s,
            heartbeat_s=control.heartbeat_interval_s,
            task_resend_timeout_s=control.task_resend_timeout_s,
            crash_limit=control.crash_limit,
            exit_when_done=control.exit_when_done,
            drain_suspected=control.drain_suspected,
            qos={**BUILT_IN_QOS, **settings.clients.classes()},
            namespaces=_namespaces(settings),
            abandon_s=settings.clients.abandon_s,
        ),
        feed=FeedOptions(feed) if settings.task_generator.class_path else None,
        gate=GateOptions(master_registry(settings) if place is None else None, comm.strike_limit),
        sinks=SinkOptions(settings.sink.targets, sink_keys(settings), _host_name()),
        clients=ClientOptions(settings.may_submit, _NO_JOBS),
    )


def _namespaces(settings: "Settings") -> tuple["Namespace", ...]:
    """What a master makes where nobody has made it yet: its own, and the one that is always there."""
    from cyclone.protocol.job_spec import DEFAULT_NAMESPACE, Namespace

    clients = settings.clients
    weights = {DEFAULT_NAMESPACE: 1.0} | clients.weights()
    jobs_max, tasks_max = clients.jobs_max or None, clients.tasks_max or None
    return tuple(
        Namespace(name=name, weight=weight, jobs_max=jobs_max, tasks_max=tasks_max) for name, weight in weights.items()
    )


def controller_parts(
    settings: "Settings", debug: bool, ends_with_parent: bool = False
) -> tuple["Identity", "AgentOptions", "ControllerOptions"]:
    """What the controller service takes; ``ends_with_parent``: nobody will ask for anything after its end."""
    import os

    from cyclone.controller.link import Identity
    from cyclone.controller.pool import WorkerOptions
    from cyclone.controller.service import ControllerOptions
    from cyclone.protocol.messages import Offer
    from cyclone.security.policy import controller_keys

    processing = settings.processing
    keys = controller_keys(settings)
    identity = Identity(
        name=_name_of_controller(settings, keys.name if keys else ""),
        incarnation=uuid.uuid4().hex,
        host=_host_name(),
        pid=os.getpid(),
        version=__version__,
        python=platform.python_version(),
        offer=Offer(
            processing.namespaces,
            processing.labels,
            int(processing.memory_bytes),
            processing.amounts(),
            processing.by_value,
        ),
    )
    arguments: dict[str, object] = {
        "search_path": settings.search_path,
        "log": _log_of_children(settings, debug),
        "time_limit_s": processing.task_time_limit_s,
        "task_modules": processing.task_modules,
        "by_value": processing.by_value,
        "node": identity.name,
        "task_memory_max_bytes": processing.task_memory_max_bytes,
    }
    # Whoever starts it for one run watches it, and would miss what its tasks print.
    is_watched = ends_with_parent and settings.origin("processing", "output") == "default"
    worker = WorkerOptions(
        arguments,
        processing.environment_keep,
        processing.stdout_max_bytes,
        log_output=is_watched or processing.output in ("log", "both"),
        inherits_output=processing.output == "inherit",
    )
    output = _output_options(settings, identity, ends_with_parent)
    comm = settings.comm
    body = ControllerOptions(comm.target, comm.port, loop_wait_s(settings), worker, keys, output)
    return identity, _agent_options(settings), body


def _agent_options(settings: "Settings") -> "AgentOptions":
    """What a controller's brain has to know."""
    from cyclone.controller.options import AgentOptions

    control, processing = settings.control, settings.processing
    return AgentOptions(
        worker_count=processing.worker_count,
        spare_workers=processing.spare_workers,
        task_time_limit_s=processing.task_time_limit_s,
        setup_limit_s=processing.setup_limit_s,
        kill_grace_s=processing.kill_grace_s,
        worker_max_tasks=processing.worker_max_tasks,
        retry_wait_s=control.request_retry_wait_duration_s,
        retries_max=control.max_num_request_retries,
        stop_timeout_s=control.stop_timeout_s,
    )


def _output_options(settings: "Settings", identity: "Identity", ends_with_parent: bool) -> "OutputOptions":
    """Where a controller keeps what its tasks print."""
    from cyclone.controller.output_desk import OutputOptions
    from cyclone.controller.output_store import folder_of

    control, processing = settings.control, settings.processing
    # A name that is another one after each start would leave a folder behind each time, which nobody takes up again.
    is_lasting = control.pid_file or settings.origin("control", "name") != "computed"
    kept_as = identity.name if is_lasting else identity.host
    folder = None if ends_with_parent or control.state_dir is None else folder_of(control.state_dir, kept_as)
    is_kept = processing.output in ("keep", "both")
    return OutputOptions(is_kept, folder, bytes_max=processing.output_max_bytes or limits.ID_MAX)


def _host_name() -> str:
    return socket.gethostname() or "localhost"


def _name_of_controller(settings: "Settings", key_name: str) -> str:
    """A name that was not chosen follows the key, which is good for its own name and all below it."""
    name = settings.control.name
    computed = settings.origin("control", "name") == "computed"
    return f"{key_name}/{name}"[: limits.NAME_CHARS_MAX] if key_name and computed else name


def _log_of_children(settings: "Settings", debug: bool) -> dict[str, object]:
    """Tasks and generators log where their daemon does."""
    filename = settings.log.filename
    return {
        "filename": str(filename.resolve()) if filename else None,
        "format": settings.log.format,
        "level": "debug" if debug else settings.log.level,
    }


def load_settings(args: argparse.Namespace, role: "Role", extra: Sequence[str] = ()) -> "Settings":
    """The settings of a command line; ``extra`` are overrides of the command itself, the user's come first."""
    from cyclone.config import load

    return load(args.config_file, [*args.overrides, *extra], role)
