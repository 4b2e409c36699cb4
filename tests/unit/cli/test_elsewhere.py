"""Verbs and options of other systems: the error names ours, ours are there, and what would mislead is not guessed."""

import argparse
import re

import pytest

from cyclone.cli import elsewhere, parsing
from cyclone.errors import UsageError

NOT_OURS = [
    (["submit", "-J", "x", "--", "true"], "submit does not take '-J': is --name meant?"),
    (["submit", "--job-name=x", "--", "true"], "is --name meant?"),
    (["submit", "-a", "0-3", "--", "true"], "is --array or --each-line meant?"),
    (["run", "-j", "8", "--", "true"], "run does not take '-j': is --parallel or --workers meant?"),
    (["submit", "-j", "8", "--", "true"], "is --parallel meant?"),
    (["run", "--timeout", "1", "--", "true"], "is --time-limit meant?"),
    (["run", "--halt", "now,fail=1", "--", "true"], "is --max-fails meant?"),
    (["submit", "-d", "afterok:5", "--", "true"], "no job waits for another"),
    (["submit", "--output", "x", "--", "true"], "`cyclone logs` shows it"),
    (["jobs", "--filter", "failed"], "is --state meant?"),
    (["jobs", "--me"], "is --owner meant?"),
    # Of a verb that submits nothing nothing is said of jobs.
    (["cancel", "--dependency", "5"], "`cyclone cancel --help` lists what it takes"),
    (["submit", "--tim-limit", "1", "--", "true"], "is --time-limit meant?"),
    # Where the value behind it would be taken for jobs, too.
    (["jobs", "-t", "R"], "jobs does not take '-t': is --state meant?"),
    (["jobs", "-u", "root"], "jobs does not take '-u': is --owner meant?"),
    (["cancel", "-u", "root"], "is --owner meant?"),
    (["cancel", "-t", "PENDING", "3"], "cancel does not take '-t': is --only meant?"),
    (["retry", "--failed", "1"], "is --only meant?"),
    (["retry", "--filter", "failed", "1"], "is --only meant?"),
    *(([verb, "-j", "3"], "jobs stand alone, without an option") for verb in ("jobs", "tasks", "stats", "wait")),
    (["events", "-j", "3"], "is --job meant?"),
    (["jobs", "--all"], "all jobs are listed"),
    (["events", "--starttime", "1"], "is --since meant?"),
    (["submit", "-N2", "true"], "submit does not take '-N2': a task runs on one node"),
    (["run", "-N1", "true"], "a task runs on one node"),
    (["run", "--pty", "bash"], "a task has no terminal"),
    (["submit", "--pin", "taskset", "x"], "nothing like it here"),
    (["submit", "--stream", "x", "true"], "`cyclone logs` shows it"),
    (["submit", "--entries", "x"], "is --each-line or --from-json meant?"),
    (["submit", "--directives", "auto", "x.sh"], "are always read"),
    (["submit", "--requeue", "x"], "always runs again"),
    (["submit", "--no-requeue", "x"], "always runs again"),
    (["submit", "-H", "true"], "is --hold meant?"),
    (["submit", "-q", "high", "true"], "is --qos meant?"),
    (["submit", "-G", "1", "true"], "is --resource or --limit meant?"),
    (["submit", "-i", "f", "true"], "is --stdin meant?"),
    (["submit", "--mem-per-cpu=4G", "true"], "is --mem meant?"),
    (["submit", "--mail-type=END", "true"], "nobody is mailed"),
    # Nothing is guessed that is not much alike.
    (["tasks", "--all"], "`cyclone tasks --help` lists what it takes"),
    (["submit", "--strings", "x"], "`cyclone submit --help` lists what it takes"),
    (["retry", "--profiled-by-x", "1"], "`cyclone retry --help` lists what it takes"),
    (["jobs", "-5"], "'-5' is no selection"),
    (["submit", "-p", "short", "x"], "write name=value, such as -p path=/tmp; a namespace is -n"),
    (["jobs", "-o", "%i %T"], "'%i %T': a field stands in braces: --format '{id} {state}'"),
    (["namespaces", "-o", "%n"], "--format '{name} {state}'"),
]
VERBS = [
    ("job", "is `cyclone jobs` meant?"),
    ("job list", "is `cyclone jobs` meant?"),
    ("job cat", "is `cyclone logs` meant?"),
    ("job cancel", "is `cyclone cancel` meant?"),
    ("job wait", "is `cyclone wait` meant?"),
    ("job info", "is `cyclone show` meant?"),
    ("job submit", "is `cyclone submit` meant?"),
    ("task info", "is `cyclone show` meant?"),
    ("task explain", "is `cyclone explain` meant?"),
    ("worker list", "is `cyclone nodes` meant?"),
    ("worker stop", "is `cyclone drain` meant?"),
    ("worker start", "'worker': `cyclone-controller -f FILE` starts the workers"),
    ("server start", "'server': `cyclone-master -f FILE` starts a master"),
    ("start", "`cyclone-master -f FILE` starts a master, `cyclone-controller -f FILE`"),
    ("stop", "`cyclone cancel` ends jobs; a master or a controller ends by SIGTERM"),
    ("restart", "`cyclone retry` runs again"),
    ("scontrol show", "`cyclone show` is for a job"),
    ("scontrol hold", "is `cyclone hold` meant?"),
    ("scontrol release", "is `cyclone release` meant?"),
    ("scontrol requeue", "is `cyclone requeue` meant?"),
    ("scontrol update", "a job stays as it was submitted"),
    ("cat 1", "is `cyclone logs` meant?"),
    ("jobs list", "jobs does not take 'list': is `cyclone jobs` meant?"),
    ("tasks list 1", "tasks does not take 'list': is `cyclone tasks` meant?"),
    ("journal stream", "is `cyclone events -f --json` meant?"),
    ("alloc list", "`cyclone-controller -f FILE` starts"),
    ("undrain node1", "is `cyclone drain --undo` meant?"),
    ("unhold 3", "is `cyclone release` meant?"),
    ("suspend 3", "`cyclone hold` starts no more tasks"),
    ("version", "`cyclone --version`"),
    ("delete 5", "is `cyclone cancel` meant?"),
    ("hosts", "is `cyclone nodes` meant?"),
    ("servers", "is `cyclone status` meant?"),
    ("array", "is `cyclone submit --array` meant?"),
    ("-- jobs", "there is no verb '--': `cyclone --help` lists them"),
    ("delegate", "`cyclone --help` lists them"),
]


