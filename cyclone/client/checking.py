"""What a client is about to say, held against the rules of the protocol before it is said.

A master believes nobody and drops what breaks a rule, so that its sender would hear nothing. Owns how such a mistake is
told to who made it: which field, and what belongs there. The rules themselves are the protocol's, and only there.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

from cyclone.errors import BadRequest, PayloadTooLarge, ProtocolError
from cyclone.lifecycle import ALL_STATES
from cyclone.protocol import states, wire
from cyclone.protocol.job_checks import contradiction, unprintable
from cyclone.protocol.job_messages import AnyFromClient
from cyclone.protocol.job_spec import JobSpec
from cyclone.protocol.limits import VALUE_BYTES_MAX

_PLACE = re.compile(r" - at `(?:key` in `)?\$([^`]*)`")
_encode = msgspec.msgpack.Encoder().encode
_decode_spec = msgspec.msgpack.Decoder(JobSpec).decode
# A salvaged journal has tasks that are lost.
_TASK_STATES = (*ALL_STATES, states.STATE_NAMES[states.LOST])
_MISTAKES = (TypeError, ValueError, OverflowError, RecursionError)
_PRINTABLE = "expected characters that can be printed, and no end of line"


def check(request: AnyFromClient) -> None:
    """Raise BadRequest where a master would not take this for a message."""
    try:
        wire.decode_for_master(wire.encode(request))
    except (*_MISTAKES, ProtocolError) as error:
        raise BadRequest(fault(request) or _words(error)) from None
    check_states("states", getattr(request, "states", ()), _TASK_STATES)
    selection = getattr(request, "selection", None)
    if selection is not None:
        check_states("selection.states", selection.states, states.JOB_STATES)


def check_states(field: str, named: Iterable[str], known: Sequence[str]) -> None:
    """Raise BadRequest for one that nothing can be in: nothing would be found, and nothing said."""
    for state in named:
        if state not in known:
            raise BadRequest(f"{field}: there is no state {state!r}, there are {', '.join(known)}")


def check_spec(spec: JobSpec) -> None:
    """Raise BadRequest where these options make no job."""
    try:
        _decode_spec(_encode(spec))
    except _MISTAKES as error:
        raise BadRequest(fault(spec) or _words(error)) from None
    if field := unprintable(spec):
        raise BadRequest(f"{field}: {_PRINTABLE}")
    if text := contradiction(spec):
        raise BadRequest(text)


def too_large(what: str, size_bytes: int) -> PayloadTooLarge:
    """For a function, or the arguments of a task, of more than ``VALUE_BYTES_MAX``."""
    return PayloadTooLarge(
        f"{what} take {size_bytes} bytes, the limit is {VALUE_BYTES_MAX}: pass the path of a file instead"
    )


def fault(message: msgspec.Struct, prefix: str = "") -> str:
    """The first field that is not of its type or beyond its bounds, and what belongs there; '' where there is none."""
    for field in msgspec.structs.fields(message):
        value = getattr(message, field.name)
        name = prefix + field.name
        if isinstance(value, msgspec.Struct) and (text := fault(value, f"{name}.")):
            return text
        try:
            msgspec.msgpack.decode(_encode(value), type=field.type)
        except _MISTAKES as error:
            place = _PLACE.search(str(error))
            return f"{name}{place[1] if place else ''}: {_words(error)}"
    return ""


def _words(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "expected text that has a UTF-8 form"
    if isinstance(error, OverflowError):
        return "expected a number of no more than 64 bits"
    text = _PLACE.sub("", str(error)).replace("`", "")
    return text[:1].lower() + text[1:]
