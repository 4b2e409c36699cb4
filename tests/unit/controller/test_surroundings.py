"""What of the controller's environment a worker gets."""

from pathlib import Path

import pytest

from cyclone.controller.surroundings import environment

SCRATCH = Path("scratch")


@pytest.mark.parametrize(
    ("name", "keep", "kept"),
    [
        ("PATH", (), True),
        ("PATHS", (), False),
        ("LC_ALL", (), True),
        ("LC", (), False),
        ("LANG", (), True),
        ("LANGUAGE", (), False),
        ("PYTHONPATH", (), True),
        ("CYCLONE_OWNER", (), True),
        ("LD_LIBRARY_PATH", (), True),
        ("LD_PRELOAD", (), False),
        ("SSH_AUTH_SOCK", (), False),
        ("SLURM_JOB_ID", (), False),
        ("SLURM_JOB_ID", ("SLURM_*",), True),
        ("OMP_NUM_THREADS", ("SLURM_*", "OMP_NUM_THREADS"), True),
        ("OMP_NUM_THREADS_X", ("OMP_NUM_THREADS",), False),
        ("ANYTHING", ("*",), True),
    ],
)
def test_given_a_variable_then_a_worker_gets_it_only_when_it_is_listed(
    name: str, keep: tuple[str, ...], kept: bool
) -> None:
    assert (environment({name: "value"}, keep, SCRATCH).get(name) == "value") is kept


def test_given_a_folder_for_temporary_files_then_a_worker_has_its_own_instead() -> None:
    assert environment({"TMPDIR": "everybody's"}, ("*",), SCRATCH) == {"TMPDIR": "scratch"}
