"""Finds the files that declare the desired state: in CONFIG_DIR, the platform's, or the flows' repository."""

import contextlib
import os
import re
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from yeedu_deployer.errors import ConfigurationError, SourceError, SpecError
from yeedu_deployer.settings import Configuration
from yeedu_worker.dotenv import DotenvError, lines_of
from yeedu_worker.git.reasons import GitError

if TYPE_CHECKING:
    from yeedu_deployer.declared.desired import Files

IN_REPOSITORY = "repo:"
PREFECT_YAML, ENVIRONMENTS_YAML, FLOWS_ENV = "prefect.yaml", "environments.yaml", "flows.env"
# Variables that build or configure the services; they belong in .env, not in flows.env.
OF_THE_PLATFORM = re.compile(
    r"(PREFECT|YEEDU|WAREHOUSE|FLOWS_GIT|GIT_CONFIG|WORKER|RESCUE|ALERT|POSTGRES|COMPOSE|DOCKER)_\w+"
    r"|(GITHUB_TOKEN|CA_CERT_FILE)(_FILE)?|CONFIG_DIR|CHECKOUT_\w+|PATH|HOME|LD_\w+|PYTHON\w*"
)
SECRET = re.compile(r"(\w+_)?(PASSWORD|PASSWD|TOKEN|SECRET|API_?KEY|ACCESS_KEY|PRIVATE_KEY)", re.IGNORECASE)


@dataclass
class Options:
    """The options of the command line; those not given are empty.

    `file` may be `repo:` followed by a path in the flows' repository.
    """

    command: str = ""
    file: str = ""
    work_pools: str = ""
    alerts: str = ""
    environments: str = ""
    environment: str = ""
    only: list[str] | None = None
    deployments_only: bool = False
    timeout: float = 0.0
    json: bool = False


@contextmanager
def declared_files(
    given: Options, variables: Mapping[str, str], configuration: Configuration
) -> Generator["Files"]:
    """Find the files that declare the desired state; a file of the repository exists until the block ends.

    `CONFIG_DIR` is the folder of a team's own files. If it lacks work pools or alerts, the platform's are
    used, from `deployer/` in `CHECKOUT_DIR`; without either, files beside prefect.yaml are. If prefect.yaml
    comes from the repository, the working directory is the clone meanwhile, so that messages name the file
    by its path in the repository.
    """
    # These import Prefect, so not before it is needed.
    from yeedu_deployer.declared.desired import Files
    from yeedu_deployer.declared.flow_source import Source
    from yeedu_deployer.planned.sources import remote_of

    config, checkout = variables.get("CONFIG_DIR"), variables.get("CHECKOUT_DIR")
    folders = [Path(config)] if config else []
    if config and not os.access(config, os.R_OK | os.X_OK):
        raise ConfigurationError(
            f"CONFIG_DIR cannot be read by user {os.getuid()}; make it readable, or set CHECKOUT_UID."
        )
    folders += [Path(checkout, "deployer")] if checkout else []
    others = [
        _other(given.work_pools, "work-pools.yaml", folders),
        _other(given.alerts, "alerts.yaml", folders),
        _other(given.environments, ENVIRONMENTS_YAML, folders[:1]),  # it belongs to one prefect.yaml
    ]
    if given.environment and config and not others[2]:
        raise ConfigurationError(
            f"CONFIG_DIR has no {ENVIRONMENTS_YAML}, so there is no environment {given.environment!r}; "
            f"copy deployer/{ENVIRONMENTS_YAML} there, and make it yours."
        )
    name = given.file or variables.get("PREFECT_FILE", "")
    if not name.startswith(IN_REPOSITORY):
        yield Files(_file(name, variables, is_option=bool(given.file)), *others)
        return
    path = name.removeprefix(IN_REPOSITORY).removeprefix("./")
    revision = _branch(given.environment, others[2], variables) or variables.get("FLOWS_GIT_REF", "")
    url = variables.get("FLOWS_GIT_URL", "")
    token = configuration.git_token if url.startswith("https://") else None
    source = Source(url, revision, (("access_token", token),) if token else ())
    with tempfile.TemporaryDirectory(prefix="deployer-file-", ignore_cleanup_errors=True) as folder:
        clone = Path(folder).resolve()
        try:
            remote, found = remote_of(source).accepted(revision)
            remote.clone(found, clone)
        except GitError as error:
            raise SourceError(str(error)) from None
        _check_is_in(clone, path, name, f"{remote.address.url}{f', {revision}' if revision else ''}")
        with contextlib.chdir(clone):
            yield Files(Path(path), *others)


