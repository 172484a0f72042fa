"""No secret of the running platform shows up where people and programs look."""

import json
import re
from pathlib import Path

import pytest

from tests.platforms import Platform

# Beside the other tests of the platform, so that all of them share one running platform.
pytestmark = pytest.mark.xdist_group("platform")

FILTERS = (
    *("flows", "flow_runs", "task_runs", "deployments", "logs", "artifacts", "variables"),
    *("block_documents", "work_pools", "automations"),
)
LOGIN_TOKEN = re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")


def secrets_of(platform: Platform) -> dict[str, str]:
    """Return every secret that the platform made, by the file it is kept in."""
    if platform.kind == "local":
        folder = platform.checkout / ".local" / "secrets"
        found = {
            str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()
        }
    else:
        program = "import json, pathlib; print(json.dumps({str(f): f.read_text() for f in " + (
            "pathlib.Path('/run/platform').rglob('*') if f.is_file()}))"
        )
        command = ["docker", "compose", "run", "--rm", "--no-deps", "-T", "secrets", "python", "-c", program]
        found = json.loads(platform.must(*command))
    return {name: value.strip() for name, value in found.items() if value.strip()}


def places_of(platform: Platform) -> dict[str, str]:
    """Return what the API answers, and what every service has logged."""
    places = {name: json.dumps(platform.api.everything(f"{name}/filter")) for name in FILTERS}
    events = platform.api.post("events/filter", {"filter": {}, "limit": 50})
    pages = [events]
    while pages[-1].get("next_page") and len(pages) < 40:
        pages.append(platform.api.get(pages[-1]["next_page"].split("/api/", 1)[1]))
    places["events"] = json.dumps(pages)
    places["service logs"] = platform.diagnose(lines=100_000)
    if platform.kind == "compose":
        containers = platform.must("docker", "compose", "ps", "--all", "--quiet").split()
        places["docker inspect"] = platform.must("docker", "inspect", *containers)
    else:
        commands = platform.processes()
        assert commands
        places["command lines"] = "\n".join(commands)
    return places


def test_no_secret_is_in_any_answer_log_or_container_description(platform: Platform) -> None:
    platform.api.run("run-yeedu-job")
    platform.api.run("run-yeedu-notebook")
    secrets = secrets_of(platform)
    assert {Path(name).name for name in secrets} >= {"encryption-key", "yeedu-password"}
    places = places_of(platform)
    assert "yeedu job 101" in places["flow_runs"], "the hunt looks at runs that used the secrets"
    for place, text in places.items():
        for name, secret in secrets.items():
            assert secret not in text, f"{name} is in {place}"
        assert not LOGIN_TOKEN.search(text), f"a login token is in {place}"
