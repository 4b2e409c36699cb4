"""The command line of ``cyclone keys``; ``cyclone.cli.keys`` has what it does."""

import argparse
from pathlib import Path

from cyclone.cli import output, parsing
from cyclone.cli.columns import STATE, TEXT, WORD, Column, Listing

LISTING = Listing(
    "cyclone.keys/1",
    "keys",
    (
        Column("name", lambda key: key.name, TEXT),
        Column("role", lambda key: key.role, WORD),
        Column("state", lambda key: key.state, STATE),
        Column("created", lambda key: key.created, WORD),
        Column("public", lambda key: key.public, TEXT),
    ),
)

_EXAMPLES = {
    "init": (
        (
            "cyclone keys init --address head.example.org",
            "once, on the master's host, as the user that the master runs as",
        ),
    ),
    "add": (
        (
            "cyclone keys add 'node[001-176]' --role controller",
            "a key for each node; what is printed says where to carry it",
        ),
        ("cyclone keys add ann --role client", "a key for somebody who submits jobs"),
    ),
    "list": (("cyclone keys list -o name,role,state", "whose keys are valid, and whose are revoked"),),
    "revoke": (("cyclone keys revoke ann", "let her in no more; a running master cuts her off within a second"),),
}


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    keys = verbs.add_parser(
        "keys",
        help="make, list and revoke the keys by which peers are let in",
        description="Keep the folder of keys on the master's host. Run it as the user that the master runs as.",
    )
    actions = keys.add_subparsers(dest="action", metavar="ACTION", required=True)
    init = actions.add_parser("init", help="make the folder and the master's own key")
    init.add_argument("--address", metavar="HOST[:PORT]", help="where nodes find the master (default: this host:5678)")
    add = actions.add_parser("add", help="let a peer in: make its key, and print one line to carry to it")
    add.add_argument(
        "names",
        metavar="NAMES",
        help="whose key it is: for a controller its name, as a rule the host's; of node[001-176] each gets one",
    )
    add.add_argument(
        "--role", choices=("controller", "client", "monitor", "admin", "master"), required=True, help="what it may do"
    )
    listing = actions.add_parser("list", help="list the keys")
    output.add_list_options(listing, LISTING)
    revoke = actions.add_parser("revoke", help="let a peer in no more; a running master cuts it off")
    revoke.add_argument("names", metavar="NAMES", help="a name, or several: node[001-003]")
    for action in (init, add, listing, revoke):
        action.epilog = "Exit codes: 0 done, 1 not possible, 78 a folder or file of keys cannot be used."
        action.add_argument(
            "--dir",
            metavar="DIR",
            type=Path,
            help="folder of the keys (default: /etc/cyclone/keys for root, else cyclone/keys in $XDG_CONFIG_HOME)",
        )
    for name, action in actions.choices.items():
        parsing.add_examples(action, *_EXAMPLES[name])
