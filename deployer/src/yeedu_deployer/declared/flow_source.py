"""Works out where a flow's code is once a worker has run the pull steps, as Prefect's engine runs them."""

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import cast
from urllib.parse import urlsplit

from prefect.utilities.templating import Placeholder, PlaceholderType, find_placeholders

from yeedu_deployer.declared.steps import GIT_CLONE, SET_WORKING_DIRECTORY, Inputs, PullStep
from yeedu_deployer.declared.templating import block_of, fill, resolve_at_run_time
from yeedu_deployer.errors import SourceError
from yeedu_worker.git.addresses import Address, is_commit
from yeedu_worker.git.reasons import GitError
from yeedu_worker.git.remote import Wanted

REVISION_KEYS = ("branch", "commit_sha")
CREDENTIAL_KEYS = ("access_token", "credentials")
# Returns what a block holds, given its type, its name and a key path in it: a text, or fields by name. For a
# Prefect variable the type is `VARIABLE`, or `OPEN_VARIABLE` if its value is not a secret. May raise a
# `DeployerError`.
FindValue = Callable[[str, str, str], object]
VARIABLE, OPEN_VARIABLE = "variables", "open variables"
_START = "/the run's own folder"
Steps = tuple[PullStep, ...]


@dataclass(frozen=True)
class Source:
    """What the git_clone step for a flow's code would clone, with this machine's environment.

    Attributes:
        revision: A branch, a tag or a commit; empty for the repository's default branch.
        credential: The parts of its credential by name, with blocks and Prefect variables not yet filled in.
        wanted: Which of its folders to clone, and whether with submodules.
    """

    url: str
    revision: str = ""
    credential: tuple[tuple[str, str], ...] = ()
    wanted: Wanted = field(default_factory=Wanted)

    def placeholders(self, kind: PlaceholderType) -> list[Placeholder]:
        """List the placeholders of one type in its credential."""
        return [one for _, text in self.credential for one in find_placeholders(text) if one.type is kind]

    def names_block(self, kind: str, name: str) -> bool:
        """Tell whether the credential names a block of this type and name."""
        found = self.placeholders(PlaceholderType.BLOCK_DOCUMENT)
        return any(block_of(one)[:2] == (kind, name) for one in found)


