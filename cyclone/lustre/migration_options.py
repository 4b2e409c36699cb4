"""What the configuration decides for a migration, and where each key may stand.

Owns the keys. The original's are read where it had them, in a file of the generator's own: ``[control] local_mode``,
``[control.local_mode] num_osts``, ``[control.threshold]`` and ``[task]``; all of these may stand in ``[migration]``
too, because [control] of a master's own file is the master's. Opens nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from cyclone.errors import ConfigError
from cyclone.generator import BaseTaskGenerator
from cyclone.lustre.migration_input import BadRecord, check_columns
from cyclone.lustre.migration_plan import Rules
from cyclone.units import parse_size

PAUSE_NAME = "pause"
STATUS_NAME = "status.json"
FAILED_NAME = "migration.failed"
# Streams of a target that finds out by itself how many it bears.
_AUTO_STREAMS = "8"


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How a file is moved; with a ``task_file`` that says all of it but ``fs_path``."""

    fs_path: str
    task_file: Path | None
    task_name: str
    direct_io: bool
    block: bool
    skip: bool
    bandwidth_bytes: int
    timeout_s: float
    lfs_bin: str
    sudo: bool


@dataclass(frozen=True, slots=True)
class MigrationOptions:
    """See the module. ``local_osts`` is how many OSTs are made up, 0 with a real file system."""

    input_dir: Path
    state_dir: Path
    pause_file: Path
    columns: tuple[str, ...]
    rules: Rules
    task: TaskOptions
    local_osts: int
    update_fill_level_s: float
    fill_level_max_age_s: float
    reload_files_s: float
    status_s: float
    busy_delay_s: float
    busy_tries: int
    ends: bool

    @property
    def status_file(self) -> Path:
        """What ``cyclone lustre progress`` reads."""
        return self.state_dir / STATUS_NAME

    @property
    def failed_file(self) -> Path:
        """Where the paths of failed migrations are listed."""
        return self.input_dir / FAILED_NAME


def read_options(generator: BaseTaskGenerator) -> MigrationOptions:
    """The options in a generator's sections. Raises ConfigError, which names section and key."""
    reader = _Reader(generator)
    input_dir = generator.path_option("migration", "input_dir")
    if not input_dir.is_dir():
        raise ConfigError(f"[migration] input_dir = {input_dir}: expected a folder")
    local = reader.switch("local_mode", "no", "control")
    update_s = reader.duration("update_fill_level", "1m", "control.threshold")
    return MigrationOptions(
        input_dir=input_dir,
        state_dir=reader.path("state_dir", input_dir / "state"),
        pause_file=reader.path("pause_file", input_dir / PAUSE_NAME),
        columns=reader.columns(),
        rules=_rules(reader, generator),
        task=_task(reader, local),
        local_osts=reader.integer("num_osts", "100", "control.local_mode", at_least=1) if local else 0,
        update_fill_level_s=update_s,
        fill_level_max_age_s=reader.duration("fill_level_max_age", str(max(5 * update_s, 300.0))),
        reload_files_s=reader.duration("reload_files", "1m", "control.threshold"),
        status_s=reader.duration("print_caches", "10s", "control.threshold"),
        busy_delay_s=reader.duration("busy_retry_delay", "10m"),
        busy_tries=reader.integer("busy_tries", "5", at_least=1),
        ends=reader.choice("when_done", "wait", ("wait", "end")) == "end",
    )


def _rules(reader: "_Reader", generator: BaseTaskGenerator) -> Rules:
    targets = generator.range_option(
        "migration", "ost_targets", hexadecimal=generator.switch_option("migration", "hexadecimal", False)
    )
    streams = generator.option("migration", "streams_per_target", "1")
    adapts = streams == "auto"
    if adapts:
        per_target = reader.integer("streams_auto_max", _AUTO_STREAMS, at_least=1)
    else:
        per_target = reader.integer("streams_per_target", "1", at_least=1, hint=", or auto")
    return Rules(
        source_threshold=reader.threshold("source"),
        target_threshold=reader.threshold("target"),
        targets=frozenset(targets),
        streams_per_source=reader.integer("streams_per_source", "1", at_least=1),
        streams_per_target=per_target,
        adapts=adapts,
        streams_max=reader.integer("streams_max", "0"),
    )


