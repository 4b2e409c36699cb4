"""The checker itself, fed with histories made by hand: good ones pass, and for each invariant bad ones fail."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import checker, evidence, history
from tests.chaos.evidence import (
    NS,
    About,
    Acknowledged,
    ClientNote,
    Evidence,
    Fault,
    JobRecord,
    Lease,
    Life,
    Record,
    Sample,
    Welcomed,
)
from tests.chaos.history import Delivery, Execution, digest
from tests.chaos.job_plan import JobDraw, draw
from tests.chaos.plan import Deed, Plan
from tests.support.lab import MARK


class ByHand(Plan):
    """Deeds as a test wants them."""

    def deed(self, number: int) -> Deed:
        return {1: Deed("fail", 0), 2: Deed("poison", 0), 3: Deed("sleep", 0, exclusive=True)}.get(
            number, Deed("sleep", 0)
        )


def at(seconds: float) -> int:
    return int(seconds * NS)


def ran(number: int, start: float, end: float | None, attempt: int = 1, **other: Any) -> Execution:
    """An execution on worker 50 of c1; its payload is ``<number>/<attempt>``."""
    known: dict[str, Any] = {"pid": 50, "controller": "c1.1"} | other
    hashed = "" if end is None else digest(f"{number}/{attempt}")
    ended = None if end is None else at(end)
    return Execution(number, number + 1, attempt, started_ns=at(start), ended_ns=ended, hash=hashed, **known)


def recorded(number: int, state: str = "completed", attempt: int = 1, **other: Any) -> Record:
    """The record of that payload."""
    known: dict[str, Any] = {"task_id": number + 1, "text": f"{number}/{attempt}"} | other
    return Record(number=number, state=state, attempt=attempt, **known)


ABOUT = About(ByHand(4, 0), began_ns=at(0), faults_over_ns=at(20), drained_ns=at(21), ended_ns=at(22))
POISON_RUNS = [ran(2, 1 + attempt / 10, None, attempt, pid=60 + attempt) for attempt in range(1, 6)]
RUNS = [ran(0, 1, 2), ran(1, 2, 3), *POISON_RUNS, ran(3, 4, 5)]
RECORDS = [recorded(0), recorded(1, "failed"), recorded(2, "quarantined", 5), recorded(3)]
MASTERS = [Life("master", 7, at(0), at(9), -9, asked=True), Life("master", 8, at(10), at(22), 0)]
GOOD = Evidence(ABOUT, executions=RUNS, records=RECORDS, lives=MASTERS)


def lease(first: int, second: float, attempt: int = 1, **other: Any) -> Lease:
    known: dict[str, Any] = {"link": "c1", "connection": 1, "epoch": 1, "count": 1} | other
    return Lease(at(second), attempt=attempt, first=first, **known)


def acknowledged(first: int, second: float, *statuses: int, attempt: int = 1) -> Acknowledged:
    return Acknowledged(at(second), first, 1, attempt, bytes(statuses))


def fault(kind: str, second: float, target: str = "c1", for_s: float = 0.0, pid: int = 0) -> Fault:
    return Fault(kind, target, at(second), for_s, pid)


def with_(**changes: Any) -> Evidence:
    return replace(GOOD, **changes)


AGAIN = [*RUNS, ran(0, 3, 4, attempt=2, controller="c2.1", pid=51)]
OVERLAPS = [*RUNS, ran(0, 1.5, 2.5, attempt=2, controller="c2.1", pid=51)]
EXCLUSIVE_OVERLAPS = [*RUNS, ran(3, 4.5, 5.5, attempt=2, controller="c2.1", pid=51)]
KILLED = [ran(0, 1, None), ran(0, 1.2, 2, attempt=2, pid=51), *RUNS[1:]]
KILLED_LATE = [ran(0, 1, None), ran(0, 9, 10, attempt=2, pid=51), *RUNS[1:]]
SECOND = [recorded(0, attempt=2), *RECORDS[1:]]
UNLUCKY = [ran(0, n / 10, None, n, pid=40 + n) for n in range(1, 6)]
FOLLOW = replace(ABOUT, plan=ByHand(4, 0, follow=True))
FOLLOW_RUNS, FOLLOW_RECORDS = [*RUNS, ran(4, 6, 7)], [*RECORDS, recorded(4)]
DELIVERED = [Delivery(number, "completed", 9, at(8)) for number in range(5)]

# Jobs as they are drawn, the first one that is as a test wants it.
CLIENT = 1


def drawn(**wanted: object) -> JobDraw:
    jobs = (draw(ABOUT.plan.seed, CLIENT, number) for number in range(1000))
    known = {"fails": False} | wanted
    return next(
        job
        for job in jobs
        if len(job.kinds) == 5
        and ("fail" in job.kinds) == known["fails"]
        and all(getattr(job, name) == value for name, value in wanted.items() if name != "fails")
    )


def state_of(job: JobDraw, index: int) -> str:
    return "failed" if job.kinds[index] == "fail" else "completed"


def of_job(job: JobDraw, job_id: int = 9, **changes: str) -> list[JobRecord]:
    """Its records; ``t2="cancelled"`` is another state of one of them."""
    return [
        JobRecord(
            100 + index,
            job.first + index,
            changes.get(f"t{index}", state_of(job, index)),
            1,
            f"{index}/1",
            job_id,
            index,
        )
        for index in range(len(job.kinds))
    ]


def runs_of(job: JobDraw, apart_s: float = 1.0) -> list[Execution]:
    """Each of its tasks takes a second, and begins so long behind the one before."""
    return [
        Execution(job.first + i, 100 + i, 1, 50, "c1.1", at(i * apart_s), at(i * apart_s + 1), digest(f"{i}/1"))
        for i in range(len(job.kinds))
    ]


def told(job: JobDraw, event: str, **fields: object) -> ClientNote:
    return ClientNote(at(9), CLIENT, event, job.number, fields)


WAITED, ENDED = drawn(deed="wait", parallel=1, is_limited=False), {"completed": 5}
CANCELLED, FAILING = drawn(deed="cancel"), drawn(deed="wait", fails=True, max_fails=0)
LIMITED = drawn(deed="wait", is_limited=True, parallel=None)
HALF = of_job(CANCELLED, t3="cancelled", t4="cancelled")
NOTES = [
    told(WAITED, "submitted", id=9, count=5),
    told(WAITED, "ended", tasks=ENDED),
    told(WAITED, "followed", results=[[index, "completed"] for index in range(5)]),
]
JOB_RUNS = runs_of(WAITED)
GOOD_JOB = replace(GOOD, job_records=of_job(WAITED), job_executions=JOB_RUNS, client_notes=NOTES)


def with_job(**changes: Any) -> Evidence:
    return replace(GOOD_JOB, **changes)


CLEAN = {
    "a job": GOOD_JOB,
    "a job that was cancelled": with_job(
        job_records=HALF, job_executions=runs_of(CANCELLED), client_notes=[told(CANCELLED, "cancelled", completed=3)]
    ),
    "as many at once as a limit allows": with_job(
        job_records=of_job(LIMITED), job_executions=runs_of(LIMITED, 0.6), client_notes=[]
    ),
    "nothing special": GOOD,
    "another order of ends": with_(executions=sorted(RUNS, key=lambda run: -run.number)),
    "started again after its controller was killed": with_(executions=AGAIN, faults=[fault("controller_kill", 2.5)]),
    "overlaps because its controller was silent": with_(
        executions=OVERLAPS, faults=[fault("controller_pause_long", 0.5, for_s=2.5)]
    ),
    "two lesser faults": with_(executions=AGAIN, faults=[fault("link_cut", 2), fault("master_kill", 2.1, "master")]),
    "started again in another epoch with the same attempt": with_(
        executions=[*RUNS, ran(0, 11, 12, pid=51)], faults=[fault("link_hole", 8, for_s=3)], lives=MASTERS
    ),
    "a worker killed": with_(executions=KILLED, records=SECOND, faults=[fault("worker_kill", 1.1, pid=50)]),
    "late, but the controller was cut off": with_(
        leases=[lease(1, 0.9), lease(1, 8.9, 2)],
        executions=KILLED_LATE,
        records=SECOND,
        faults=[fault("worker_kill", 1.1, pid=50), fault("link_hole", 1.0, for_s=3)],
    ),
    "killed so often that it was quarantined": with_(
        executions=[*UNLUCKY, *RUNS[1:]],
        records=[recorded(0, "quarantined", 5), *RECORDS[1:]],
        faults=[fault("worker_kill", n / 10 + 0.01, pid=40 + n) for n in range(1, 6)],
    ),
    "acknowledged once and kept": with_(acknowledged=[acknowledged(1, 3, 0)], leases=[lease(1, 1)]),
    "a failure acknowledged late and executed again": with_(
        acknowledged=[acknowledged(2, 3, 1)], leases=[lease(2, 1), lease(2, 5, 2)]
    ),
    "read from the other connection a moment later": with_(
        acknowledged=[acknowledged(1, 3, 0)], leases=[lease(1, 3.2)]
    ),
    "the crash of who was running": with_(acknowledged=[acknowledged(3, 3, 3)]),
    "killed a moment before it could note its start": with_(
        acknowledged=[acknowledged(4, 6, 3, attempt=2)], faults=[fault("worker_kill", 6, pid=77)]
    ),
    "requeued in front of others": with_(leases=[lease(1, 1), lease(2, 1.1), lease(1, 2, 2), lease(3, 3)]),
    "out of order where a link was cut": with_(
        leases=[lease(2, 1), lease(1, 2)], faults=[fault("link_lose", 1.5), fault("link_cut", 1.6)]
    ),
    "an epoch for each life": with_(welcomed=[Welcomed(at(1), 1, "a"), Welcomed(at(11), 2, "a")]),
    "the last words of a dead master": with_(welcomed=[Welcomed(at(9.2), 1, "a"), Welcomed(at(11), 2, "a")]),
    "followed": with_(
        about=FOLLOW, executions=FOLLOW_RUNS, records=FOLLOW_RECORDS, deliveries=[*DELIVERED, DELIVERED[0]]
    ),
    "small": with_(samples=[Sample(at(1), 7, 50 << 20, 30)]),
    "killed by us": with_(lives=[*MASTERS, Life("c1", 9, at(0), at(3), -9, asked=True)]),
    "not yet collected": with_(lives=[*MASTERS, Life("c1", 9, at(0))]),
}

VIOLATED = {
    "a lost task": ("I1", with_(records=RECORDS[:3])),
    "never done": ("I1", with_(about=replace(ABOUT, drained=False))),
    "the wrong state": ("I1", with_(records=[recorded(0, "failed"), *RECORDS[1:]])),
    "quarantined without a cause": ("I1", with_(records=[recorded(0, "quarantined"), *RECORDS[1:]])),
    "a poisoned task completed": ("I1", with_(records=[*RECORDS[:2], recorded(2), RECORDS[3]])),
    "recorded twice": ("I2", with_(records=[*RECORDS, recorded(0)])),
    "recorded under two ids": ("I2", with_(records=[*RECORDS, recorded(0, task_id=9)])),
    "a value that nobody computed": ("I2", with_(records=[recorded(0, text="0/2"), *RECORDS[1:]])),
    "the value of another task": ("I2", with_(records=[recorded(0, text="3/1"), *RECORDS[1:]])),
    "a journal that its verify refuses": ("I2", with_(journal_faults=["verify: exit code 1"])),
    "started again without a fault": ("I3", with_(executions=AGAIN)),
    "started again, another controller had the fault": (
        "I3",
        with_(executions=AGAIN, faults=[fault("controller_kill", 2.5, "c2")]),
    ),
    "started again, the fault was long over": (
        "I3",
        with_(executions=[*RUNS, ran(0, 30, 31, attempt=2)], faults=[fault("controller_kill", -20)]),
    ),
    "started again because the master was killed": (
        "I3",
        with_(executions=AGAIN, faults=[fault("master_kill", 2.5, "master")]),
    ),
    "started again because a guardian was killed": (
        "I3",
        with_(executions=AGAIN, faults=[fault("guardian_kill", 2.5), fault("clock", 2.5, "all")]),
    ),
    "overlaps without a fault": ("I3", with_(executions=OVERLAPS)),
    "an exclusive task overlaps, fault or not": (
        "I3",
        with_(executions=EXCLUSIVE_OVERLAPS, faults=[fault("controller_pause_long", 4, for_s=3)]),
    ),
    "an end without a start": ("I4", with_(misfits=["E 1 2 3"])),
    "one lease executed twice": (
        "I4",
        with_(executions=[*RUNS, ran(0, 3, 4, pid=51)], faults=[fault("controller_kill", 2.5)]),
    ),
    "leased twice with one attempt": ("I4", with_(leases=[lease(1, 1), lease(1, 2)])),
    "charged without having started": ("I4", with_(acknowledged=[acknowledged(5, 3, 3)])),
    "charged although another one was executing": (
        "I4",
        with_(executions=KILLED, acknowledged=[acknowledged(5, 3, 3)], faults=[fault("worker_kill", 1.1, pid=50)]),
    ),
    "reported and never executed": ("I4", with_(acknowledged=[acknowledged(1, 3, 0, attempt=2)])),
    "reported as ended though it never ended": ("I4", with_(acknowledged=[acknowledged(3, 3, 0)])),
    "an epoch falls": ("I5", with_(welcomed=[Welcomed(at(1), 2, "a"), Welcomed(at(11), 1, "a")])),
    "an epoch stays": ("I5", with_(welcomed=[Welcomed(at(1), 1, "a"), Welcomed(at(11), 1, "a")])),
    "two epochs in a life": ("I5", with_(welcomed=[Welcomed(at(1), 1, "a"), Welcomed(at(2), 2, "a")])),
    "another journal": ("I5", with_(welcomed=[Welcomed(at(1), 1, "a"), Welcomed(at(11), 2, "b")])),
    "left behind": ("I6", with_(leftovers=["process 7: sleep 3600"])),
    "too large": ("I7", with_(samples=[Sample(at(1), 7, 500 << 20, 30)])),
    "too many descriptors": ("I7", with_(samples=[Sample(at(1), 7, 50 << 20, 3000)])),
    "late after a worker's death": (
        "I8",
        with_(executions=KILLED_LATE, faults=[fault("worker_kill", 1.1, pid=50)]),
    ),
    "late after a controller's death": (
        "I8",
        with_(executions=KILLED_LATE, faults=[fault("controller_kill", 1.1)]),
    ),
    "a later task leaves first": ("I9", with_(leases=[lease(2, 1), lease(1, 2)])),
    "died by itself": ("I10", with_(lives=[*MASTERS, Life("c1", 9, at(0), at(3), 70)])),
    "killed by somebody else": ("I10", with_(lives=[*MASTERS, Life("c1", 9, at(0), at(3), -9)])),
    "acknowledged and lost": ("I11", with_(acknowledged=[acknowledged(1, 3, 0)], records=RECORDS[1:])),
    "acknowledged and leased again": (
        "I11",
        with_(acknowledged=[acknowledged(1, 3, 0)], leases=[lease(1, 1), lease(1, 5, 2)]),
    ),
    "a gap in the generator's output": ("I12", with_(records=[RECORDS[0], *RECORDS[2:]])),
    "a repetition": ("I12", with_(records=[*RECORDS, recorded(0, task_id=9)])),
    "out of the generator's order": (
        "I12",
        with_(records=[recorded(1, task_id=1), recorded(0, task_id=2), *RECORDS[2:]]),
    ),
    "its end is missing": ("I12", with_(records=RECORDS[:3])),
    "a task from nowhere": ("I12", with_(records=[*RECORDS, recorded(17)])),
    "a result was not delivered": (
        "I12",
        with_(about=FOLLOW, executions=FOLLOW_RUNS, records=FOLLOW_RECORDS, deliveries=DELIVERED[1:]),
    ),
    "a follow-up is missing": (
        "I1",
        with_(about=FOLLOW, executions=FOLLOW_RUNS, records=RECORDS, deliveries=DELIVERED),
    ),
    "stood still after the faults": ("I14", with_(executions=[*RUNS, ran(3, 36, 37, attempt=2)])),
    "a job that was answered is lost": ("J1", with_job(job_records=[])),
    "a job that was answered lacks a task": ("J1", with_job(job_records=of_job(WAITED)[:4])),
    "a job was made twice": ("J1", with_job(job_records=[*of_job(WAITED), *of_job(WAITED, 10)])),
    "a job ended otherwise than its client was told": (
        "J1",
        with_job(client_notes=[told(WAITED, "ended", tasks={"completed": 4, "failed": 1})]),
    ),
    "a follower was told something else": ("J1", with_job(client_notes=[told(WAITED, "followed", results=[])])),
    "a task of a job failed that does not": ("J2", with_job(job_records=of_job(WAITED, t1="failed"))),
    "a task of a job is cancelled by nobody": ("J2", with_job(job_records=of_job(WAITED, t1="cancelled"))),
    "a value of a job that nobody computed": ("J2", with_job(job_executions=JOB_RUNS[1:])),
    "more bad ends than a job may have": (
        "J2",
        with_job(job_records=of_job(FAILING, t0="failed", t1="failed"), job_executions=runs_of(FAILING)),
    ),
    "completed after it was cancelled": (
        "J3",
        with_job(
            job_records=HALF,
            job_executions=runs_of(CANCELLED),
            client_notes=[told(CANCELLED, "cancelled", completed=2)],
        ),
    ),
    "two at once of a job that may have one": ("J4", with_job(job_executions=runs_of(WAITED, 0.9))),
    "more at once than a limit allows": (
        "J4",
        with_job(job_records=of_job(LIMITED), job_executions=runs_of(LIMITED, 0.4), client_notes=[]),
    ),
    "did not end": ("I14", with_(about=replace(ABOUT, drained_ns=at(60)))),
}


@pytest.mark.parametrize("name", CLEAN)
def test_given_a_good_history_then_the_verdict_is_clean(name: str) -> None:
    verdict = checker.judge(CLEAN[name])
    assert verdict["clean"], verdict["violations"]


@pytest.mark.parametrize("name", VIOLATED)
def test_given_a_bad_history_then_its_invariant_is_violated(name: str) -> None:
    invariant, bad = VIOLATED[name]
    assert invariant in checker.judge(bad)["violations"]


def test_given_the_table_then_each_invariant_has_a_bad_history() -> None:
    assert {invariant for invariant, _ in VIOLATED.values()} == set(checker.CHECKS)


def test_given_what_tasks_wrote_then_it_is_read_and_what_a_kill_has_torn_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("\nS 0 1 1 50 c1.1 100\nS 1 2 1 50 c1\nE 0 1 1 50 c1.1 abc 200\nE 7 8 1 50 c1.1 abc 300\nS 3 4 2 5")
    found, misfits = history.executions(path)
    assert found == [Execution(0, 1, 1, 50, "c1.1", 100, 200, "abc")]
    assert misfits == ["E 7 8 1 50 c1.1 abc 300"]


def test_given_a_marked_process_and_a_file_then_both_are_found_as_left_behind(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    mark = f"chaos-{os.getpid()}"
    # Its environment can be read when exec(2) is over, which may be a moment after Popen has returned.
    program = "print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, MARK: mark}
    ) as process:
        assert process.stdout
        process.stdout.readline()
        found = evidence.leftovers(tmp_path, mark)
        process.communicate(b"\n")
    assert len(found) == 2
    assert f"process {process.pid}" in found[0]
    assert "scratch" in found[1]
    assert len(evidence.leftovers(tmp_path, mark)) == 1


def test_given_lines_of_the_wire_then_results_are_joined_with_what_acknowledged_them(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"kind": "hello", "incarnation": "i1", "held": 0},
        {"kind": "welcome", "incarnation": "i1", "epoch": 4, "journal": "j"},
        {"kind": "tasks", "leases": [[1, 2, 1]]},
        {"kind": "results", "number": 1, "batches": [[1, 4, 1, "0001"]]},
        {"kind": "recorded", "numbers": [1]},
        {"kind": "recorded", "numbers": [2]},
    ]
    path = tmp_path / "wire"
    path.write_text("\n".join(json.dumps({"at": 5, "link": "c1", "connection": 3} | line) for line in lines))
    found = Evidence(ABOUT)
    evidence.read_wire(path, found)
    assert found.leases == [Lease(5, "c1", 3, 4, 1, 1, 2)]
    assert found.welcomed == [Welcomed(5, 4, "j")]
    assert found.acknowledged == [Acknowledged(5, 1, 4, 1, b"\0\1")]
