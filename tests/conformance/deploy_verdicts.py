"""Deploys a case with stock and with the deployer, and says how the two compare."""

import json
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import yaml
from prefect.cli.deploy._models import PrefectYamlModel
from pydantic import ValidationError

from tests.conformance.deploy_cases import COMMIT, Case, Entry, Workspace
from tests.conformance.deploy_clis import Ended, Program
from tests.conformance.deploy_servers import Document, Holdings, comparable, differences

NO_ENTRY = Entry(None, 1, 1)
REGISTERED = re.compile(r"Deployment '(.+)' successfully created with id '")
INVALID = re.compile(r"^  • (.+)$", re.MULTILINE)
SKIPPED_BY_STOCK = "Skipping deployment configuration due to validation errors"
TOLD = re.compile(r"(?:error: |note: (?=prefect\.yaml:))(.+)")
PLACE = re.compile(r"prefect\.yaml:(\d+)")
# What to do is said after a break, or as what a value must be.
ADVICE = re.compile(
    r"[;:,] (?:(?:or|and|please|then|so) )*(?:write|use|set|give|name|leave|put|remove|delete|take|quote|add"
    r"|install|decorate|move|rename|make|choose|change|create|declare|check|drop|say|push|keep|do|run"
    r"|correct|did you mean)\b|\bmust (?:be|have)\b|\bthere (?:is|are)\b"
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
        by_design: Why a difference is meant, by deployment and field.
        beyond: Deployments that stock refuses, and the deployer registers as they are meant.
        refused: Sentences of what the deployer refuses.
        differs: What differs otherwise, by deployment and field.
        faults: What else is wrong, each in a line.
    """

    case: str
    equal: list[str] = field(default_factory=list)
    by_design: dict[str, dict[str, str]] = field(default_factory=dict)
    beyond: list[str] = field(default_factory=list)
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
        meant = [(path, why) for fields in self.by_design.values() for path, why in fields.items()]
        lines += [f"meant: {path}: {why}" for path, why in dict.fromkeys(meant)]
        lines += [f"wrong: {fault}" for fault in self.faults]
        if self.beyond:
            lines.insert(0, f"registered, other than by stock: {', '.join(sorted(self.beyond))}")
        if self.equal:
            lines.insert(0, f"equal: {', '.join(sorted(self.equal))}")
        return "\n".join(f"{self.case}: {line}" for line in lines)


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
        reason = "; ".join(INVALID.findall(ended.stdout)) or _last_line(ended)
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
    deployments = server.take_new()
    # What the command prints has lost what looks like a style in brackets.
    printed = {re.sub(r"\[[^\]]*\]", "", key): key for key in deployments} | {key: key for key in deployments}
    return Stock(deployments, refused, {entry: printed[made] for entry, made in keys.items()})


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
    sentences = [found[1] for line in ended.stderr.splitlines() if (found := TOLD.match(line))]
    server.forget_files()
    return Ours(server.take_new(), sentences, ended.stdout + ended.stderr)


@dataclass(frozen=True)
class Design:
    """A difference that is meant.

    Attributes:
        path: The field, as a regular expression.
        is_it: Whether stock's value and ours differ as is meant, in the environment that both were given.
        reason: Why.
    """

    path: str
    is_it: Callable[[Any, Any, Mapping[str, str]], bool]
    reason: str


@dataclass(frozen=True)
class Tables:
    """What may be other than stock.

    Attributes:
        by_design: Differences that are meant.
        refused: Deployments that the deployer may refuse: by case and name, what its sentence must hold.
        beyond: Deployments that stock refuses and the deployer may register: by case and name, with fields.
    """

    by_design: tuple[Design, ...]
    refused: dict[str, dict[str, str]]
    beyond: dict[str, dict[str, dict[str, Any]]]


def compare(case: Case, place: Workspace, stock: Stock, ours: Ours, tables: Tables) -> Verdict:
    """Say how what the two servers hold compares."""
    verdict = Verdict(case.name)
    if "Traceback" in ours.output:
        verdict.faults.append(f"a traceback: {ours.output.strip().splitlines()[-1]}")
    entries = {key: entry for entry, key in stock.keys.items()}
    left = dict(ours.deployments)
    for key, entry in entries.items():
        word = tables.refused.get(case.name, {}).get(str(entry.name))
        if word is not None and any(_is_in(entry, sentence) for sentence in ours.sentences):
            left.pop(key, None)  # an earlier entry of the same deployment
            _check_refusal(entry, word, case, ours, verdict)
        elif key in left:
            _compare_one(key, stock.deployments[key], left.pop(key), place, verdict, tables)
        elif word is None:
            told = " | ".join(_about(entry, case, ours.sentences)) or "no sentence"
            verdict.differs[key] = {"registered": ("yes", f"no: {told}")}
        else:
            _check_refusal(entry, word, case, ours, verdict)
    for entry, reason in stock.refused.items():
        allowed = tables.beyond.get(case.name, {}).get(str(entry.name))
        names = (str(entry.name), (allowed or {}).get("name"))
        key = next((key for key in left if key.split("/", 1)[1] in names), None)
        if key is None:
            _check_refusal(entry, "", case, ours, verdict)
        elif allowed is None:
            left.pop(key)
            verdict.faults.append(f"{entry} is registered, which stock refuses: {reason}")
        else:
            found = comparable(left.pop(key), place.checkout, place.environment[COMMIT])
            got = {name: found[name] for name in allowed}
            if fields := differences(allowed, got):
                verdict.differs[key] = fields
            else:
                verdict.beyond.append(key)
    if left:
        verdict.faults.append(f"registered by the deployer alone: {', '.join(sorted(left))}")
    if not case.entries and "None" not in tables.beyond.get(case.name, {}):
        _check_refusal(NO_ENTRY, "", case, ours, verdict)
    return verdict


def _compare_one(
    key: str, stock: Document, ours: Document, place: Workspace, verdict: Verdict, tables: Tables
) -> None:
    of = (place.checkout, place.environment[COMMIT])
    left: dict[str, tuple[Any, Any]] = {}
    for path, pair in differences(comparable(stock, *of), comparable(ours, *of)).items():
        designs = [one for one in tables.by_design if re.fullmatch(one.path, path)]
        reason = next((one.reason for one in designs if one.is_it(*pair, place.environment)), None)
        if reason:
            verdict.by_design.setdefault(key, {})[path] = reason
        else:
            left[path] = pair
    if left:
        verdict.differs[key] = left
    else:
        verdict.equal.append(key)


def _about(entry: Entry, case: Case, sentences: list[str]) -> list[str]:
    """The sentences about an entry: by line, else by name or entrypoint, and those about no entry at all."""

    def is_about(one: Entry, sentence: str) -> bool:
        if PLACE.search(sentence):
            return _is_in(one, sentence)
        return repr(one.name) in sentence or _names(one.entrypoint, sentence)

    return [
        sentence
        for sentence in sentences
        if is_about(entry, sentence) or not any(is_about(other, sentence) for other in case.entries)
    ]


def _names(entrypoint: str, sentence: str) -> bool:
    file, _, function = entrypoint.rpartition(":")
    return bool(file) and (entrypoint in sentence or (file in sentence and repr(function) in sentence))


def _is_in(entry: Entry, sentence: str) -> bool:
    return any(entry.first <= int(line) <= entry.last for line in PLACE.findall(sentence))


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
    if len({tuple(PLACE.findall(sentence)) for sentence in told}) < len(told):
        verdict.faults.append(f"{len(told)} sentences about {entry}, and some about one line")


def _shape(sentence: str, word: str) -> list[tuple[str, bool]]:
    return [
        ("names no line of the file", bool(PLACE.search(sentence))),
        (f"does not name {word!r}", word in sentence),
        ("does not say what to do", bool(ADVICE.search(sentence))),
        ("is longer than a sentence", len(sentence) <= LONGEST_SENTENCE),
        ("is several sentences", not SEVERAL_SENTENCES.search(sentence)),
    ]
