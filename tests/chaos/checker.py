"""``python -m tests.chaos.checker FOLDER``: the verdict on a run, from what it has left behind and from nothing else.

Prints the verdict as JSON, writes it into the folder as ``verdict.json``, and exits with 0 for clean, 1 for not.
"""

import argparse
import json
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from tests.chaos import checks, job_checks, liveness
from tests.chaos.checks import Check
from tests.chaos.evidence import Evidence, read

VERDICT = "verdict.json"
# More of a kind say nothing more.
_SHOWN_MAX = 20
_COUNTED_MAX = 10_000

CHECKS: dict[str, Check] = {
    "I1": checks.no_loss,
    "I2": checks.recorded_once,
    "I3": checks.single_holder,
    "I4": checks.legal_order,
    "I5": checks.epochs_rise,
    "I6": liveness.nothing_left,
    "I7": liveness.memory_bounded,
    "I8": liveness.redispatched_in_time,
    "I9": liveness.first_come_first_served,
    "I10": liveness.everybody_lives,
    "I11": checks.acknowledged_is_durable,
    "I12": checks.generator_goes_on,
    "I14": liveness.work_goes_on,
    "J1": job_checks.submitted_once,
    "J2": job_checks.ended_as_they_must,
    "J3": job_checks.cancelled_stays_so,
    "J4": job_checks.limits_hold,
}


def judge(evidence: Evidence) -> dict[str, Any]:
    """The verdict: ``clean``, the violations by invariant, and the figures."""
    violations = {name: list(islice(check(evidence), _COUNTED_MAX)) for name, check in CHECKS.items()}
    violations = {name: found for name, found in violations.items() if found}
    return {
        "clean": not violations,
        "seed": evidence.about.seed,
        "violations": {name: {"count": len(found), "first": found[:_SHOWN_MAX]} for name, found in violations.items()},
        "figures": _figures(evidence),
    }


def _figures(evidence: Evidence) -> dict[str, Any]:
    waits = liveness.redispatch(evidence)
    starts = Counter(execution.number for execution in evidence.executions)
    figures: dict[str, Any] = {
        "tasks": len(evidence.records),
        "states": dict(Counter(record.state for record in evidence.records)),
        "executions": len(evidence.executions),
        "tasks_started_again": sum(count > 1 for count in starts.values()),
        "jobs": len({record.job_id for record in evidence.job_records}),
        "tasks_of_jobs": dict(Counter(record.state for record in evidence.job_records)),
        "faults": len(evidence.faults),
        "faults_by_kind": dict(Counter(fault.kind for fault in evidence.faults).most_common()),
        "lives_of_the_master": sum(life.name == "master" for life in evidence.lives),
        "acknowledged_on_the_wire": sum(len(message.statuses) for message in evidence.acknowledged),
        "leased_on_the_wire": sum(lease.count for lease in evidence.leases),
        "master_rss_max_mib": max((sample.rss_bytes >> 20 for sample in evidence.samples), default=0),
        "seconds": round((evidence.about.ended_ns - evidence.about.began_ns) / 1e9, 1),
    }
    for kind in ("worker_kill", "controller_kill"):
        seconds = [wait.seconds for wait in waits if wait.fault.kind == kind and not wait.disturbed]
        figures[f"redispatch_after_{kind}"] = {
            "count": len(seconds),
            "p50_s": round(liveness.percentile(seconds, 0.5), 3),
            "p99_s": round(liveness.percentile(seconds, 0.99), 3),
            "disturbed": sum(wait.fault.kind == kind and wait.disturbed for wait in waits),
        }
    return figures


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.checker", description=__doc__)
    parser.add_argument("folder", type=Path, help="of a run")
    folder = parser.parse_args().folder
    verdict = judge(read(folder))
    text = json.dumps(verdict, indent=1)
    (folder / VERDICT).write_text(text + "\n")
    print(text)
    return 0 if verdict["clean"] else 1


if __name__ == "__main__":
    sys.exit(main())
