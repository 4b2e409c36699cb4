"""What a run has left behind, read for the checker: histories, journal, wire, faults, processes, ``/proc``.

Owns the reading, and no opinion. The journal is read as a user would, by ``cyclone journal``; nothing else of the
product is used, and never what it says of itself.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import history
from tests.chaos.cluster import PROCESSES, SAMPLES
from tests.chaos.faults import FAULTS
from tests.chaos.history import Delivery, Execution
from tests.chaos.plan import Plan
from tests.chaos.run import RUN
from tests.chaos.tap import WIRE
from tests.support import procfs
from tests.support.lab import MARK, program

COMPLETED, CRASHED = 0, 3
NS = 1_000_000_000


@dataclass(frozen=True)
class About:
    """The run itself."""

    plan: Plan
    seed: int = 0
    controllers: int = 3
    controller_timeout_s: float = 2.0
    crash_limit: int = 5
    rss_max_bytes: int = 250 << 20
    faults_per_second: float = 5.0
    began_ns: int = 0
    faults_over_ns: int = 0
    drained: bool = True
    drained_ns: int = 0
    ended_ns: int = 0
    mark: str = ""
    journal: str = ""
    temporary: str = "tmp"


@dataclass(frozen=True, slots=True)
class Record:
    """A task as the journal has it. ``text`` is its payload: the value, or the message of its error."""

    task_id: int
    number: int
    state: str
    attempt: int
    text: str


@dataclass(frozen=True, slots=True)
class JobRecord(Record):
    """A task of a submitted job as the journal has it."""

    job_id: int
    index: int


@dataclass(frozen=True, slots=True)
class ClientNote:
    """What a client was told of one of its jobs."""

    at_ns: int
    client: int
    event: str
    job: int
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """One injected fault and the time in which it lasted."""

    kind: str
    target: str
    at_ns: int
    for_s: float = 0.0
    pid: int = 0

    @property
    def over_ns(self) -> int:
        return self.at_ns + int(self.for_s * NS)


@dataclass(frozen=True, slots=True)
class Life:
    """One process of a daemon; ``code`` is None while nobody saw it end, ``asked`` says that we ended it."""

    name: str
    pid: int
    started_ns: int
    ended_ns: int | None = None
    code: int | None = None
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """Tasks that the master sent to a controller, with consecutive ids."""

    at_ns: int
    link: str
    connection: int
    epoch: int
    attempt: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A batch of results of which the master said that it is recorded."""

    at_ns: int
    first: int
    epoch: int
    attempt: int
    statuses: bytes


@dataclass(frozen=True, slots=True)
class Welcomed:
    """An epoch, as the master told it."""

    at_ns: int
    epoch: int
    journal: str


@dataclass(frozen=True, slots=True)
class Sample:
    """What the master needed at a moment."""

    at_ns: int
    pid: int
    rss_bytes: int
    descriptors: int


@dataclass
class Evidence:
    """All of it. Lists are in the order of time."""

    about: About
    executions: list[Execution] = field(default_factory=list)
    misfits: list[str] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    job_executions: list[Execution] = field(default_factory=list)
    job_records: list[JobRecord] = field(default_factory=list)
    client_notes: list[ClientNote] = field(default_factory=list)
    journal_faults: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    welcomed: list[Welcomed] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    def by_number(self) -> dict[int, list[Execution]]:
        """The executions of each task, in the order of their starts."""
        found: dict[int, list[Execution]] = {}
        for execution in self.executions:
            found.setdefault(execution.number, []).append(execution)
        return found


def read(folder: Path) -> Evidence:
    """The evidence of a run's folder, and of what runs of it at this moment."""
    raw = json.loads((folder / RUN).read_text())
    about = About(**raw | {"plan": Plan(**raw["plan"])})
    executions, misfits = history.executions(folder / history.EXECUTIONS)
    job_executions, job_misfits = history.executions(folder / history.JOBS)
    records, job_records, journal_faults = _journal(folder / about.journal)
    evidence = Evidence(
        about,
        executions,
        misfits + job_misfits,
        history.deliveries(folder / history.DELIVERIES),
        records,
        job_executions,
        job_records,
        _client_notes(folder),
        journal_faults,
        [Fault(f["kind"], f["target"], f["at"], f["for_s"], f["pid"]) for f in _lines(folder / FAULTS)],
        _lives(folder / PROCESSES),
        samples=[Sample(s["at"], s["pid"], s["rss_bytes"], s["descriptors"]) for s in _lines(folder / SAMPLES)],
        leftovers=leftovers(folder / about.temporary, about.mark),
    )
    read_wire(folder / WIRE, evidence)
    return evidence


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)


