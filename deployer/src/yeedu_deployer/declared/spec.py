"""prefect.yaml as the desired state: read, checked, and explained where it is wrong."""

import difflib
from collections.abc import Collection
from collections.abc import Mapping as EnvironmentMapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from yeedu_deployer.declared.keys import CONCURRENCY, DEPLOYMENT, TOP_LEVEL, WORK_POOL
from yeedu_deployer.declared.located import Mapping
from yeedu_deployer.declared.pull_steps import GIT_CLONE, PullStep, clones, finds_code_in_image, read_pull
from yeedu_deployer.declared.schedules import ScheduleSpec, read_schedules
from yeedu_deployer.declared.section import Section
from yeedu_deployer.declared.selection import raw_text
from yeedu_deployer.declared.triggers import read_triggers
from yeedu_deployer.errors import DeployerError
from yeedu_worker.catch_up import TAG_PREFIX, Policy

COLLISION_STRATEGIES = ("ENQUEUE", "CANCEL_NEW")
BUILD_REFUSED = "is not supported: flow code comes from git when a run starts; leave it empty"
REFUSED_TOP_LEVEL = {"build": BUILD_REFUSED, "push": BUILD_REFUSED}
REFUSED_IN_DEPLOYMENT = {
    **REFUSED_TOP_LEVEL,
    "schedule": "is the old form; write a list under 'schedules'",
    "sla": "exists in Prefect Cloud only",
    "version_type": "exists in Prefect Cloud only",
}


@dataclass(frozen=True)
class DeploymentSpec:
    """One deployment as the file declares it; `None` means that the file does not say.

    Attributes:
        pull: The steps that a worker takes.
        kept: Parameters whose value the server keeps, since it names variables that are not set here: these.
        source_pull: The steps whose git_clone tells where the flow can be read: `pull`, or those of the file
            for a deployment whose code is in its workers' image, which is built from the same repository.
    """

    name: str
    file: str
    line: int
    entrypoint: str
    work_pool: str
    pull: tuple[PullStep, ...]
    source_pull: tuple[PullStep, ...]
    flow_name: str | None = None
    work_queue: str | None = None
    description: str | None = None
    version: str | None = None
    paused: bool | None = None
    enforce_parameter_schema: bool = True
    concurrency_limit: int | None = None
    concurrency_options: dict[str, JsonValue] | None = None
    tags: tuple[str, ...] = ()
    parameters: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    kept: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    job_variables: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    schedules: tuple[ScheduleSpec, ...] = ()
    triggers: tuple[dict[str, JsonValue], ...] = ()

    @property
    def id(self) -> str:
        """What tells it from every other deployment of the file."""
        return self.name


@dataclass(frozen=True)
class PrefectFile:
    """A whole prefect.yaml.

    Attributes:
        name: The file's own name; deployments are remembered with the name of the file that declared them.
        deployments: What it declares.
        errors: Why each of the others cannot be used, by its id.
    """

    name: str
    deployments: tuple[DeploymentSpec, ...]
    errors: EnvironmentMapping[str, DeployerError] = field(default_factory=dict[str, DeployerError])


def load_deployments(path: Path, environment: EnvironmentMapping[str, str]) -> tuple[DeploymentSpec, ...]:
    """Read every deployment of a prefect.yaml; see `load_file`."""
    return load_file(path, environment).deployments


def load_file(
    path: Path,
    environment: EnvironmentMapping[str, str],
    only: Collection[str] | None = None,
    *,
    keeps_unset: bool = False,
) -> PrefectFile:
    """Read a prefect.yaml.

    Args:
        path: The file; messages show it as given.
        environment: Values for `{{ $NAME }}` outside of pull steps, which keep theirs for run time.
        only: The names of the deployments to read; the others need not be right. `None` means all.
        keeps_unset: Whether a parameter that names a variable which is not set stays as the server has it.

    Raises:
        SpecError: Something in the file is wrong; every problem is told, each with its line.
    """
    top = Section.of_file(path, environment)
    problems = top.problems
    top.check_keys(TOP_LEVEL, REFUSED_TOP_LEVEL)
    shared_pull = read_pull(top, "the file")
    sections = top.sections("deployments", "deployment")
    if top.entry("deployments") is None:
        problems.add(top.line_of("deployments"), "the file declares no deployments.")
    found: list[DeploymentSpec] = []
    for section in sections:
        if only is not None and raw_text(section, "name") not in only:
            continue
        deployment = _read_deployment(section, shared_pull, keeps_unset=keeps_unset)
        twin = next((other for other in found if other.name == deployment.name), None)
        if twin and deployment.name:
            problems.add(
                section.line_of("name"),
                f"two deployments are named {deployment.name!r}; the other one is in line {twin.line}.",
            )
        found.append(deployment)
    name = top.text("name") or ""
    problems.raise_if_any()
    return PrefectFile(name, tuple(found))


