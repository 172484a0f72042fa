"""What is worked out once is what Prefect works out itself; each change is made in a process of its own."""

from pathlib import Path
from typing import Any

import anyio
from own_process import run_python

from tests.tls_server import self_signed
from yeedu_worker.patches.repeated_work import one_claim, read_deployments_once

SHARE = """
import json, ssl, sys
import certifi
from prefect.client.orchestration import PrefectClient, SyncPrefectClient
from yeedu_worker.patches.repeated_work import share_certificates

def context(made):
    return made._client._transport._pool._ssl_context

share_certificates(at_once=True)
ours = context(SyncPrefectClient("https://server/api"))
print(json.dumps({
    "shared": ours is context(SyncPrefectClient("http://server/api")) is context(PrefectClient("http://server/api")),
    "verifies": ours.verify_mode == ssl.CERT_REQUIRED and ours.check_hostname,
    "certificates": len(ours.get_ca_certs()),
    "as many": len(ssl.create_default_context(cafile=certifi.where()).get_ca_certs()),
    "a flow's own": ssl.create_default_context(cafile=certifi.where()) is not ours,
}))
"""
INSECURE = """
import json, ssl
import certifi
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_TLS_INSECURE_SKIP_VERIFY, temporary_settings
from yeedu_worker.patches.repeated_work import share_certificates

share_certificates()
with temporary_settings({PREFECT_API_TLS_INSECURE_SKIP_VERIFY: True}):
    insecure = SyncPrefectClient("https://server/api")._client._transport._pool._ssl_context
secure = SyncPrefectClient("https://server/api")._client._transport._pool._ssl_context
print(json.dumps([insecure.verify_mode == ssl.CERT_NONE, secure.verify_mode == ssl.CERT_REQUIRED]))
"""
FILES = """
import json, shutil, sys
from pathlib import Path
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_SSL_CERT_FILE, temporary_settings
from yeedu_worker.patches.repeated_work import share_certificates

share_certificates()
file, other = Path(sys.argv[1]), Path(sys.argv[2])
def names():
    with temporary_settings({PREFECT_API_SSL_CERT_FILE: str(file)}):
        context = SyncPrefectClient("https://server/api")._client._transport._pool._ssl_context
    return [certificate["serialNumber"] for certificate in context.get_ca_certs()]
first = names()
shutil.copy(other, file)
second = names()
file.unlink()
try:
    names()
except FileNotFoundError as error:
    print(json.dumps([first, second, str(error)]))
"""
VARIABLES = """
import json
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from prefect.settings.base import PrefectBaseSettings
from yeedu_worker.patches.repeated_work import remember_settings_variables

stock = PrefectBaseSettings.to_environment_variables
remember_settings_variables()
def is_stock(**options):
    settings = get_current_settings()
    return stock(settings, **options) == settings.to_environment_variables(**options)
found = [is_stock(), is_stock(exclude_unset=True), is_stock(include_aliases=True)]
with temporary_settings({PREFECT_API_URL: "http://elsewhere/api"}):
    found += [is_stock(exclude_unset=True), is_stock()]
found.append(is_stock(exclude_unset=True))
get_current_settings().to_environment_variables()["PREFECT_API_URL"] = "changed by its caller"
print(json.dumps([*found, is_stock()]))
"""
MODELS = """
import json
from pydantic import BaseModel
from prefect.client.schemas.responses import DeploymentResponse
from yeedu_worker.patches.repeated_work import complete_models

before = DeploymentResponse.__pydantic_complete__
complete_models()
print(json.dumps([before, DeploymentResponse.__pydantic_complete__]))
"""


def test_prefects_clients_share_a_context_that_verifies(tmp_path: Path) -> None:
    found = run_python(SHARE, tmp_path)
    assert found["certificates"] == found["as many"] > 50
    assert (found["shared"], found["verifies"], found["a flow's own"]) == (True, True, True)


def test_a_client_that_does_not_verify_changes_no_other(tmp_path: Path) -> None:
    assert run_python(INSECURE, tmp_path) == [True, True]


def test_a_changed_file_of_certificates_is_read_again(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = self_signed(tmp_path / "one"), self_signed(tmp_path / "two")
    first, second, missing = run_python(FILES, tmp_path, str(one), str(two))
    assert first
    assert second
    assert set(first).isdisjoint(second)
    assert str(one) in missing


def test_variables_are_those_of_the_settings_that_are_current(tmp_path: Path) -> None:
    assert run_python(VARIABLES, tmp_path) == [True] * 7


def test_models_are_complete_before_their_first_use(tmp_path: Path) -> None:
    assert run_python(MODELS, tmp_path) == [False, True]


def test_a_claim_reads_a_deployment_once_and_the_next_one_reads_it_again() -> None:
    reads: list[str] = []

    class Client:
        async def read_deployment(self, deployment_id: str) -> str:
            reads.append(deployment_id)
            await anyio.sleep(0)
            return f"{deployment_id} as read {len(reads)}."

    async def check(client: Any) -> list[str]:
        with one_claim():
            first = await client.read_deployment("a")
            async with anyio.create_task_group() as group:  # where a worker resolves the variables
                second = await group.start(resolve, client)
        return [first, second]

    async def resolve(client: Any, *, task_status: Any) -> None:
        task_status.started(await client.read_deployment("a"))

    async def claims() -> list[list[str]]:
        client: Any = Client()
        read_deployments_once(client)
        found = [await check(client), await check(client)]
        outside = [await client.read_deployment("a"), await client.read_deployment("a")]
        return [*found, outside]

    first, second, outside = anyio.run(claims)
    assert first == ["a as read 1."] * 2
    assert second == ["a as read 2."] * 2
    assert outside == ["a as read 3.", "a as read 4."]
