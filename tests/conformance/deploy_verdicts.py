"""Deploys a case with stock and with the deployer, and says how the two compare."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import yaml
from prefect.cli.deploy._models import PrefectYamlModel
from pydantic import ValidationError

from tests.conformance.deploy_cases import Case, Entry, Workspace
from tests.conformance.deploy_clis import Ended, Program
from tests.conformance.deploy_servers import Document, Holdings, comparable, differences

NO_ENTRY = Entry(None, 1, 1)
DEPLOYING = re.compile(r"^│ Deploying ", re.MULTILINE)
REGISTERED = re.compile(r"Deployment '(.+)' successfully created with id '")
SKIPPED_BY_STOCK = "Skipping deployment configuration due to validation errors"
PLACE = re.compile(r"prefect\.yaml:(\d+)")
# What to do is said after a break, or as what a value must be.
ADVICE = re.compile(
    r"[;:,] (?:(?:or|and|please|then|so) )*(?:write|use|set|give|name|leave|put|remove|delete|take|quote|add"
    r"|install|move|rename|make|choose|change|create|declare|check|drop|say|push|keep|do|run|did you mean)\b"
    r"|\bmust (?:be|have)\b|\bthere (?:is|are)\b"
)
LONGEST_SENTENCE = 500
SEVERAL_SENTENCES = re.compile(r"[.!?] [A-Z]")
Deployed = dict[str, Document]


@dataclass(frozen=True)
class Stock:
    """What stock has made of a file: the deployments, and the entries that it refused with its reasons."""

    deployments: Deployed
    refused: dict[Entry, str]
    keys: dict[Entry, str]


@dataclass(frozen=True)
class Ours:
    """What the deployer has made of it: the deployments, and the sentences that it printed."""

    deployments: Deployed
    sentences: list[str]
    output: str


@dataclass
class Verdict:
    """How one case compares.

    Attributes:
        equal: The deployments that are the same.
        by_design: Reasons of differences that are meant.
        refused: Sentences of what the deployer refuses.
        differs: What differs otherwise, by deployment and field.
        faults: What else is wrong, each in a line.
    """

    case: str
    equal: list[str] = field(default_factory=list)
    by_design: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    differs: dict[str, dict[str, tuple[Any, Any]]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether nothing differs that should not."""
        return not self.differs and not self.faults

    def __str__(self) -> str:
        """One line for each thing that is to be said."""
        lines = [f"refused: {sentence}" for sentence in self.refused]
        for key, fields in self.differs.items():
            shown = [f"{path}: {_brief(pair[0])} -> {_brief(pair[1])}" for path, pair in fields.items()]
            lines.append(f"differs: {key}: {'; '.join(shown)}")
        lines += [f"wrong: {fault}" for fault in self.faults]
        if self.equal and not self.differs:
            lines.insert(0, f"equal: {', '.join(sorted(self.equal))}")
        return "\n".join(f"{self.case}: {line}" for line in lines or ["equal: nothing is registered"])


def _brief(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:120]}…"


def deploy_with_stock(case: Case, place: Workspace, prefect: Program, server: Holdings) -> Stock:
    """Run `prefect deploy --all`; what it does not get to because of an entry before, without that entry."""
    refused: dict[Entry, str] = {}
    keys: dict[Entry, str] = {}
    left = list(case.entries)
    file = "prefect.yaml"
    while True:
        ended = prefect.run(
            *("--no-prompt", "deploy", "--all", "--prefect-file", file),
            folder=place.checkout,
            environment=place.environment,
        )
        reason = _last_line(ended)
        if SKIPPED_BY_STOCK in ended.stdout:
            invalid = {entry: reason for entry in left if not _is_valid(case, entry)}
            refused |= invalid or dict.fromkeys(left, reason)
            left = [entry for entry in left if entry not in refused]
        else:
            named = [entry for entry in left if entry.name is not None] if len(left) > 1 else left
            refused |= {entry: "it has no name" for entry in left if entry not in named}
            made = REGISTERED.findall(ended.stdout)
            keys |= dict(zip(named, made, strict=False))
            if not ended.exit_code or not named:
                break
            refused[named[len(made)]] = reason
            left = named[len(made) + 1 :]
        if not left:
            break
        file = "the-rest.yaml"
        place.checkout.joinpath(file).write_text(_without(case, left), encoding="utf-8")
    return Stock(server.take_new(), refused, keys)


def _without(case: Case, left: list[Entry]) -> str:
    data = deepcopy(case.data)
    data["deployments"] = [
        one for entry, one in zip(case.entries, data["deployments"], strict=True) if entry in left
    ]
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _is_valid(case: Case, entry: Entry) -> bool:
    one = case.data["deployments"][case.entries.index(entry)]
    try:
        PrefectYamlModel.model_validate({**case.data, "deployments": [one]})
    except ValidationError:
        return False
    return True