def _read_deployment(
    section: Section, shared_pull: tuple[PullStep, ...], *, keeps_unset: bool
) -> DeploymentSpec:
    name = section.text("name", required=True) or ""
    if name:
        section = Section(section.node, f"deployment {name!r}", section.problems, section.environment)
    if "/" in name or "%" in name:
        section.problems.add(section.line_of("name"), f"{section.where}: a name may not contain '/' or '%'.")
    section.check_keys(DEPLOYMENT, REFUSED_IN_DEPLOYMENT)
    work_pool, work_queue, job_variables = _read_work_pool(section)
    limit, options = _read_concurrency(section)
    enforce = section.boolean("enforce_parameter_schema")
    parameters, kept = section.set_values("parameters") if keeps_unset else (section.values("parameters"), {})
    pull = read_pull(section, section.where) if section.entry("pull") else shared_pull
    source_pull = shared_pull if finds_code_in_image(pull) else pull
    if not clones(source_pull):
        section.problems.add(
            section.line_of("pull"),
            f"{section.where} has no {GIT_CLONE} step under 'pull'; flow code is checked and run from git.",
        )
    return DeploymentSpec(
        name=name,
        file=section.problems.path,
        line=section.line_of("name"),
        entrypoint=_read_entrypoint(section),
        work_pool=work_pool,
        work_queue=work_queue,
        job_variables=job_variables,
        pull=pull,
        source_pull=source_pull,
        flow_name=section.text("flow_name"),
        description=section.text("description"),
        version=section.text("version"),
        paused=section.boolean("paused"),
        enforce_parameter_schema=True if enforce is None else enforce,
        concurrency_limit=limit,
        concurrency_options=options,
        tags=_read_tags(section),
        parameters=parameters,
        kept=kept,
        schedules=read_schedules(section, section.where),
        triggers=read_triggers(section, section.where, name),
    )


def _read_tags(section: Section) -> tuple[str, ...]:
    """Read the tags; the one that chooses the catch-up policy must name one that there is."""
    tags = section.texts("tags")
    known = [f"{TAG_PREFIX}{policy}" for policy in Policy]
    given = [tag for tag in tags if tag.startswith(TAG_PREFIX)]
    for tag in given:
        if tag not in known:
            near = difflib.get_close_matches(tag, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
            section.problems.add(
                section.line_of("tags"), f"{section.where}: the tag {tag!r} is no catch-up policy; {hint}"
            )
    if len(given) > 1:
        section.problems.add(
            section.line_of("tags"), f"{section.where}: has {len(given)} catch-up tags; leave one."
        )
    return tags


def _read_entrypoint(section: Section) -> str:
    entrypoint = section.text("entrypoint", required=True) or ""
    path, _, function = entrypoint.rpartition(":")
    if entrypoint and (
        not path.endswith(".py") or not function or path.startswith("/") or ".." in path.split("/")
    ):
        section.problems.add(
            section.line_of("entrypoint"),
            f"{section.where}: the entrypoint {entrypoint!r} must have the form 'folder/file.py:function', "
            "relative to the repository.",
        )
    return entrypoint


def _read_work_pool(section: Section) -> tuple[str, str | None, dict[str, JsonValue]]:
    pool = section.section("work_pool", f"{section.where}: work_pool")
    if pool is None:
        if section.entry("work_pool") is None:
            section.problems.add(
                section.line_of("work_pool"), f"{section.where}: 'work_pool' with a 'name' is missing."
            )
        return "", None, {}
    pool.check_keys(WORK_POOL)
    return (
        pool.text("name", required=True) or "",
        pool.text("work_queue_name"),
        pool.values("job_variables"),
    )


def _read_concurrency(section: Section) -> tuple[int | None, dict[str, JsonValue] | None]:
    entry = section.entry("concurrency_limit")
    if entry is None:
        return None, None
    if not isinstance(entry.value, Mapping):
        return section.integer("concurrency_limit", minimum=1), None
    limit = section.section("concurrency_limit", f"{section.where}: concurrency_limit")
    if limit is None:
        return None, None
    limit.check_keys(CONCURRENCY)
    options: dict[str, JsonValue] = {}
    strategy = limit.text("collision_strategy")
    if strategy is not None:
        if strategy not in COLLISION_STRATEGIES:
            limit.problems.add(
                limit.line_of("collision_strategy"),
                f"{limit.where}: collision_strategy must be ENQUEUE or CANCEL_NEW, but it is {strategy!r}.",
            )
        options["collision_strategy"] = strategy
    grace = limit.integer("grace_period_seconds", minimum=60)
    if grace is not None:
        options["grace_period_seconds"] = grace
    if limit.entry("limit") is None:
        limit.problems.add(limit.node.line, f"{limit.where}: 'limit' is missing.")
    return limit.integer("limit", minimum=1), options or None
