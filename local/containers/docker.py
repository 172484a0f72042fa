"""Runs the ``docker`` command line, and finds and removes what has a Compose project's label."""

import subprocess

from local.errors import CommandError

PROJECT_LABEL, SERVICE_LABEL = "com.docker.compose.project", "com.docker.compose.service"
ANSWER_SECONDS = 15.0
_REMOVAL_SECONDS = 120.0
_KINDS = (
    (("ps", "--all"), ("rm", "--force", "--volumes")),
    (("volume", "ls"), ("volume", "rm", "--force")),
    (("network", "ls"), ("network", "rm")),
)


def ask(*command: str, seconds: float | None = ANSWER_SECONDS) -> subprocess.CompletedProcess[str]:
    """Run a command and return its result; one that cannot start or takes too long counts as failed."""
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", "docker is not installed")
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def of_project(project: str) -> tuple[str, str]:
    """Return the arguments that restrict a listing to one project."""
    return "--filter", f"label={PROJECT_LABEL}={project}"


def labels_of(
    project: str, name: str, service: str = "", seconds: float | None = ANSWER_SECONDS
) -> list[str]:
    """Return the value of a label, such as ``working_dir``, of each container of a project, running or not.

    Args:
        project: The project's name.
        name: The label's name, without Compose's prefix.
        service: The service whose containers to list; by default all.
        seconds: How long to wait for the answer.
    """
    shown = ("--format", f'{{{{.Label "{PROJECT_LABEL}.{name}"}}}}')
    of = (*of_project(project), *(("--filter", f"label={SERVICE_LABEL}={service}") if service else ()))
    return ask("docker", "ps", "--all", *shown, *of, seconds=seconds).stdout.splitlines()


def remove_labelled(project: str) -> None:
    """Remove a project's containers, volumes and networks, including those of files since dropped from it.

    Raises:
        CommandError: One of them cannot be removed; the message has the engine's reason.
    """
    for listing, removal in _KINDS:
        if found := _must(*listing, *of_project(project), "--quiet").split():
            _must(*removal, *found)


def _must(*arguments: str) -> str:
    done = ask("docker", *arguments, seconds=_REMOVAL_SECONDS)
    if done.returncode:
        raise CommandError(f"docker {' '.join(arguments[:2])} failed: {done.stderr.strip()}")
    return done.stdout
