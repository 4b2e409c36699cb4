"""What a role runs with: frozen settings, and the table that ``--check-config`` prints.

Owns the shape alone. ``config.load`` fills it; nothing changes it afterwards.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from cyclone.config_keys import BY_PLACE, Role
from cyclone.config_kinds import Keep
from cyclone.original import current_generator
from cyclone.protocol import endpoints

_SECRET = re.compile(r"password|passwd|secret|token")


@dataclass(frozen=True, slots=True)
class ControlSettings:
    pid_file: Path | None
    name: str
    state_dir: Path | None
    controller_timeout_s: float
    heartbeat_interval_s: float
    task_resend_timeout_s: float
    crash_limit: int
    drain_suspected: bool
    exit_when_done: bool
    stop_timeout_s: float
    request_retry_wait_duration_s: float
    max_num_request_retries: int
    controller_wait_duration_s: float
    version: str


@dataclass(frozen=True, slots=True)
class CommSettings:
    target: str
    port: int
    poll_timeout_s: float
    keys: Path | None
    key_file: Path | None
    insecure: bool
    strike_limit: int


@dataclass(frozen=True, slots=True)
class JournalSettings:
    path: Path | None
    durability: Literal["full", "off"]
    keep: Keep


@dataclass(frozen=True, slots=True)
class LogSettings:
    filename: Path | None
    format: Literal["text", "json"]
    level: Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class TaskGeneratorSettings:
    module: str
    class_name: str
    config_file: Path | None

    @property
    def class_path(self) -> str:
        """``module:Class`` as it is called now, or '' for a role that has no generator."""
        path = self.class_name if ":" in self.class_name else f"{self.module}:{self.class_name}".strip(":")
        return current_generator(path)


@dataclass(frozen=True, slots=True)
class ProcessingSettings:
    worker_count: int
    spare_workers: int
    task_time_limit_s: float
    setup_limit_s: float
    kill_grace_s: float
    worker_max_tasks: int
    task_modules: tuple[str, ...]
    environment_keep: tuple[str, ...]
    task_memory_max_bytes: int
    stdout_max_bytes: int
    output: str
    output_max_bytes: int
    namespaces: tuple[str, ...]
    labels: tuple[str, ...]
    resources: tuple[str, ...]
    memory_bytes: int
    by_value: bool

    def amounts(self) -> dict[str, int]:
        """The resources by name."""
        return {name: int(amount) for name, _, amount in (text.rpartition(":") for text in self.resources)}


@dataclass(frozen=True, slots=True)
class TaskSettings:
    retries: int
    retry_delay_s: float
    retry_on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClientSettings:
    submit: Literal["auto", "yes", "no"]
    namespaces: tuple[str, ...]
    qos: tuple[str, ...]
    jobs_max: int
    tasks_max: int
    abandon_s: float
    memory_max_bytes: int

    def weights(self) -> dict[str, float]:
        """The namespaces and their weights."""
        return {name: float(weight or 1) for name, _, weight in (text.partition(":") for text in self.namespaces)}

    def classes(self) -> dict[str, tuple[int, float]]:
        """Priority and weight of each class of service."""
        parts = [text.split(":") for text in self.qos]
        return {name: (int(priority), float(rest[0]) if rest else 1.0) for name, priority, *rest in parts}


@dataclass(frozen=True, slots=True)
class SinkSettings:
    targets: tuple[str, ...]
    key_file: Path | None
    results: bool
    spool_max_bytes: int


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """``password`` is not in the repr."""

    host: str
    socket: Path | None
    user: str
    password: str = field(repr=False)
    password_file: Path | None
    option_file: Path | None
    driver: Literal["mysql", "sqlite", "jsonlines"]
    tls: Literal["preferred", "required", "verify", "off"]
    tls_ca: Path | None
    timeout_s: float
    database: str
    path: Path | None
    table: str
    layout: str
    store_timeout_s: float
    store_max_count: int


@dataclass(frozen=True, slots=True)
class PushSettings:
    url: str
    user: str
    password_file: Path | None
    tls_ca: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    interval_s: float
    timeout_s: float
    expire_s: float
    job: str
    delete_on_stop: bool
    textfile: Path | None
    clear_interval_s: float


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    address: str
    port: int


class Row(NamedTuple):
    """One effective value; ``origin`` is ``default``, ``computed``, ``file:line`` or ``--set``."""

    section: str
    key: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What a role runs with. ``task_time_limit_s`` of 0 is no limit; limits of 0 mean what the key's help says."""

    role: Role
    path: Path | None
    control: ControlSettings
    comm: CommSettings
    journal: JournalSettings
    log: LogSettings
    task_generator: TaskGeneratorSettings
    processing: ProcessingSettings
    tasks: TaskSettings
    clients: ClientSettings
    sink: SinkSettings
    db: DatabaseSettings
    push: PushSettings
    metrics: MetricsSettings
    # The generator's sections as plain text, and the file that they were read from.
    # Not in the repr, nor are its rows: it may hold passwords.
    generator_options: Mapping[str, Mapping[str, str]] = field(repr=False)
    generator_options_path: Path | None
    # Where user modules are looked for, before PYTHONPATH.
    search_path: tuple[str, ...]
    own_rows: tuple[Row, ...]
    generator_rows: tuple[Row, ...] = field(repr=False)

    @property
    def may_submit(self) -> bool:
        """Whether a master takes jobs of clients."""
        comm, submit = self.comm, self.clients.submit
        return submit == "yes" or (submit == "auto" and knows_clients(comm.keys, comm.target, comm.insecure))

    def origin(self, section: str, key: str) -> str:
        """Where the value of a key comes from, see ``Row``."""
        return next(row.origin for row in self.own_rows if (row.section, row.key) == (section, key))

    def rows(self) -> list[Row]:
        """Cyclone's own keys that this role uses, in the table's order."""
        return list(self.own_rows)


def knows_clients(keys: Path | None, target: str, insecure: bool) -> bool:
    """Whether only those can connect to a master who may: by its keys, or by the folder of its socket file."""
    return keys is not None or (endpoints.is_file(target) and not insecure)


def explain(settings: Settings) -> str:
    """The text of ``--check-config``: each value and its origin, Cyclone's own first, then the generator's."""
    lines = [Row("SECTION", "KEY", "VALUE", "ORIGIN")]
    for row in settings.own_rows:
        unused = " (not used any more)" if BY_PLACE[row.section, row.key].accepted_only else ""
        value = "(not shown)" if row.key == "password" and row.value else row.value
        lines.append(Row(f"[{row.section}]", row.key, value, row.origin + unused))
    for row in settings.generator_rows:
        value = "(not shown)" if _SECRET.search(row.key) else row.value
        lines.append(Row(f"[{row.section}]", row.key, value, f"{row.origin} (generator)"))
    lines = [row._replace(value=row.value.replace("\n", "\\n")) for row in lines]
    widths = [max(len(row[column]) for row in lines) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row.origin])
        for row in lines
    )