def _journal(path: Path) -> tuple[list[Record], list[JobRecord], list[str]]:
    """What the journal has, and what is wrong with it in the eyes of its own ``verify``."""
    command = [program("cyclone"), "journal"]
    faults = []
    verified = subprocess.run([*command, "verify", str(path)], capture_output=True, text=True)
    if verified.returncode:
        faults.append(f"verify: exit code {verified.returncode}: {verified.stdout}{verified.stderr}".strip())
    exported = subprocess.run([*command, "export", str(path)], capture_output=True, text=True)
    if exported.returncode:
        faults.append(f"export: exit code {exported.returncode}: {exported.stderr}".strip())
    rows = [json.loads(line) for line in exported.stdout.splitlines()]
    of_jobs = [_job_record(row) for row in rows if row["job"]]
    return [_record(row) for row in rows if not row["job"]], of_jobs, faults


def _job_record(row: dict[str, Any]) -> JobRecord:
    one = _record(row)
    return JobRecord(one.task_id, one.number, one.state, one.attempt, one.text, row["job"], row["index"])


def _client_notes(folder: Path) -> list[ClientNote]:
    found = []
    for path in sorted(folder.glob("client*.jsonl")):
        # One that is torn has no end: its client was killed while it wrote.
        for line in (line for line in path.read_text().splitlines() if line.endswith("}")):
            note = json.loads(line)
            client = int(path.stem.removeprefix("client"))
            found.append(ClientNote(note.pop("at"), client, note.pop("event"), note.pop("job"), note))
    return sorted(found, key=lambda note: note.at_ns)


def _record(row: dict[str, Any]) -> Record:
    error, value = row.get("error") or {}, row.get("value")
    # Whatever it is; a payload that is no text is one that no task has returned.
    payload = error.get("message", "") if value is None else value
    return Record(row["id"], row["args"][0], row["state"], row.get("attempt") or 0, str(payload))


def _lives(path: Path) -> list[Life]:
    begun: dict[int, dict[str, Any]] = {}
    found = []
    for line in _lines(path):
        if line["event"] == "start":
            begun[line["pid"]] = line
        else:
            start = begun.pop(line["pid"])
            found.append(Life(line["name"], line["pid"], start["at"], line["at"], line["code"], line["asked"]))
    found += [Life(line["name"], line["pid"], line["at"]) for line in begun.values()]
    return sorted(found, key=lambda life: life.started_ns)


def leftovers(temporary: Path, mark: str) -> list[str]:
    processes = [f"process {pid}: {command}" for pid, command in procfs.marked(MARK, mark).items()]
    return processes + [f"left in the folder for temporary files: {path.name}" for path in temporary.glob("*")]


def read_wire(path: Path, evidence: Evidence) -> None:
    incarnations: dict[tuple[str, int], str] = {}
    epochs: dict[tuple[str, int], int] = {}
    results: dict[tuple[str, int], list[list[Any]]] = {}
    for line in _lines(path):
        at, connection = line["at"], (line["link"], line["connection"])
        match line["kind"]:
            case "hello":
                incarnations[connection] = line["incarnation"]
            case "welcome":
                epochs[connection] = line["epoch"]
                evidence.welcomed.append(Welcomed(at, line["epoch"], line["journal"]))
            case "results":
                results[incarnations.get(connection, ""), line["number"]] = line["batches"]
            case "tasks":
                evidence.leases += [
                    Lease(at, *connection, epochs.get(connection, 0), attempt, first, count)
                    for first, count, attempt in line["leases"]
                ]
            case "recorded":
                for number in line["numbers"]:
                    for first, epoch, attempt, statuses in results.get((incarnations.get(connection, ""), number), []):
                        evidence.acknowledged.append(Acknowledged(at, first, epoch, attempt, bytes.fromhex(statuses)))