def _task(reader: "_Reader", local: bool) -> TaskOptions:
    generator = reader.generator
    task_file = reader.text("task_file", "", "task")
    fs_path = generator.option("lustre", "fs_path", "/" if local else None)
    if not fs_path.startswith("/"):
        raise ConfigError(f"[lustre] fs_path = {fs_path}: expected the mount point, which begins with /")
    return TaskOptions(
        fs_path=fs_path,
        task_file=generator.path_option(*reader.place("task_file", "task")) if task_file else None,
        task_name=reader.text("task_name", "", "task"),
        direct_io=reader.switch("direct_io", "yes"),
        block=reader.switch("block", "no"),
        skip=reader.switch("skip", "yes"),
        bandwidth_bytes=reader.size("bandwidth", "0"),
        timeout_s=reader.duration("timeout", "0s"),
        lfs_bin=generator.option("lustre", "lfs_bin", "lfs"),
        sudo=generator.switch_option("lustre", "sudo", False),
    )


class _Reader:
    """Options of [migration], or of the section where the original has them."""

    def __init__(self, generator: BaseTaskGenerator) -> None:
        self.generator = generator

    def place(self, key: str, former: str = "") -> tuple[str, str]:
        """Section and key of what is given."""
        return (former, key) if former and self.generator.option(former, key, "") else ("migration", key)

    def text(self, key: str, default: str, former: str = "") -> str:
        """Any text."""
        return self.generator.option(*self.place(key, former), default)

    def switch(self, key: str, default: str, former: str = "") -> bool:
        """yes or no."""
        return self.generator.switch_option(*self.place(key, former), default == "yes")

    def duration(self, key: str, default: str, former: str = "") -> float:
        """Seconds."""
        return self.generator.duration_option(*self.place(key, former), default)

    def integer(self, key: str, default: str, former: str = "", *, at_least: int = 0, hint: str = "") -> int:
        """A whole number."""
        try:
            return self.generator.integer_option(*self.place(key, former), int(default), at_least=at_least)
        except ConfigError as error:
            raise ConfigError(f"{error}{hint}") from None

    def size(self, key: str, default: str) -> int:
        """Bytes."""
        text = self.text(key, default)
        try:
            return parse_size(text)
        except ValueError as error:
            raise ConfigError(f"[migration] {key} = {text}: {error}") from None

    def path(self, key: str, default: Path) -> Path:
        """A path that need not exist."""
        text = self.text(key, "")
        return self.generator.folder.absolute() / Path(text).expanduser() if text else default

    def choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        """One of these words."""
        text = self.text(key, default)
        if text not in choices:
            raise ConfigError(f"[migration] {key} = {text}: expected {' or '.join(choices)}")
        return text

    def threshold(self, role: str) -> float:
        """Per cent; under the name that the original reads, or the one of its documentation."""
        names = (f"ost_fill_level_threshold_{role}", f"ost_fill_threshold_{role}")
        given = [name for name in names if self.generator.option("migration", name, "")]
        if len(given) > 1:
            raise ConfigError(f"[migration] {names[0]} and {names[1]} are the same: keep one")
        name = given[0] if given else names[0]
        text = self.generator.option("migration", name)
        try:
            percent = float(text.removesuffix("%"))
        except ValueError:
            percent = -1.0
        if not 0 <= percent <= 100:
            raise ConfigError(f"[migration] {name} = {text}: expected per cent, from 0 to 100")
        return percent

    def columns(self) -> tuple[str, ...]:
        """Of CSV files without a header."""
        text = self.text("csv_columns", "")
        columns = tuple("" if name.strip() == "-" else name.strip() for name in text.split(",")) if text else ()
        try:
            if columns:
                check_columns(columns)
        except BadRecord as error:
            raise ConfigError(f"[migration] csv_columns = {text}: {error}; write - for one to pass over") from None
        return columns
