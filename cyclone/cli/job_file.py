"""``cyclone submit --file job.toml``: a job with its options and tasks in a file.

Owns the file's form: the keys are the long options with ``_`` for ``-``, tables in the plural where an option may be
repeated with a name, and besides them ``command``, ``script``, ``arguments`` and ``values``. Relative paths start at
the file. Every ConfigError names file, key and what was expected. Configuration/examples/job.toml shows them all.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from cyclone.cli.submit_options import ARRAY, OPTIONS, Given, Option, combine
from cyclone.cli.submit_spec import make_spec
from cyclone.cli.submit_values import moment
from cyclone.config_text import did_you_mean
from cyclone.errors import ConfigError

_BYTES_MAX = 16 << 20
_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_BY_KEY = {option.key: option for option in OPTIONS}
_PATHS = {"script", "stdin", "directory", *(option.field for option in ARRAY if option.field != "array")}

_Scalar = str | int | float


def _type_of(option: Option) -> Any:
    if option.read is None:
        return bool
    if option.read is moment:
        # TOML has moments itself, of four kinds.
        return Any
    if option.field == "properties":
        return dict[str, Any]
    if option.many == "table":
        return dict[str, _Scalar]
    return str | list[str] if option.many == "list" else _Scalar


def read_job_file(path: Path) -> Given:
    """What the file asks for. Raises ConfigError."""
    import tomllib

    try:
        with path.open("rb") as file:
            text = file.read(_BYTES_MAX + 1)
        if len(text) > _BYTES_MAX:
            raise ConfigError(f"{path}: is larger than {_BYTES_MAX:,} bytes: put the tasks into a file for each_line")
        data = tomllib.loads(text.decode())
    except OSError as error:
        raise ConfigError(f"{path}: the job file cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from None
    form = _form()
    known = form.__struct_encode_fields__
    for key in data:
        if key not in known:
            raise ConfigError(f"{path}: {key} is no key of a job file{_hint(key, known)}")
    try:
        job = msgspec.convert(data, form)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_explained(str(error))}") from None
    found = {key: value for key in known if (value := getattr(job, _field(key))) is not msgspec.UNSET}
    given = dict(_read(path, key, written) for key, written in found.items())
    try:
        make_spec(given, lambda option: option.key)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    return given


def _hint(key: str, known: Sequence[str]) -> str:
    flag = f"--{key.replace('_', '-')}"
    if option := next((option for option in OPTIONS if flag in option.flags.split("/")), None):
        return f": {flag} is {option.key} here{', a table' * (option.many == 'table')}"
    near = did_you_mean(key, known)
    return f": did you mean {near}?" if near else f"; there are {', '.join(known)}"


def _form() -> type[msgspec.Struct]:
    fields = {
        "command": str | list[str],
        "script": str,
        "arguments": list[str],
        "values": list[Any],
        **{key: _type_of(option) for key, option in _BY_KEY.items()},
    }
    return msgspec.defstruct(
        "JobFile",
        [
            (_field(key), kind | msgspec.UnsetType if kind is not Any else Any, msgspec.UNSET)
            for key, kind in fields.items()
        ],
        rename={_field(key): key for key in fields},
        forbid_unknown_fields=True,
        kw_only=True,
    )


def _field(key: str) -> str:
    """An attribute's name: ``class`` could not be one."""
    return f"{key}_"


def _read(path: Path, key: str, written: Any) -> tuple[str, object]:
    """The field that a key stands for, and its value."""
    option = _BY_KEY.get(key)
    field = option.field if option else key
    try:
        value = written if option is None or field == "properties" else _value(option, written)
    except ValueError as error:
        raise ConfigError(f"{path}: {key}: {error}") from None
    if field in _PATHS and isinstance(value, str) and value != "-":
        value = str(path.absolute().parent / Path(value).expanduser())
    return field, value


def _value(option: Option, written: Any) -> object:
    read = option.read
    if read is None:
        return written
    if option.many == "table":
        return combine(option, [read(f"{_name(name)}={value}") for name, value in written.items()])
    if option.many == "list":
        return combine(option, [read(text) for text in ([written] if isinstance(written, str) else written)])
    if hasattr(written, "isoformat"):
        written = written.isoformat()
    elif not isinstance(written, str | int | float) or isinstance(written, bool):
        raise ValueError(f"{written!r} is not text")
    return read(str(written))


def _name(text: str) -> str:
    if "=" in text:
        raise ValueError(f"{text!r} is no name: write it without =")
    return text


def _explained(message: str) -> str:
    """msgspec's words with the key in front."""
    place = _PLACE.search(message)
    text = _PLACE.sub("", message).replace("`", "")
    return f"{place[1]}: {text[:1].lower()}{text[1:]}" if place and place[1] else text
