"""Who may say what: the role of a key against the type of a message.

Owns the one table. A type that does not stand in it may be sent by nobody whose key is known; a test demands a line for
each type that a master or a sink understands.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from cyclone.protocol.client_messages import CancelRequest, DrainRequest, StatusRequest
from cyclone.protocol.event_messages import EventsRequest
from cyclone.protocol.figure_messages import FiguresRequest
from cyclone.protocol.job_messages import (
    AddRequest,
    CancelJobsRequest,
    ControlRequest,
    DetailRequest,
    ExplainRequest,
    FollowRequest,
    JobsRequest,
    NamespaceRequest,
    NamespacesRequest,
    OutputRequest,
    ProcessedRequest,
    RequeueRequest,
    SubmitRequest,
    TasksRequest,
)
from cyclone.protocol.messages import Goodbye, Hello, Output, Results, Returned, State
from cyclone.protocol.sink_messages import Attach, Blocks

PeerRole = Literal["controller", "client", "monitor", "admin", "master"]

_LOOK: frozenset[PeerRole] = frozenset({"client", "monitor", "admin"})
# Of its own jobs, for a client; whose they are the master's brain decides.
_STEER: frozenset[PeerRole] = frozenset({"client", "admin"})
_ADMIN: frozenset[PeerRole] = frozenset({"admin"})
_CONTROLLER: frozenset[PeerRole] = frozenset({"controller"})
_MASTER: frozenset[PeerRole] = frozenset({"master"})

MAY_SEND: Mapping[type, frozenset[PeerRole]] = {
    Hello: _CONTROLLER,
    State: _CONTROLLER,
    Results: _CONTROLLER,
    Returned: _CONTROLLER,
    Goodbye: _CONTROLLER,
    Output: _CONTROLLER,
    **dict.fromkeys((StatusRequest, JobsRequest, TasksRequest, DetailRequest), _LOOK),
    **dict.fromkeys((EventsRequest, FiguresRequest), _LOOK),
    # What a task prints may hold secrets, as its arguments and its value may: it is for those who may see these.
    **dict.fromkeys((ExplainRequest, NamespacesRequest, FollowRequest, OutputRequest), _LOOK),
    **dict.fromkeys((SubmitRequest, AddRequest, ControlRequest, CancelJobsRequest), _STEER),
    **dict.fromkeys((RequeueRequest, ProcessedRequest), _STEER),
    **dict.fromkeys((CancelRequest, DrainRequest, NamespaceRequest), _ADMIN),
    Attach: _MASTER,
    Blocks: _MASTER,
}


# What people know it as.
_WORDS: Mapping[type, str] = {
    SubmitRequest: "submit jobs",
    AddRequest: "add tasks to jobs",
    ControlRequest: "hold, release or seal jobs",
    CancelJobsRequest: "cancel jobs",
    RequeueRequest: "requeue tasks",
    ProcessedRequest: "mark results as processed",
    CancelRequest: "cancel tasks of the whole master",
    DrainRequest: "drain controllers",
    NamespaceRequest: "change namespaces",
    Hello: "be a controller",
    Attach: "be a master",
}


def _means(message: type) -> str:
    return _WORDS.get(message) or f"send {message.__name__}"


def objection(name: str, role: PeerRole, message: msgspec.Struct) -> str:
    """Why the holder of this key may not send this message; '' where it may.

    Several controllers of one host may share a key: it speaks for ``name`` itself and for each ``name/...``.
    """
    if role not in MAY_SEND.get(type(message), ()):
        return f"the key of {name} has the role {role}, which may not {_means(type(message))}"
    if isinstance(message, Hello) and message.name != name and not message.name.startswith(f"{name}/"):
        return (
            f"the key of {name} is not for a controller named {message.name}: set [control] name to {name} or to "
            f"{name}/..., or make another key with 'cyclone keys add'"
        )
    return ""
