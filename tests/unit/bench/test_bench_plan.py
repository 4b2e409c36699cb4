"""What a measurement is, and by what name it is found again."""

from dataclasses import replace

import pytest

from cyclone.bench.plan import Mode, Plan
from cyclone.generator import BaseTaskGenerator
from task_generators.benchmark import BenchmarkTaskGenerator
from tests.support.drive import drive

PLANS = [
    Plan("throughput", 5, 2),
    Plan("latency", 5, 2),
    Plan("busy", 5, 2, task_ms=0.01),
    Plan("payload", 5, 2, payload_bytes=10),
]


def generator(plan: Plan) -> BaseTaskGenerator:
    options = dict(option.removeprefix("benchmark.").split("=", 1) for option in plan.generator_options())
    assert options.pop("task_generator.class") == "task_generators.benchmark:BenchmarkTaskGenerator"
    return BenchmarkTaskGenerator({"benchmark": options})


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.mode)
def test_given_a_plan_when_its_generator_has_run_then_its_summary_is_the_expected_one(plan: Plan) -> None:
    found = generator(plan)

    drive(found)

    assert found.summary() == plan.summary()


def test_given_the_latency_mode_then_there_is_one_task_at_a_time() -> None:
    assert len(list(generator(Plan("latency", 5, 2)).generate())) == 1


def test_given_the_mixed_mode_then_one_long_task_is_among_many_short_ones() -> None:
    plan = Plan("mixed", 40, 4, durations="mixed").one_long()

    found = sorted(vars(task)["milliseconds"] for task in generator(plan).generate())

    assert len(found) == plan.tasks == 1000
    assert found[-2] <= 1.0
    assert found[-1] == 10_000.0


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "latency"},
        {"tasks": 1001},
        {"workers": 3},
        {"controllers": 2},
        {"durability": "full"},
        {"curve": True},
        {"listen": "tcp://*:5678"},
        {"overrides": ("journal.keep=1000",)},
    ],
    ids=str,
)
def test_given_plans_that_differ_in_what_matters_then_their_names_differ(changes: dict[str, str]) -> None:
    plan = Plan("throughput", 1000, 2)

    assert replace(plan, **changes).name() != plan.name()  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["throughput", "latency", "mixed"])
def test_given_plans_that_differ_in_what_does_not_concern_the_mode_then_they_have_one_name(mode: Mode) -> None:
    plan = Plan(mode, 1000, 2)

    assert replace(plan, task_ms=7.0, payload_bytes=3).name() == plan.name()


def test_given_any_plan_then_its_name_is_that_of_a_file() -> None:
    plan = Plan("payload", 1, 2, listen="tcp://[::1]:5678", overrides=("control.state_dir=/var/lib",))

    assert "/" not in plan.name()
