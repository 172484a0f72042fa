"""No fault of all those before has brought a secret to light."""

import pytest

from tests.e2e.secret_hunt import assert_hidden, found_in_files, places_of, secrets_of
from tests.faults.conftest import Row
from tests.faults.stack import SECRETS, Stack
from tests.faults.test_git_fails import REVOKED

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

KNOWN = "def print_message"


@pytest.mark.fault(34)
def test_no_secret_is_to_be_found(stack: Stack, row: Row) -> None:
    row.injected = "canaries in place of the platform's secrets, in all rows above"
    canaries = {**SECRETS, "revoked git token": REVOKED} | secrets_of(stack)
    canaries["password of the login"] = SECRETS["PREFECT_API_AUTH_STRING"].partition(":")[2]
    stack.finished(stack.api.start("print-message"))
    places = places_of(stack)
    assert sum(map(len, places.values())) > 100_000, "the hunt has something to look through"
    assert_hidden(canaries, places)
    found = found_in_files(stack, "worker", [*canaries.values(), KNOWN])
    assert found == {KNOWN}, "the hunt looks into clones, and finds nothing else there"
    row.held.append(f"none of {len(canaries)} is in {', '.join(places)}, or in a file of the worker")
