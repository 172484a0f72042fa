"""No fault of all those before has brought a secret to light."""

import subprocess

import pytest

from tests.e2e.test_secrets import LOGIN_TOKEN, places_of, secrets_of
from tests.faults.conftest import Row
from tests.faults.stack import SECRETS, Stack
from tests.faults.test_git_fails import REVOKED

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

FOLDERS = ("/tmp", "/var/lib/prefect")


@pytest.mark.fault(34)
def test_no_secret_is_to_be_found(stack: Stack, row: Row) -> None:
    row.injected = "canaries in place of the platform's secrets, in all rows above"
    canaries = {**SECRETS, "revoked git token": REVOKED} | secrets_of(stack)
    canaries["password of the login"] = SECRETS["PREFECT_API_AUTH_STRING"].partition(":")[2]
    places = places_of(stack)
    assert sum(map(len, places.values())) > 100_000, "the hunt has something to look through"
    for folder in FOLDERS:
        places[f"the worker's {folder}"] = found_in_files(stack, folder, canaries)
    for place, text in places.items():
        for name, canary in canaries.items():
            assert canary not in text, f"{name} is in {place}"
        assert not LOGIN_TOKEN.search(text), f"a login token is in {place}"
    row.held.append(f"none of {len(canaries)} is in {', '.join(places)}")


def found_in_files(stack: Stack, folder: str, canaries: dict[str, str]) -> str:
    """Return every line of the worker's files, clones with their .git among them, that holds a canary."""
    done = subprocess.run(
        ["docker", "exec", "-i", stack.container("worker"), "grep", "-raFf", "/dev/stdin", folder],
        input="\n".join(canaries.values()),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout
