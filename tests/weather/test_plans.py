"""What is drawn: all of the mock's switches and faults, the same for the same seed; and plans as text."""

from collections import Counter

import pytest

from tests.weather.drawing import SCHEMAS, WORDS, draw, value_of
from tests.weather.mock_weather import ACTS
from tests.weather.plan import Plan
from yeedu_mock.control.faults import Fault
from yeedu_mock.control.switches import Switches

# Beside one half of the sequences, as test_invariants.py is beside the other.
pytestmark = pytest.mark.xdist_group("weather-0")

PLANS = [draw(seed) for seed in range(2000)]


def test_every_switch_is_drawn_with_every_value_of_a_few() -> None:
    seen: dict[str, set[str]] = {name: set() for name in SCHEMAS}
    for plan in PLANS:
        for changed in (plan.switches, *(spell.switches for spell in plan.spells)):
            Switches().changed(changed)
            for name, value in changed.items():
                seen[name].add(repr(value))
    for name, schema in SCHEMAS.items():
        few = schema.get("enum") or ([True, False] if schema.get("type") == "boolean" else [])
        missing = {repr(value) for value in few} - seen[name]
        assert seen[name], name
        assert not missing, (name, missing)


def test_a_switch_of_words_that_nobody_listed_is_told() -> None:
    of_words = {name for name, schema in SCHEMAS.items() if schema.get("items") == {"type": "string"}}
    assert of_words == {*WORDS}


def test_every_act_way_and_end_is_drawn() -> None:
    acts = Counter(act.what for plan in PLANS for act in plan.acts)
    ways = Counter((plan.way, plan.kind, plan.generation) for plan in PLANS)
    ends = Counter((plan.way, attempt.ends) for plan in PLANS for attempt in plan.attempts)
    assert {*acts} == {*ACTS}
    every_way = {
        (way, kind, generation)
        for way in ("sync", "async", "task", "process")
        for kind in ("job", "notebook")
        for generation in ("v1", "v1b", "v2")
    }
    assert every_way <= {*ways}
    assert {("process", "kill"), ("process", "term"), ("async", "cancel"), ("task", "cancel")} <= {*ends}


def test_faults_are_such_as_the_mock_takes() -> None:
    faults = [Fault.model_validate(fault) for plan in PLANS for fault in plan.faults]
    assert {fault.drop for fault in faults} == {None, "before", "after", "during"}
    assert {fault.page for fault in faults} == {None, "html", "text"}
    assert any(fault.delay_seconds for fault in faults)


def test_some_weather_is_fine() -> None:
    assert sum(plan.is_fine for plan in PLANS) > len(PLANS) // 50


@pytest.mark.parametrize("seed", [0, 7, 1234])
def test_a_seed_is_a_plan_and_a_plan_is_a_line(seed: int) -> None:
    plan = draw(seed)
    assert draw(seed) == plan
    assert Plan.read(str(plan)) == plan
    assert "\n" not in str(plan)


def test_a_smaller_plan_lacks_one_thing() -> None:
    plan = max(PLANS[:100], key=lambda plan: len(str(plan)))
    smaller = [*plan.smaller()]
    assert len(smaller) >= len(plan.switches) + len(plan.faults) + len(plan.spells)
    assert all(len(str(one)) < len(str(plan)) for one in smaller)


def test_values_keep_the_switches_bounds() -> None:
    import random

    chance = random.Random(1)
    for name in SCHEMAS:
        for _ in range(50):
            Switches().changed({name: value_of(name, chance)})
