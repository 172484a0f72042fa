"""Reads a prefect.yaml, each deployment separately, so that a mistake in one does not stop the others."""

from collections.abc import Collection
from collections.abc import Mapping as EnvironmentMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yeedu_deployer.declared.models import Deployment, PrefectYaml
from yeedu_deployer.declared.selection import Entry, entries_of
from yeedu_deployer.declared.steps import (
    GIT_CLONE,
    OWN_REPOSITORY,
    SET_WORKING_DIRECTORY,
    PullStep,
    StepReader,
)
from yeedu_deployer.declared.templating import VALUES, Lookup, Templates, needs_server
from yeedu_deployer.declared.validation import nearest, validated
from yeedu_deployer.declared.yaml_marks import Items, Mapping, Problems, describe
from yeedu_deployer.declared.yaml_reader import load
from yeedu_deployer.errors import Place, SpecError

NOT_FILLED_IN = ("build", "push")
WITHOUT_EFFECT = ("prefect-version", "description", "required_inputs")
NONE = "the file declares no deployments; write them under 'deployments'."
HINTS = {
    "infra_overrides": "write 'job_variables' below 'work_pool'.",
    "infrastructure": "name a work pool, under 'work_pool'.",
}


@dataclass(frozen=True)
class DeploymentSpec:
    """One deployment of a file.

    Attributes:
        id: Its identity in the file: its name, with its line if another deployment has the same name.
        says: Its declaration; `None` for what the file does not say.
        source_pull: The steps whose git_clone tells where to read the flow: `pull`, which a worker runs, or
            for a deployment whose code is in its workers' image, which is built from the same repository,
            the file's own or else the platform's.
        kept: Parameters for which the server's value stays, each with the unset variables that it names.
        notes: What could not be checked, one sentence each.
    """

    id: str
    says: Deployment
    place: Place
    pull: tuple[PullStep, ...]
    source_pull: tuple[PullStep, ...]
    kept: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name."""
        return self.says.name


@dataclass(frozen=True)
class PrefectFile:
    """A whole prefect.yaml.

    Attributes:
        name: The file's own name, under which its deployments are recorded.
        deployments: Its deployments, without those that have mistakes or need a `lookup` not given.
        errors: The mistakes, by the deployment's `id`, or by `line N` if it has no name.
    """

    name: str
    deployments: tuple[DeploymentSpec, ...]
    errors: dict[str, SpecError] = field(default_factory=dict[str, SpecError])
    notes: tuple[str, ...] = ()


def load_file(
    path: Path,
    environment: EnvironmentMapping[str, str],
    only: Collection[str] | None = None,
    *,
    keeps_unset: bool = False,
    lookup: Lookup | None = None,
) -> PrefectFile:
    """Read a prefect.yaml; raise `SpecError` for mistakes outside its deployments.

    Args:
        path: The file; messages show it as given.
        environment: Values for `{{ $NAME }}` outside pull steps, whose templates wait for the run.
        only: The ids of the deployments to read; the others may have mistakes. `None` means all.
        keeps_unset: Whether a parameter that names an unset variable keeps the server's value.
        lookup: The server's variables and blocks. Without it everything else is checked.
    """
    top = load(path, apart="deployments")
    problems = Problems(str(path))
    reader = _Reader(str(path), Templates(environment, lookup), top, keeps_unset=keeps_unset)
    name = reader.read_top(problems)
    deployments, errors = list[DeploymentSpec](), dict[str, SpecError]()
    for number, entry in enumerate(entries_of(top, environment)):
        if only is not None and entry.id not in only:
            continue
        own: Problems = top["deployments"].problems[number]
        spec = None if own.found else reader.read(number, entry, own)
        if own.found:
            errors[entry.id] = own.error()
        elif spec:
            deployments.append(spec)
    notes = (f"{path}:{top.lines['deployments']}: {NONE}",) if not top["deployments"] else ()
    return PrefectFile(name, tuple(deployments), errors, notes)


class _Reader:
    """Reads the parts of one file."""

    def __init__(self, file: str, templates: Templates, top: Mapping, *, keeps_unset: bool) -> None:
        self._templates = templates
        self._own_repository = (OWN_REPOSITORY,) if templates.environment.get("FLOWS_GIT_URL") else ()
        self._file, self._top, self._keeps_unset = file, top, keeps_unset
        self._read = list[Entry]()
        self._pull_problems = Problems(file)
        steps = StepReader("the file", self._pull_problems)
        pull = top.get("pull")
        is_given = pull or pull == []
        self._pull = steps.read(pull, top.lines["pull"]) if is_given else self._own_repository
        self._notes = tuple(steps.notes)

    def read_top(self, problems: Problems) -> str:
        """Check everything outside the deployments, and return the file's name."""
        deployments = self._top.get("deployments")
        line = self._top.lines.get("deployments", self._top.line)
        others = [key for key in self._top if key != "deployments" and not key.startswith("x-")]
        is_misspelt = any(nearest(key, ["deployments"]) for key in others)
        if deployments is None and not is_misspelt:
            problems.add(line, NONE)
        elif deployments is not None and not isinstance(deployments, Items):
            problems.add(line, f"the file: 'deployments' must be a list, but it is {describe(deployments)}.")
        data = self._filled(self._top.without(["deployments"]), "the file", problems, WITHOUT_EFFECT)
        rest = Mapping([*data.entries(), ("deployments", [], line)], data.line)
        model = validated(PrefectYaml, rest, "the file", problems)
        problems.raise_if_any()
        return (model and model.name) or ""

    def read(self, number: int, entry: Entry, problems: Problems) -> DeploymentSpec | None:
        """Read one deployment; `None` without a problem means that it needs the server."""
        section = self._top["deployments"][number]
        if not isinstance(section, Mapping):
            must = f"deployment {number + 1} must be a mapping, but it is {describe(section)}."
            problems.add(entry.line, must)
            return None
        where = f"deployment {entry.name!r}" if entry.name else f"deployment {number + 1}"
        twins = [one for one in self._read if one.name == entry.name and entry.name]
        if any(twin.entrypoint == entry.entrypoint or twin.line == entry.line for twin in twins):
            line = twins[-1].line
            same = "flow" if line != entry.line else "line"
            twice = f"two deployments of the same {same} are named {entry.name!r}"
            problems.add(entry.line, f"{twice}, the other one in line {line}; rename one.")
        self._read.append(entry)
        section, kept = self._without_unset(section) if self._keeps_unset else (section, {})
        data = self._filled(section, where, problems)
        pull, source_pull, notes = self._read_pull(section, where, problems)
        says = validated(Deployment, data, where, problems, HINTS, is_final=not needs_server(data))
        if says is None:
            return None
        lines = {**data["work_pool"].lines, **section.lines}
        if source_pull:
            lines["pull"] = source_pull[0].line
        place = Place(self._file, entry.line, lines, says.name)
        return DeploymentSpec(entry.id, says, place, pull, source_pull, kept, notes)

    def _filled(
        self, section: Mapping, where: str, problems: Problems, also_kept: tuple[str, ...] = ()
    ) -> Mapping:
        """Fill in templates, except in `build`, `push` and `also_kept`; drop what is not checked as data."""

        def put_in(key: str, value: Any, line: int, *, keeps: bool = False) -> Any:
            return self._templates.put_in(value, where, problems, line, keeps=keeps, is_value=key in VALUES)

        def in_trigger(trigger: Any, _: int) -> Any:  # its parameters may have templates for its event
            def inner(key: str, value: Any, line: int) -> Any:
                return put_in(key, value, line, keeps=key == "parameters")

            return trigger.mapped(inner) if isinstance(trigger, Mapping) else trigger

        def filled(key: str, value: Any, line: int) -> Any:
            if key == "triggers" and isinstance(value, Items):
                return value.mapped(in_trigger)
            return value if key in (*NOT_FILLED_IN, *also_kept) else put_in(key, value, line)

        extras = [key for key in section if key.startswith("x-")]
        return section.without(["pull", "definitions", *extras]).mapped(filled)

    def _without_unset(self, section: Mapping) -> tuple[Mapping, dict[str, tuple[str, ...]]]:
        """Leave out parameters that name unset variables; return the rest, and those with their variables."""
        parameters = section.get("parameters")
        if not isinstance(parameters, Mapping):
            return section, {}
        unset = {name: self._templates.unset(value) for name, value in parameters.items()}
        kept = {name: variables for name, variables in unset.items() if variables}
        known = parameters.without(kept)
        return section.mapped(lambda key, value, _: known if key == "parameters" else value), kept

    def _read_pull(
        self, section: Mapping, where: str, problems: Problems
    ) -> tuple[tuple[PullStep, ...], tuple[PullStep, ...], tuple[str, ...]]:
        """Return the pull steps, those that tell where to read the flow from here, and notes."""
        own, line = section.get("pull"), section.lines.get("pull", section.line)
        steps, before = StepReader(where, problems), len(problems.found)
        is_own = own is not None and own != {}
        pull = steps.read(own, line) if is_own else self._pull
        if not is_own and "pull" in section:  # given but empty: `pull: []` of the file is not meant for it
            pull = pull or self._own_repository
        source_pull = pull
        if is_in_image := all(step.function == SET_WORKING_DIRECTORY for step in pull):
            source_pull = self._pull if _clones(self._pull) else self._own_repository
        for at, message in self._pull_problems.found if not is_own or source_pull is self._pull else ():
            problems.add(at, message)
        if not _clones(source_pull) and len(problems.found) == before:
            what = f"has no {GIT_CLONE} step under 'pull', and flow code is checked and run from git"
            other = "set FLOWS_GIT_URL, or " if is_in_image else ""
            problems.add(line, f"{where} {what}; {other}add such a step.")
        return pull, source_pull, tuple(steps.notes) if is_own else self._notes


def _clones(steps: tuple[PullStep, ...]) -> bool:
    return any(step.function == GIT_CLONE for step in steps)
