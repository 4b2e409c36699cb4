"""An exception of user code as an ``ErrorRecord``: what travels to people who were not there. Never raises itself."""

from cyclone.errors import CycloneError
from cyclone.protocol.limits import TRACEBACK_CHARS_MAX
from cyclone.protocol.messages import ErrorRecord


def error_record(
    error: BaseException, own_frames: int = 1, retry_on: tuple[str, ...] = (), pickled: bytes = b""
) -> ErrorRecord:
    """Type, message and traceback, without our own frames at its top; no traceback of an error of Cyclone's own.

    ``retry_on`` names the exceptions that are worth another attempt, with their bases; empty for all. ``pickled`` goes
    along as it is.
    """
    import traceback

    kind = type(error)
    known = kind.__module__ in ("builtins", "cyclone.errors")
    name = kind.__qualname__ if known else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception as second:  # the user's __str__
        message = f"<no message: __str__ raised {type(second).__name__}>"
    frames = None if isinstance(error, CycloneError) else error.__traceback__
    for _ in range(own_frames):
        frames = frames.tb_next if frames else None
    text = "".join(traceback.format_exception(kind, error, frames)) if frames else ""
    retry = not retry_on or any(name in retry_on for base in kind.__mro__ for name in _names(base))
    return ErrorRecord(_clean(name), _clean(_cut(message)), _clean(_cut(text)), retry, pickled)


def _names(kind: type) -> tuple[str, str]:
    return kind.__name__, f"{kind.__module__}.{kind.__qualname__}"


def _cut(text: str) -> str:
    if len(text) <= TRACEBACK_CHARS_MAX:
        return text
    half = TRACEBACK_CHARS_MAX // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters cut ...\n{text[-half:]}"


def _clean(text: str) -> str:
    """Text that msgpack can carry: lone surrogates become visible."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
