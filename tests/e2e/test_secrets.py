"""No secret of the running platform shows up where people and programs look."""

import base64
import subprocess
from pathlib import Path

import pytest

from tests.e2e.secret_hunt import (
    assert_hidden,
    found_in_files,
    found_in_layers,
    images_of,
    places_of,
    secrets_of,
)
from tests.platforms import SERVICES, Platform, copy_checkout

# Beside the other tests of the platform, so that all of them share one running platform.
pytestmark = pytest.mark.xdist_group("platform")


def test_no_secret_is_in_any_answer_log_or_description(platform: Platform) -> None:
    platform.api.run("run-yeedu-job")
    platform.api.run("run-yeedu-notebook")
    secrets = secrets_of(platform)
    assert {Path(name).name for name in secrets} >= {"encryption-key", "yeedu-password"}
    places = places_of(platform)
    assert "yeedu job 101" in places["flow_runs"], "the hunt looks at runs that used the secrets"
    assert_hidden(secrets, places)


@pytest.mark.docker
@pytest.mark.long
@pytest.mark.timeout(600)
def test_no_secret_is_in_a_layer_of_an_image(platform: Platform, tmp_path: Path) -> None:
    secrets = secrets_of(platform)
    names = {value: name for name, value in secrets.items()}
    names |= {base64.b64encode(value.encode()).decode(): name for name, value in secrets.items()}
    known = "Writes every secret of the platform once"
    found = found_in_layers(images_of(platform), [*names, known], tmp_path)
    assert known in found, "the hunt looks into the layers"
    assert {names[value] for value in found - {known}} == set()


@pytest.mark.docker
def test_no_secret_is_in_a_file_of_a_container(platform: Platform) -> None:
    platform.api.run("run-yeedu-job")
    names = {value: name for name, value in secrets_of(platform).items()}
    known = "def print_message"
    found = {service: found_in_files(platform, service, [*names, known]) for service in SERVICES}
    assert known in found["git-server"], "the hunt looks into files; a worker's clones go with their runs"
    assert {
        (service, names[value]) for service, values in found.items() for value in values - {known}
    } == set()


@pytest.mark.docker
def test_a_build_sees_no_secret_of_the_checkout(tmp_path: Path) -> None:
    checkout, seen = tmp_path / "checkout", tmp_path / "seen"
    copy_checkout(checkout)
    planted = (
        ".env",
        ".env.production",
        "flows/.env",
        "deployer/.env.local",
        ".local/secrets/api/auth-string",
    )
    for name in planted:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("canary")
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM scratch\nCOPY . /\n")
    build = ["docker", "build", "--quiet", f"--output={seen}", f"--file={dockerfile}", str(checkout)]
    subprocess.run(build, check=True, capture_output=True)
    files = [file for file in seen.rglob("*") if file.is_file()]
    assert seen / "flows" / "print_message.py" in files
    assert [file for file in files if file.read_bytes() == b"canary"] == []
