"""``make bench-lustre``, its second part: moves by an executable ``lfs``, master and generator killed on the way.

    python -m benchmarks.lustre_executable [--moves 2000] [--workers 8]

To be run in the sources' folder. Three processes for each move, about 60 ms of a processor: what the first part answers
in process goes here the whole way, with the fake Lustre of the tests. Ends with 1 where a path has not exactly one
outcome, a file does not lie where its outcome says, or an OST had more than one move at a time.
"""

import argparse
import os
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

from cyclone.errors import CycloneError
from cyclone.lustre.migration_status import read_status
from tests.fake_lustre.log import assert_streams
from tests.support.exports import exported
from tests.support.lab import Lab, Sections, new_lab
from tests.support.lustre import FakeLustre, fake_lustre
from tests.support.migrations import lines, write_input

SOURCES, TARGETS = 16, 8
FILE_BYTES = 4096
_DEADLINE_S = 600


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], prog="python -m benchmarks.lustre_executable"
    )
    parser.add_argument("--moves", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=8)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cyclone-lustre-") as folder, new_lab(Path(folder)) as lab:
        fake = fake_lustre(lab.folder, osts=SOURCES + TARGETS, fill=(90.0,) * SOURCES + (10.0,) * TARGETS)
        listed = [(number % SOURCES, f"f{number}") for number in range(args.moves)]
        paths = fake.populate([(name, ost) for ost, name in listed], FILE_BYTES)
        (lab.folder / "input").mkdir()
        write_input(lab.folder / "input", "a.input", lines(zip((ost for ost, _ in listed), paths, strict=True)))
        began = time.monotonic()
        _migrate(lab, fake, args.moves, args.workers)
        seconds = time.monotonic() - began
        _judge(lab, fake, paths)
    print(f"{args.moves} moves by an executable lfs, master and generator killed: each path once; {seconds:.1f} s")


def _sections(lab: Lab, fake: FakeLustre) -> Sections:
    return {
        "task_generator": {"class": "task_generators.lustre_ost_migration:LustreOstMigrationTaskGenerator"},
        "migration": {
            "input_dir": str(lab.folder / "input"),
            "ost_targets": f"{SOURCES}-{SOURCES + TARGETS - 1}",
            "ost_fill_level_threshold_source": "50",
            "ost_fill_level_threshold_target": "80",
            "print_caches": "500ms",
            "when_done": "end",
        },
        "lustre": {"fs_path": str(fake.mount), "lfs_bin": fake.lfs},
        "journal": {"path": str(lab.folder / "journal")},
        "control": {"exit_when_done": "yes", "max_num_request_retries": "1000"},
    }


def _migrate(lab: Lab, fake: FakeLustre, moves: int, workers: int) -> None:
    config = lab.config(_sections(lab, fake))
    master = lab.master(config)
    node = lab.controller(config, "node", f"processing.worker_count={workers}")
    _await_outcomes(lab, moves // 3)
    master.signal(signal.SIGKILL)
    master.exits()
    master = lab.master(config)
    _await_outcomes(lab, 2 * moves // 3)
    os.kill(lab.process("generator_process"), signal.SIGKILL)
    for started in (master, node):
        if started.exits(_DEADLINE_S) != 0:
            raise SystemExit(f"lustre_executable.py: {started.stderr()[-4000:]}")


def _await_outcomes(lab: Lab, count: int) -> None:
    def reached() -> bool:
        try:
            status, _ = read_status(lab.folder / "input" / "state" / "status.json")
        except CycloneError:
            return False
        return sum(status.outcomes.values()) >= count

    lab.wait_until(reached, f"{count} outcomes", _DEADLINE_S)


def _judge(lab: Lab, fake: FakeLustre, paths: list[str]) -> None:
    values = [record["value"] for record in exported(lab, lab.folder / "journal")]
    times = Counter(value["path"] for value in values if not value["busy"])
    if times != Counter(paths):
        raise SystemExit(f"lustre_executable.py: not once each: {(times - Counter(paths)) + (Counter(paths) - times)}")
    for value in values:
        if value["outcome"] != "SUCCESS" or fake.osts_of(value["path"]) != [value["target"]]:
            raise SystemExit(f"lustre_executable.py: {value}, and it lies on OST {fake.osts_of(value['path'])}")
    assert_streams(fake.log("migrate"))


if __name__ == "__main__":
    main()