class _Engine:
    """Follows steps as the engine does, without running them, and notes which step creates which folder."""

    def __init__(self, steps: Steps, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.folder = _START
        self.clones: dict[str, int] = {}
        self.outputs: dict[str, str] = {}
        self.others: list[PullStep] = []
        for number, step in enumerate(steps):
            self._take(number, step)

    def _take(self, number: int, step: PullStep) -> None:
        if step.function == GIT_CLONE:
            name = self.text(step, "clone_directory_name") or _default_name(
                self.text(step, "repository"), self.text(step, "branch")
            )
            self.clones[self._path(name)] = number
        elif step.function == SET_WORKING_DIRECTORY:
            self.folder = name = self._path(self.text(step, "directory"))
        else:
            self.others.append(step)
            return
        self.outputs["directory"] = name
        if step.inputs.get("id"):
            self.outputs[f"{step.inputs['id']}.directory"] = name

    def place(self) -> tuple[int, str]:
        """Return the number of the step that clones the flow's repository, and the flow's folder in it."""
        place = self._path(self.outputs.get("directory", ""))
        within = [path for path in self.clones if f"{place}/".startswith(f"{path}/")]
        if not within:
            shown = posixpath.relpath(place, _START) if place.startswith(_START) else place
            names = ", ".join(posixpath.relpath(path, _START) for path in self.clones)
            raise SourceError(
                f"The pull steps leave the flow in {shown!r}, which no git_clone step makes: it would be in "
                f"{names}; let 'set_working_directory' name that, or give the git_clone step a "
                "'clone_directory_name'."
            )
        clone = max(within, key=len)
        return self.clones[clone], place[len(clone) :].strip("/")

    def text(self, step: PullStep, key: str) -> str:
        """Return an input as the step would get it; raise `SourceError` if another step would have to run."""

        def output(one: Placeholder) -> str:
            if one.type is not PlaceholderType.STANDARD:
                return one.full_match
            if one.name in self.outputs:
                return self.outputs[one.name]
            identity = one.name.partition(".")[0]
            others = [other for other in self.others if other.inputs.get("id") == identity] or self.others[
                -1:
            ]
            origin = f"the step {others[0].function}" if others else "no earlier step"
            raise SourceError(
                f"{step.function.rpartition('.')[2]} takes its {key} from {one.full_match}, an output of "
                f"{origin}, and the deployer runs no step; write it in the file, or name a "
                "variable of the environment: {{ $NAME }}."
            )

        return str(fill(_input(step, key, self.environment), output))

    def _path(self, name: str) -> str:
        return posixpath.normpath(posixpath.join(self.folder, name))


def _input(step: PullStep, key: str, environment: Mapping[str, str]) -> str:
    return resolve_at_run_time(str(step.inputs.get(key) or ""), environment).strip()


def _default_name(repository: str, branch: str) -> str:
    """Return Prefect's default name for a clone's folder."""
    try:
        name = urlsplit(Address.of(repository).url).path.rpartition("/")[2].replace(".git", "")
    except GitError as error:
        raise SourceError(str(error)) from None
    return f"{name}-{branch.replace('/', '-')}" if branch else name


def source_of(steps: Steps, environment: Mapping[str, str]) -> tuple[Source, str]:
    """Find out where the flow's code is once the engine has run the steps with this machine's environment.

    Returns what is cloned, and the directory inside the clone that entrypoints are relative to, if any.
    Raises `SourceError` if that cannot be determined.
    """
    engine = _Engine(steps, environment)
    number, directory = engine.place()
    step = steps[number]
    directories = step.inputs.get("directories")
    wanted = Wanted(
        tuple(map(str, directories)) if isinstance(directories, list) else (),
        step.inputs.get("include_submodules") is True,
    )
    given: Inputs = {key: step.inputs[key] for key in CREDENTIAL_KEYS if step.inputs.get(key)}
    if isinstance(given.get("credentials"), dict):
        given |= cast("Inputs", given.pop("credentials"))
    credential = {key: resolve_at_run_time(str(text), environment).strip() for key, text in given.items()}
    revision = engine.text(step, "branch") or engine.text(step, "commit_sha")
    source = Source(engine.text(step, "repository"), revision, tuple(sorted(credential.items())), wanted)
    return source, directory


def _clones(steps: Steps, change: Callable[[PullStep], PullStep]) -> Steps:
    """Apply `change` to the git_clone steps."""
    return tuple(change(step) if step.function == GIT_CLONE else step for step in steps)


def at_revision(steps: Steps, revision: str, environment: Mapping[str, str]) -> Steps:
    """Pin the flow's own repository to one branch, tag or commit, whatever its steps say.

    If that repository cannot be determined, the steps stay as they are; `source_of` says why.
    """
    try:
        number, _ = _Engine(steps, environment).place()
    except SourceError:
        return steps
    own = steps[number].inputs.get("repository")
    return _clones(
        steps, lambda step: _pinned(step, revision) if step.inputs.get("repository") == own else step
    )


def _pinned(step: PullStep, revision: str) -> PullStep:
    inputs = {key: value for key, value in step.inputs.items() if key not in REVISION_KEYS}
    return replace(step, inputs={**inputs, "commit_sha" if is_commit(revision) else "branch": revision})


def with_commits(steps: Steps, environment: Mapping[str, str]) -> Steps:
    """Pin a step whose branch, with this machine's environment, is a commit to that commit."""

    def pinned(step: PullStep) -> PullStep:
        branch = _input(step, "branch", environment)
        return _pinned(step, branch) if is_commit(branch) else step

    return _clones(steps, pinned)


def with_token(
    steps: Steps, block_name: str, host: str, environment: Mapping[str, str], username: str = ""
) -> Steps:
    """Give the git_clone steps for one host the token of a Secret block, unless they name a credential.

    `username` is the user that the host expects with it; by default Prefect goes by the host's name.
    """
    token: Inputs = {"access_token": f"{{{{ prefect.blocks.secret.{block_name} }}}}"}
    given: Inputs = {"credentials": {"username": username, **token}} if username else token

    def with_it(step: PullStep) -> PullStep:
        has_credential = any(step.inputs.get(key) for key in CREDENTIAL_KEYS)
        if has_credential or _token_host(_input(step, "repository", environment)) != host:
            return step
        return replace(step, inputs={**step.inputs, **given})

    return _clones(steps, with_it)


def _token_host(url: str) -> str | None:
    """Return the host that would get a token; `None` for an address that takes none, such as an ssh one."""
    try:
        address = Address.of(url)
    except GitError:
        return None
    return None if address.scheme == "ssh" else address.host
