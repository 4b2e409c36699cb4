"""Which controllers of a master are meant.

Owns the filters; what a controller says of itself is the protocol's.
"""

from collections.abc import Collection, Iterable
from typing import Literal, get_args

from cyclone.client.checking import check_states
from cyclone.protocol.client_messages import ControllerStatus

NodeState = Literal["up", "drained", "leaving", "suspected"]


def chosen(
    controllers: Iterable[ControllerStatus],
    names: Collection[str] | None = None,
    state: str | None = None,
    namespace: str | None = None,
    label: str | None = None,
    idle: bool = False,
) -> list[ControllerStatus]:
    """Those that fit all that is asked for, by name: see ``Client.nodes``. Raises BadRequest for no such state."""
    check_states("state", () if state is None else (state,), get_args(NodeState))
    return sorted(
        (
            one
            for one in controllers
            if (names is None or one.name in names or one.host in names)
            and state in (None, one.mark or "up")
            and (namespace is None or not one.offer.namespaces or namespace in one.offer.namespaces)
            and (label is None or label in one.offer.labels)
            and (not idle or (one.busy < one.slots and one.mark != "drained"))
        ),
        key=lambda one: one.name,
    )
