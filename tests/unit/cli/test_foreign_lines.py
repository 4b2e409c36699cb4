"""Lines of scripts for other systems: what is written here instead, and that it means something here."""

import pytest

from cyclone.cli.directives import directives, unread


def advice(line: str) -> str:
    [told] = unread(f"{line}\n", "job.sh", {})
    return told.partition(" is not read here: ")[2]


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("#SBATCH --array=0-3", "--array 0-3"),
        ("#SBATCH -a 0-99%10 # comment", "--array 0-99%10"),
        ("#SBATCH --job-name='two words'", "--name 'two words'"),
        ("#SBATCH --mem=4000", "--mem 4000M"),
        ("#SBATCH --mem 4G", "--mem 4G"),
        ("#SBATCH -t 10", "--time-limit 10m"),
        ("#SBATCH --time=10:30", "--time-limit 10m30s"),
        ("#SBATCH --time=1-12:00:00", "--time-limit 1-12:00:00"),
        ("#SBATCH --time=1-12", "--time-limit 1-12:00:00"),
        ("#SBATCH --time=1-12:30", "--time-limit 1-12:30:00"),
        ("#SBATCH --time=1:30:00", "--time-limit 1:30:00"),
        ("#SBATCH -p fast", "--namespace fast"),
        ("#SBATCH -H", "--hold"),
        ("#PBS -N name", "--name name"),
        ("#PBS -J 0-3", "--array 0-3"),
        ("#PBS -l walltime=10:30", "--time-limit 10m30s"),
        ("#PBS -l walltime=90", "--time-limit 90"),
        ("#PBS -l ncpus=4", "--cpus 4"),
        ("#HQ --cpus=4", "--cpus 4"),
        ("#BSUB -J big", "--name big"),
        ('#BSUB -J "big[1-10]%2"', "--array 1-10%2"),
        ("#BSUB -W 1:30", "--time-limit 1h30m"),
        ("#BSUB -W 90", "--time-limit 90m"),
        ("#BSUB -cwd /x", "--cwd /x"),
    ],
)
def test_given_a_line_of_another_system_then_ours_is_told_and_can_be_read(line: str, ours: str) -> None:
    assert advice(line) == f"write #CYCLONE {ours}"
    assert len(directives(f"#CYCLONE {ours}\n", "job.sh")) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("#SBATCH -c4 --mem=4G", "write #CYCLONE --cpus 4 --mem 4G"),
        ("#SBATCH --hold --array=1", "write #CYCLONE --hold --array 1"),
        ("#PBS -l walltime=01:00:00,ncpus=2", "write #CYCLONE --time-limit 01:00:00 --cpus 2"),
        ("#SBATCH -c 4 -d afterok:5", "write #CYCLONE --cpus 4; -d: no job waits for another"),
        ("#PBS -l walltime=90,nodes=2", "write #CYCLONE --time-limit 90; -l nodes: `cyclone submit --help`"),
    ],
)
def test_given_several_options_in_a_line_then_all_are_told_of(line: str, said: str) -> None:
    assert advice(line).startswith(said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("#SBATCH -o out-%j.txt", "what a task prints is kept: `cyclone logs` shows it"),
        ("#SBATCH --dependency=afterok:5", "no job waits for another"),
        ("#SBATCH --gres=gpu:1", "is --resource or --limit meant?"),
        ("#SBATCH --comment=x", "`cyclone submit --help` lists the options"),
        ("#PBS -e err", "what a task prints is kept"),
        # A word that means another thing there than on the command lines that `elsewhere` knows.
        ("#PBS -A project", "`cyclone submit --help` lists the options"),
        ("#PBS -l select=2", "`cyclone submit --help` lists the options"),
        ("#BSUB -o", "what a task prints is kept"),
        ("#HQ --job-name 'x", "is --name meant?"),
    ],
)
def test_given_what_has_no_like_here_then_the_reason_or_the_list_is_told(line: str, said: str) -> None:
    assert said in advice(line)