@pytest.mark.parametrize(("line", "said"), VERBS)
def test_given_a_verb_of_another_system_then_its_second_word_counts_too(line: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        parsing.parse(line.split())
    assert said in str(raised.value)


@pytest.mark.parametrize(("words", "said"), NOT_OURS)
def test_given_an_option_of_another_system_then_the_error_names_ours(words: list[str], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        parsing.parse(words)
    assert said in str(raised.value)


def options() -> dict[str, set[str]]:
    """Of each verb."""
    [verbs] = [one for one in parsing.parser()._actions if isinstance(one, argparse._SubParsersAction)]
    return {name: set(verb._option_string_actions) for name, verb in verbs.choices.items()}


def test_given_what_hints_name_then_some_verb_has_it() -> None:
    tables = (elsewhere._OURS, elsewhere._FIRST_OF_OURS)
    named = {option for table in tables for ours in table.values() for option in ours} | set(elsewhere._REMARKS)
    assert named - set().union(*options().values()) == set()


def test_given_the_commands_that_hints_name_then_they_are_there() -> None:
    there = options()
    for command in elsewhere._COMMANDS.values():
        verb, *given = command.split()
        assert set(given) <= there[verb], command
    for said in (*elsewhere._COMMANDS, *elsewhere._NO_COMMAND):
        assert said not in there, f"{said} is ours"
    for sentence in elsewhere._NO_COMMAND.values():
        for verb in re.findall("`cyclone ([a-z]+)", sentence):
            assert verb in there, sentence