def _other(option: str, name: str, folders: list[Path]) -> Path | None:
    if option:
        return Path(option)
    return next((folder / name for folder in folders if (folder / name).exists()), None)


def _file(name: str, variables: Mapping[str, str], *, is_option: bool) -> Path:
    config, checkout = variables.get("CONFIG_DIR"), variables.get("CHECKOUT_DIR")
    if name:
        places = [Path(name), *(Path(folder) / name for folder in (checkout, config) if folder)]
        found = next((place for place in places if place.is_file()), None)
        if not found and not is_option:
            raise ConfigurationError(
                f"PREFECT_FILE={name}: there is no such file in CONFIG_DIR, or in this checkout's deployer/ "
                f"and flows/; set CONFIG_DIR to its folder, or PREFECT_FILE to {IN_REPOSITORY}PATH for one "
                "of the flows' repository."
            )
        return found or places[0]
    if not config:
        return Path(PREFECT_YAML)
    if not Path(config, PREFECT_YAML).exists():
        raise ConfigurationError(
            f"CONFIG_DIR has no {PREFECT_YAML}; write one there, or set PREFECT_FILE, for example to "
            f"{IN_REPOSITORY}{PREFECT_YAML} for that of the flows' repository."
        )
    return Path(config, PREFECT_YAML)


def _branch(environment: str, file: Path | None, variables: Mapping[str, str]) -> str:
    """Return an environment's branch; mistakes in the file are reported when all of it is read."""
    from yeedu_deployer.declared.templating import resolve_at_run_time
    from yeedu_deployer.declared.yaml_marks import locate
    from yeedu_deployer.declared.yaml_reader import load

    if not environment or not file:
        return ""
    try:
        _, _, branch = locate(load(file), ("environments", environment, "branch"))
    except SpecError:
        return ""
    return resolve_at_run_time(branch, variables) if isinstance(branch, str) else ""


def _check_is_in(clone: Path, path: str, name: str, shown: str) -> None:
    """Check that the clone has the file, and that it is not a link to one outside."""
    if not path or not (clone / path).resolve().is_relative_to(clone):
        raise ConfigurationError(
            f"PREFECT_FILE={name} is no path in a repository; write it like {IN_REPOSITORY}{PREFECT_YAML}."
        )
    if not (clone / path).is_file():
        found = sorted(file.relative_to(clone).as_posix() for file in clone.rglob(Path(path).name))
        hint = f"; did you mean {IN_REPOSITORY}{found[0]}?" if found else "."
        raise SourceError(f"PREFECT_FILE={name}: the git repository {shown} has no such file{hint}")


def own_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that CONFIG_DIR's flows.env declares, with their values from `variables`.

    Raises `ConfigurationError` for a line that sets a variable of the platform or looks like a secret.
    """
    file = Path(variables.get("CONFIG_DIR", ""), FLOWS_ENV)
    if not variables.get("CONFIG_DIR") or not file.exists():
        return {}
    try:
        lines = list(lines_of(file.read_text(encoding="utf-8-sig"), str(file)))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read ({error}); make it readable, UTF-8 text.") from None
    except DotenvError as error:
        raise ConfigurationError(f"{error}.") from None
    for line in lines:
        _check_name(line.name, f"{file}:{line.number}")
    return {line.name: variables[line.name] for line in lines if line.name in variables}


def _check_name(name: str, place: str) -> None:
    if OF_THE_PLATFORM.fullmatch(name):
        raise ConfigurationError(
            f"{place}: {name} is the platform's; it belongs into .env, or for the runs of one deployment "
            "into its job_variables: {env: ...}."
        )
    if SECRET.fullmatch(name):
        raise ConfigurationError(
            f"{place}: {name} is a secret by its name, and whoever sees this file or the containers' "
            "settings would see it; keep it in a Secret block."
        )
