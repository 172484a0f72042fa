"""A platform whose owner set every secret, and a login: none shows up, and nobody gets in without it."""

import base64
import secrets
from collections.abc import Iterator

import pytest
import requests

from tests.e2e.secret_hunt import (
    assert_hidden,
    found_in_files,
    found_in_layers,
    images_of,
    places_of,
    secrets_of,
)
from tests.platforms import SERVICES, Api, ComposePlatform, copy_checkout, wait_for

pytestmark = [
    pytest.mark.docker,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("platform"),
]


def canaries() -> dict[str, str]:
    """Return a value of its own for every setting that takes a secret.

    Those of Yeedu and of the alerts lead nowhere, so that what says so is looked through too. A token for git
    needs a server with TLS; tests/faults has one that is revoked.
    """
    word = secrets.token_hex
    return {
        "POSTGRES_PASSWORD": word(16),
        "PREFECT_SERVER_ENCRYPTION_KEY": base64.urlsafe_b64encode(word(16).encode()).decode(),
        "PREFECT_API_AUTH_STRING": f"admin:{word(16)}",
        "YEEDU_PASSWORD": word(16),
        "YEEDU_TOKEN": word(16),
        "GITHUB_TOKEN": word(16),
        "WAREHOUSE_PASSWORD": word(16),
        "ALERT_WEBHOOK_URL": f"http://localhost:9/{word(16)}",
        "ALERT_SLACK_WEBHOOK_URL": f"http://localhost:9/services/T0/B0/{word(16)}",
        "ALERT_SENDGRID_API_KEY": word(16),
    }


@pytest.fixture(scope="module")
def planted() -> dict[str, str]:
    return canaries()


@pytest.fixture(scope="module")
def configured(
    tmp_path_factory: pytest.TempPathFactory, planted: dict[str, str]
) -> Iterator[ComposePlatform]:
    """The platform with the canaries in .env, from before its images are built."""
    checkout = tmp_path_factory.mktemp("configured") / "yeedu-prefect"
    copy_checkout(checkout)
    lines = [f"{setting}={value}\n" for setting, value in planted.items()]
    mail = ["ALERT_EMAIL_FROM=from@localhost\n", "ALERT_EMAIL_TO=to@localhost\n"]
    (checkout / ".env").write_text("".join([*lines, *mail]))
    platform = ComposePlatform(checkout)
    platform.api = Api(platform.api.url, planted["PREFECT_API_AUTH_STRING"])
    try:
        platform.must("docker", "compose", "up", "--detach", "--build", "--quiet-pull", timeout_seconds=600)
        yield platform
    finally:
        platform.remove()


def test_no_configured_secret_shows_up(
    configured: ComposePlatform, planted: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert configured.api.run("print-message")["state_type"] == "COMPLETED"
    for name in ("run-yeedu-job", "run-yeedu-notebook"):
        assert configured.api.run(name)["state_type"] == "FAILED", "its token is wrong"

    def alerted() -> bool:
        wanted = {"event": {"prefix": ["prefect.automation.action."]}}
        return bool(configured.api.post("events/filter", {"filter": wanted})["events"])

    wait_for("alert about the failed runs", alerted, 120)
    known = set(secrets_of(configured).values())
    assert known >= set(planted.values())
    values = {setting: value.rpartition("/")[2].rpartition(":")[2] for setting, value in planted.items()}
    assert_hidden(values, places_of(configured))
    names = {value: setting for setting, value in values.items()}
    files = {service: found_in_files(configured, service, names) for service in SERVICES}
    assert {(service, names[value]) for service, found in files.items() for value in found} == set()
    assert found_in_layers(images_of(configured), names, tmp_path_factory.mktemp("layers")) == set()


def test_nobody_gets_in_without_the_login(configured: ComposePlatform) -> None:
    for login in (None, ("admin", "wrong")):
        for path in ("flows/filter", "admin/version", "block_documents/filter?include_secrets=true"):
            answer = requests.post(f"{configured.api.url}/{path}", json={}, auth=login, timeout=90)
            assert answer.status_code == 401, path
    clone = "git -c credential.helper= ls-remote http://git-server:8080/flows.git"
    command = ("docker", "compose", "exec", "-T", "--env=GIT_CONFIG_COUNT=0", "worker", "sh", "-c", clone)
    refused = configured.command(*command)
    assert refused.returncode
    assert "could not read Username" in refused.stderr
    control = requests.get(f"http://localhost:{configured.mock_port}/_control/journal", timeout=90)
    assert control.status_code == 404