def _last_line(ended: Ended) -> str:
    lines = [line.strip() for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
    return lines[-1] if lines else ""


def deploy_with_ours(place: Workspace, deployer: Program, server: Holdings) -> Ours:
    """Run `deployer apply` where nothing but the file is."""
    ended = deployer.run("apply", folder=place.config, environment=place.environment)
    lines = ended.stderr.splitlines()
    sentences = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    server.forget_files()
    return Ours(server.take_new(), sentences, ended.stdout + ended.stderr)


@dataclass(frozen=True)
class Design:
    """A difference that is meant.

    Attributes:
        path: The field, as a regular expression.
        is_it: Whether stock's value and ours differ in the way that is meant.
        reason: Why.
    """

    path: str
    is_it: Callable[[Any, Any], bool]
    reason: str


@dataclass(frozen=True)
class Tables:
    """What may be other than stock: differences, refusals, and what stock itself refuses."""

    by_design: tuple[Design, ...]
    refused: dict[str, dict[str, str]]
    beyond: dict[str, str]


def compare(case: Case, place: Workspace, stock: Stock, ours: Ours, tables: Tables) -> Verdict:
    """Say how what the two servers hold compares."""
    verdict = Verdict(case.name)
    if "Traceback" in ours.output:
        verdict.faults.append(f"a traceback: {ours.output.strip().splitlines()[-1]}")
    for key, deployment in stock.deployments.items():
        if key in ours.deployments:
            _compare_one(key, deployment, ours.deployments[key], place, verdict, tables)
            continue
        entry = next((one for one, made in stock.keys.items() if made == key), NO_ENTRY)
        word = tables.refused.get(case.name, {}).get(str(entry.name))
        if word is None:
            told = " | ".join(_about(entry, case, ours.sentences)) or "no sentence"
            verdict.differs[key] = {"registered": ("yes", f"no: {told}")}
        else:
            _check_refusal(entry, word, case, ours, verdict)
    for entry, reason in stock.refused.items():
        if not _is_registered(entry, stock, ours):
            _check_refusal(entry, "", case, ours, verdict)
        elif case.name not in tables.beyond:
            verdict.faults.append(f"{entry} is registered, which stock refuses: {reason}")
    extra = set(ours.deployments) - set(stock.deployments)
    if len(extra) > len(stock.refused):
        verdict.faults.append(f"registered by the deployer alone: {', '.join(sorted(extra))}")
    if not case.entries and not ours.sentences:
        verdict.faults.append("a file without deployments is passed over without a word")
    if not case.entries:
        _check_refusal(NO_ENTRY, "", case, ours, verdict)
    return verdict


def _is_registered(entry: Entry, stock: Stock, ours: Ours) -> bool:
    extra = set(ours.deployments) - set(stock.deployments)
    return any(key.split("/", 1)[1] == str(entry.name) for key in extra)


def _compare_one(
    key: str, stock: Document, ours: Document, place: Workspace, verdict: Verdict, tables: Tables
) -> None:
    found = differences(comparable(stock, place.checkout), comparable(ours, place.checkout))
    left: dict[str, tuple[Any, Any]] = {}
    for path, pair in found.items():
        reason = next(
            (one.reason for one in tables.by_design if re.fullmatch(one.path, path) and one.is_it(*pair)),
            None,
        )
        if reason:
            verdict.by_design.add(reason)
        else:
            left[path] = pair
    if left:
        verdict.differs[key] = left
    else:
        verdict.equal.append(key)


def _about(entry: Entry, case: Case, sentences: list[str]) -> list[str]:
    """The sentences about an entry: those that name its lines or its name, or a line that no entry has."""

    def is_about(sentence: str) -> bool:
        lines = [int(line) for line in PLACE.findall(sentence)]
        if any(entry.first <= line <= entry.last for line in lines):
            return True
        others = [one for one in case.entries if any(one.first <= line <= one.last for line in lines)]
        return not others

    return [sentence for sentence in sentences if is_about(sentence)]


def _check_refusal(entry: Entry, word: str, case: Case, ours: Ours, verdict: Verdict) -> None:
    """Hold a refusal against what it owes: one sentence, with place, key, and what to write instead."""
    told = _about(entry, case, ours.sentences)
    if not told:
        verdict.faults.append(f"{entry} is not registered, and no sentence says why")
    for sentence in told:
        if sentence in verdict.refused:
            continue
        verdict.refused.append(sentence)
        lacks = [what for what, is_there in _shape(sentence, word) if not is_there]
        verdict.faults += [f"the sentence {what}: {sentence}" for what in lacks]
    if len(told) > 1:
        verdict.faults.append(f"{len(told)} sentences about {entry} instead of one")


def _shape(sentence: str, word: str) -> list[tuple[str, bool]]:
    return [
        ("names no line of the file", bool(PLACE.search(sentence))),
        (f"does not name {word!r}", word in sentence),
        ("does not say what to do", bool(ADVICE.search(sentence))),
        ("is longer than a sentence", len(sentence) <= LONGEST_SENTENCE),
        ("is several sentences", not SEVERAL_SENTENCES.search(sentence)),
    ]
