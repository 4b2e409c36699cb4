"""How a verb finds the master that it asks: the options, and the Client that they make.

Owns these options, alike in all verbs. What is asked, the verbs know.
"""

import argparse
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from cyclone.cli import output
from cyclone.errors import CycloneError

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.client.connection import Words

_TIMEOUT_MAX_S = 86400
_OPTIONS = ("connect", "config_file", "profile", "key_file", "insecure")
# How long somebody who presses the key waits for what the master knows, and how much of it he sees.
_OFFER_S = 0.5
_OFFERED_MAX = 50
TITLE = "the master that is asked"
EXIT_CODES = "69 no master answers, 77 the key gives no right to it, 78 bad arguments or keys"


def add_options(parser: argparse.ArgumentParser, config_file: bool = True) -> None:
    """``--connect`` and its kin. ``config_file``: with ``-f``."""
    group = parser.add_argument_group(TITLE)
    group.add_argument(
        "--connect", metavar="tcp://HOST:PORT", help="the master (default: $CYCLONE_SERVER, the profile's, or here)"
    )
    if config_file:
        group.add_argument("-f", "--config-file", metavar="CONF", type=Path, help="the master's configuration")
    group.add_argument("--profile", metavar="NAME", help="a profile of client.toml (default: $CYCLONE_PROFILE)")
    group.add_argument("--key-file", metavar="FILE", type=Path, help="our key, where the master wants one")
    group.add_argument(
        "--connect-timeout",
        metavar="TIME",
        type=duration,
        default=5.0,
        help="how long to wait for an answer: 5, 500ms, 1m (default: 5)",
    )
    group.add_argument("--insecure", action="store_true", help="ask a master on another host without a key")


def client(args: argparse.Namespace, is_patient: bool = False, patience_s: float | None = None) -> "Client":
    """The Client that these options mean; open it as a context. Raises ConfigError.

    ``is_patient``: for who waits for something; a master that has answered once may be away for minutes, or for
    ``patience_s`` where that is less.
    """
    from cyclone.client.client import Client
    from cyclone.client.connection import find_address
    from cyclone.client.patience import PATIENCE_S, Patience

    most_s = PATIENCE_S if patience_s is None else min(PATIENCE_S, patience_s)
    as_json = getattr(args, "json", False)
    return Client(
        find_address(args.connect, args.config_file, args.key_file, args.insecure, args.profile, words()),
        timeout_s=args.connect_timeout,
        patience=Patience(most_s, lambda text: output.note(f"cyclone: {text}", as_json)) if is_patient else None,
    )


def newest_job(client: "Client") -> int:
    """The number of the last job that was submitted, 0 where there is none: who gets no higher one has made no job."""
    from cyclone.protocol.job_spec import JobSelection

    return next((job.job_id for job in client.jobs(JobSelection(last=True))), 0)


def words() -> "Words":
    """How these options are written, for messages that advise them."""
    from cyclone.client.connection import Words

    return Words(
        "--connect tcp://HOST:PORT or -f its file",
        "--key-file FILE",
        "--insecure",
        "`cyclone-master -f FILE` starts one, and `cyclone run` needs none",
    )


def offered_jobs(parsed_args: argparse.Namespace, **_: object) -> dict[str, str]:
    """For completion: the newest jobs, with what they are."""
    words = {"last": "the newest", "all": ""}
    return words | _offered(
        parsed_args,
        lambda asked: {
            str(job.job_id): f"{job.name} {job.state}" for job in islice(asked.jobs(page=_OFFERED_MAX), _OFFERED_MAX)
        },
    )


def offered_namespaces(parsed_args: argparse.Namespace, **_: object) -> dict[str, str]:
    """For completion: the namespaces."""
    return _offered(parsed_args, lambda asked: {one.namespace.name: "" for one in asked.namespaces()[:_OFFERED_MAX]})


def offered_classes(parsed_args: argparse.Namespace, **_: object) -> dict[str, str]:
    """For completion: the classes of service, with what they mean."""
    return _offered(
        parsed_args,
        lambda asked: {
            name: f"priority {priority}, weight {weight:g}"
            for name, (priority, weight) in islice(asked.status().qos.items(), _OFFERED_MAX)
        },
    )


def offered_nodes(parsed_args: argparse.Namespace, **_: object) -> dict[str, str]:
    """For completion: the controllers."""
    return _offered(
        parsed_args, lambda asked: {one.name: one.mark for one in asked.status().controllers[:_OFFERED_MAX]}
    )


def _offered(parsed_args: argparse.Namespace, ask: "Callable[[Client], dict[str, str]]") -> dict[str, str]:
    """What the master says in a moment, nothing where it says nothing: somebody is typing."""
    options = {name: getattr(parsed_args, name, None) for name in _OPTIONS}
    try:
        with client(argparse.Namespace(**options, connect_timeout=_OFFER_S)) as asked:
            return ask(asked)
    except CycloneError:
        return {}


def duration(text: str) -> float:
    """Seconds, more than none; for argparse."""
    from cyclone.units import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 0 < seconds <= _TIMEOUT_MAX_S:
        raise argparse.ArgumentTypeError(f"{text}: expected more than nothing and at most a day")
    return seconds
