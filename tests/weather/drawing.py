"""Draw plans from seeds: every switch of the mock, every fault, every way to call and to interrupt."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from tests.weather.mock_weather import ACTS, COLLEAGUE_RUNS_IT, SAME_USER_RUNS_IT
from tests.weather.plan import Act, Attempt, Plan, Spell
from yeedu_mock.control.switches import Switches

SCHEMAS: dict[str, Any] = Switches.model_json_schema()["properties"]
# Text that a switch takes and its type does not list.
WORDS = {"websocket_swallow": ["status", "stream", "execute_input", "execute_reply", "error", "display_data"]}
# Where the first number that comes to mind would keep a sequence from ever beginning.
NUMBERS = {"requests_per_second": [5, 20, 50], "log_limit_bytes": [1, 40, 400]}
SECONDS = [0.5, 2.0, 8.0, 30.0]
SHORT = [0.1, 0.5, 2.0]
SHORT_SECONDS = {"websocket_delay_seconds", "replica_lag_seconds"}
COUNTS = [0, 1, 2, 3, 5, 10]
LONGER_THAN_THE_CLIENT_WAITS = 100.0

ROUTES = [
    {"path": r"/(spark/job|notebook)(/run)?$", "method": "POST"},  # a run is submitted
    {"path": r"/(run|job|notebook)/\d+$", "method": "GET"},  # a run is read
    {"path": r"/(stop|kill)/\d+$"},
    {"path": r"/log/"},
    {"path": r"/(runs|jobs|notebooks)$"},
    {"path": r"/(login|logout|user)"},
    {"path": r"/kernel/"},
    {"path": r"/(update|download)$"},
    {"path": r"/api/"},
]
STATUSES = [400, 401, 403, 404, 405, 409, 429, 440, 500, 502, 503, 504]
# What may mean, in Yeedu's own words, that there is no such run. It is wrong about that for a moment only.
GONE = {400, 403, 404, 410}


def value_of(name: str, chance: random.Random, generation: str = "v2") -> Any:
    """Return any value that a switch can have.

    Args:
        name: The switch.
        chance: Where chance comes from.
        generation: The client's; a server of the other ones would only say that it knows nothing.
    """
    if name == "generation":
        return chance.choice(["all", "v2" if generation == "v2" else "v1"])
    schema = SCHEMAS[name]
    forms = schema.get("anyOf", [schema])
    form = chance.choice([form for form in forms if form.get("type") != "null"])
    if "enum" in form:
        return chance.choice(form["enum"])
    if form["type"] == "boolean":
        return chance.random() < 0.5
    if form["type"] == "array":
        words = form["items"].get("enum") or WORDS[name]
        return chance.sample(words, chance.randint(1, min(3, len(words))))
    if name.endswith("_seconds"):
        if name == "submission_seconds" and chance.random() < 0.1:
            return LONGER_THAN_THE_CLIENT_WAITS
        numbers = SHORT if name in SHORT_SECONDS else SECONDS
    else:
        numbers = NUMBERS.get(name, COUNTS)
    return chance.choice([number for number in numbers if form.get("minimum", 0) <= number])


def switches(chance: random.Random, count: int, generation: str) -> dict[str, Any]:
    """Return so many switches with any values."""
    names = chance.sample(list(SCHEMAS), min(count, len(SCHEMAS)))
    return {name: value_of(name, chance, generation) for name in names}


def spell(chance: random.Random, generation: str) -> Spell:
    """Return an outage, or any other change that passes."""
    if chance.random() < 0.4:
        changed = switches(chance, chance.randint(1, 3), generation)
    elif chance.random() < 0.3:
        changed = {
            "connections_to_drop": chance.randint(1, 8),
            "connection_end": value_of("connection_end", chance),
        }
    else:
        changed = {name: value_of(name, chance) for name in ("gateway_status", "gateway_page")}
    requests = chance.choice([1, 2, 3, 5, 8, 15, 30])
    if changed.get("gateway_page") == "json" and changed.get("gateway_status") in GONE:
        requests = min(requests, 2)
    return Spell(chance.randint(1, 25), requests, chance.choice([2.0, 10.0, 40.0, 150.0]), changed)


def fault(chance: random.Random) -> dict[str, Any]:
    """Return what strikes some requests of one route."""
    chosen: dict[str, Any] = {**chance.choice(ROUTES), "times": chance.choice([1, 1, 1, 2, 3, 6])}
    chosen["skip"] = chance.choice([0, 0, 0, 1, 2, 5])
    match chance.choice(["status", "status", "drop", "drop", "delay", "odd"]):
        case "status":
            chosen["status"] = chance.choice(STATUSES)
            page = chance.choice(["html", "text", None])
            if page is not None:
                chosen["page"] = page
            elif chosen["status"] in GONE:
                chosen["times"] = min(chosen["times"], 2)
            if chance.random() < 0.2:
                chosen["headers"] = {"Retry-After": chance.choice(["0", "1", "3", "soon"])}
        case "drop":
            chosen["drop"] = chance.choice(["before", "after", "during"])
            if chosen["drop"] == "during":
                chosen["drop_after_bytes"] = chance.choice([0, 1, 50, 3000])
        case "delay":
            chosen["delay_seconds"] = chance.choice([1.0, 5.0, 20.0, LONGER_THAN_THE_CLIENT_WAITS])
        case _:
            chosen |= {
                "status": 200,
                "text": chance.choice(["", "{}", "[]", "<html>Sign in</html>", '{"run']),
            }
    return chosen


def attempts(chance: random.Random, way: str) -> tuple[Attempt, ...]:
    """Return how the attempts of a flow run end; only a process can be killed."""
    if way != "process":
        return (Attempt("cancel", chance.randint(1, 25)) if chance.random() < 0.35 else Attempt(),)
    interrupted = [
        Attempt(chance.choice(["kill", "kill", "term"]), chance.randint(1, 25))
        for _ in range(chance.choice([0, 1, 1, 2]))
    ]
    last = Attempt(chance.choice(["kill", "term"]), chance.randint(1, 25))
    return (*interrupted, last if chance.random() < 0.4 else Attempt())


def lost_submission(chance: random.Random, plan: Plan) -> Plan:
    """Lose what the submission is answered with, while somebody else may run the same."""
    slow = {"delay_seconds": LONGER_THAN_THE_CLIENT_WAITS}
    lost = chance.choice([{"drop": "before"}, {"drop": "after"}, slow])
    who = chance.choice([COLLEAGUE_RUNS_IT, SAME_USER_RUNS_IT])
    acts = (Act(chance.randint(4, 8), who),) if chance.random() < 0.7 else ()
    faults = ({**ROUTES[0], "times": 1, "skip": 0, **lost}, *plan.faults)
    if plan.way == "async" and chance.random() < 0.6:  # while it is looked for
        plan = replace(plan, attempts=(Attempt("cancel", chance.randint(5, 8)),))
    if plan.way != "ready" and chance.random() < 0.5:  # the generation whose runs carry no key
        plan = replace(plan, generation="v1", switches={**plan.switches, "generation": "all"})
    return replace(plan, faults=faults, acts=acts)


def long_submission(chance: random.Random, plan: Plan) -> Plan:
    """Let the submission take longer than a client that waits a minute."""
    switches = {
        "submission_seconds": LONGER_THAN_THE_CLIENT_WAITS,
        "submission_shows_run": chance.random() < 0.5,
    }
    return replace(plan, switches={**plan.switches, **switches})


def tls_resets(chance: random.Random, plan: Plan) -> Plan:
    """Drop connections in the TLS handshake while the run goes on."""
    drops = {
        "connections_to_drop": chance.randint(1, 8),
        "connection_end": value_of("connection_end", chance),
    }
    # Connections are kept and used again, so one has to break before there is a handshake.
    broken = {"path": "/api/", "times": 1, "skip": chance.randint(4, 20), "drop": "before"}
    spell = Spell(chance.randint(4, 20), 30, 40.0, drops)
    return replace(plan, is_tls=True, spells=(*plan.spells, spell), faults=(*plan.faults, broken))


def unknown_run(chance: random.Random, plan: Plan) -> Plan:
    """Let a proxy say that there is no such run."""
    said = {"status": 404, "page": chance.choice(["html", "text"])}
    times, skip = chance.choice([1, 2, 3, 6, 12]), chance.randint(0, 6)
    return replace(plan, faults=({**ROUTES[1], "times": times, "skip": skip, **said}, *plan.faults))


def broken_log(chance: random.Random, plan: Plan) -> Plan:
    """Break the download of a long log."""
    broken = {"drop": "during", "drop_after_bytes": chance.choice([0, 100, 3000])}
    fault = {**ROUTES[3], "times": chance.randint(1, 5), "skip": chance.choice([0, 0, 2]), **broken}
    switches = {**plan.switches, "log_ranges": chance.random() < 0.6}
    return replace(plan, kind="job", lines=1000, faults=(fault, *plan.faults), switches=switches)


def stop_in_an_outage(chance: random.Random, plan: Plan) -> Plan:
    """Be away from when the run is to be stopped."""
    at = chance.randint(8, 20)
    how = chance.choice(["term", "term", "kill"] if plan.way == "process" else ["cancel"])
    outage = {
        "gateway_status": chance.choice([502, 503, 504]),
        "gateway_page": chance.choice(["html", "json"]),
    }
    spell = Spell(at, chance.choice([3, 8, 20]), chance.choice([1.0, 5.0, 15.0]), outage)
    attempts = (Attempt(how, at), *plan.attempts)[: chance.randint(1, 2) if plan.way == "process" else 1]
    return replace(plan, attempts=attempts, spells=(spell, *plan.spells), takes=max(plan.takes, 15.0))


def long_outage(chance: random.Random, plan: Plan) -> Plan:
    """Be away for minutes, websockets and all, while the run goes on."""
    outage = {"gateway_status": chance.choice([502, 503, 504]), "gateway_page": "html"}
    spell = Spell(chance.randint(12, 26), 1000, 180.0, outage)
    plan = replace(plan, kind=chance.choice(["job", "notebook"]), takes=40.0, program="well")
    acts = (Act(spell.at, "the websockets are dropped"),)
    return replace(plan, spells=(spell,), acts=acts, timeout_seconds=None, clears=240.0)


THEMES = [
    lost_submission,
    lost_submission,
    long_submission,
    tls_resets,
    unknown_run,
    broken_log,
    stop_in_an_outage,
    stop_in_an_outage,
    long_outage,
]


def draw(seed: int) -> Plan:
    """Return the plan of a seed: anything at all, and in two of five a well-known misfortune too."""
    chance = random.Random(seed)
    plan = anything(seed, chance)
    if not plan.is_fine and chance.random() < 0.4:
        plan = chance.choice(THEMES)(chance, plan)
    if plan.generation != "v1":
        return plan
    # Runs of the first generation carry no key: the only one of this user at that time is taken for ours.
    told_apart = (Act(act.at, act.what.replace(SAME_USER_RUNS_IT, COLLEAGUE_RUNS_IT)) for act in plan.acts)
    return replace(plan, acts=tuple(told_apart))


def anything(seed: int, chance: random.Random) -> Plan:
    """Return any plan."""
    generation = chance.choice(["v1", "v1b", "v2", "v2"])
    way = chance.choice(["sync", "async", "task", "process", "ready" if generation == "v2" else "sync"])
    is_calm = chance.random() < 0.04
    how_many = chance.choice([0, 1, 1, 2, 3, 6, 12])
    ends = chance.choice(["well", "well", "well", "badly", "never"])
    timeout = chance.choice([20.0, 60.0] if ends == "never" else [None, None, 10.0, 120.0])
    return Plan(
        seed,
        kind=chance.choice(["job", "job", "job", "notebook"]),
        generation=generation,
        way=way,
        is_tls=chance.random() < 0.4,
        program="well" if is_calm else ends,
        takes=chance.choice([0.0, 1.0, 5.0, 15.0]),
        lines=chance.choice([0, 0, 5, 1000]),
        timeout_seconds=None if is_calm else timeout,
        retries=chance.choice([0, 1, 2]),
        parameters=chance.choice(["none", "own", "own", "both"]),
        is_too_small=not is_calm and generation == "v2" and chance.random() < 0.05,
        max_concurrency=chance.choice([0, 0, 0, 1]),
        attempts=(Attempt(),) if is_calm else attempts(chance, way),
        switches={} if is_calm else switches(chance, how_many, generation),
        spells=()
        if is_calm
        else tuple(spell(chance, generation) for _ in range(chance.choice([0, 1, 1, 2]))),
        faults=() if is_calm else tuple(fault(chance) for _ in range(chance.choice([0, 0, 1, 2, 3]))),
        acts=()
        if is_calm or chance.random() < 0.7
        else (Act(chance.randint(2, 25), chance.choice(list(ACTS))),),
        clears=chance.choice([30.0, 60.0, 120.0]),
    )
