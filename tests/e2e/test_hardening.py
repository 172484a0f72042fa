"""What the engine says about the containers: whoever breaks out of a flow finds nothing to use."""

import json

import pytest

from tests.platforms import JSON, Platform

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("platform")]


@pytest.fixture(scope="module")
def containers(platform: Platform) -> dict[str, JSON]:
    """Every container of the platform as `docker inspect` shows it, by its service."""
    ids = platform.must("docker", "compose", "ps", "--all", "--quiet").split()
    inspected: list[JSON] = json.loads(platform.must("docker", "inspect", *ids))
    return {item["Config"]["Labels"]["com.docker.compose.service"]: item for item in inspected}


def test_no_container_runs_as_root_or_can_become_it(containers: dict[str, JSON]) -> None:
    for name, container in containers.items():
        assert container["Config"]["User"].partition(":")[0] not in {"", "0", "root"}, name
        host = container["HostConfig"]
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert not host["Privileged"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert not [option for option in host["SecurityOpt"] if "unconfined" in option], name


def test_every_root_is_read_only_and_every_resource_has_a_limit(containers: dict[str, JSON]) -> None:
    for name, container in containers.items():
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"] or (name, host["NetworkMode"]) == ("secrets", "none"), name
        assert host["Memory"] > 0, name
        assert 0 < host["PidsLimit"] <= 2048, name
        assert host["LogConfig"]["Config"]["max-size"], name


def test_nothing_of_the_host_is_mounted_but_the_checkout_and_read_only(containers: dict[str, JSON]) -> None:
    for name, container in containers.items():
        assert container["HostConfig"]["PidMode"] == "", name
        assert container["HostConfig"]["NetworkMode"] != "host", name
        for mount in container["Mounts"]:
            assert "docker.sock" not in mount["Source"], name
            assert mount["Type"] in {"volume", "tmpfs"} or not mount["RW"], f"{name}: {mount['Source']}"


def test_ports_are_on_loopback_only(containers: dict[str, JSON]) -> None:
    published = {
        name: [binding["HostIp"] for bindings in ports.values() for binding in bindings or []]
        for name, container in containers.items()
        if any((ports := container["NetworkSettings"]["Ports"] or {}).values())
    }
    assert published.keys() == {"server", "yeedu-mock"}
    assert {address for addresses in published.values() for address in addresses} == {"127.0.0.1"}


def test_flows_reach_no_database(platform: Platform, containers: dict[str, JSON]) -> None:
    postgres = set(containers["postgres"]["NetworkSettings"]["Networks"])
    assert not postgres & set(containers["worker"]["NetworkSettings"]["Networks"])
    run = platform.api.run("run-shell-command", {"command": "getent hosts postgres || echo not found"})
    assert "not found" in platform.api.log_with(run["id"], "not found").splitlines()


def test_flows_see_no_variable_that_they_do_not_need(platform: Platform) -> None:
    run = platform.api.run("run-shell-command", {"command": "env | cut -d= -f1 | sed s/^/variable:/"})
    log = platform.api.log_with(run["id"], "variable:PATH")
    names = [line.removeprefix("variable:") for line in log.splitlines() if line.startswith("variable:")]
    base: list[JSON] = json.loads(platform.must("docker", "image", "inspect", "python:3.13-slim"))
    of_image = {setting.partition("=")[0] for setting in base[0]["Config"]["Env"]}
    shell = {"HOME", "HOSTNAME", "OLDPWD", "PWD", "SHLVL", "TEMP", "TMP", "TMPDIR", "_", *of_image}
    prefixes = ("PREFECT_", "FLOWS_GIT_", "GIT_CONFIG_", "WORKER_", "YEEDU_", "PYTHON", "DO_NOT_TRACK")
    assert [name for name in names if name not in shell and not name.startswith(prefixes)] == []
    assert [
        name for name in names if name.endswith(("PASSWORD", "TOKEN", "KEY")) and name not in of_image
    ] == []


THIEF = """
import json, os
from pathlib import Path
from prefect import flow
places = [Path("/proc", name, "environ") for name in os.listdir("/proc") if name.isdigit()]
places += [Path(folder, name) for folder in ("api", "deployer") for name in json.loads(os.environ["NAMES"])]
read = []
for place in places:
    try:
        if place.parent.name != str(os.getpid()):
            Path("/run/platform", place).read_bytes()
            read.append(str(place))
    except (PermissionError, FileNotFoundError, ProcessLookupError) as error:
        pass
@flow(description=json.dumps([len(places), read]))
def run(): ...
"""
DEPLOYER = f"""
import json, os
from pathlib import Path
from yeedu_deployer.inspection.inspector import FlowInspector, Wanted
Path("/tmp/thief.py").write_text({THIEF!r})
names = [file.name for file in Path("/run/platform").rglob("*") if file.is_file() and file.read_bytes()]
with FlowInspector() as inspector:
    wanted = Wanted("thief.py:run", environment={{"NAMES": json.dumps(names)}})
    found = inspector.inspect(Path("/tmp"), [wanted])[0]
print(json.dumps([names, json.loads(found.description)]))
"""


def test_flow_code_reads_none_of_the_secrets_when_the_deployer_imports_it(platform: Platform) -> None:
    run = ("docker", "compose", "run", "--rm", "--no-deps", "-T", "--entrypoint", "with-secrets", "deployer")
    names, (tried, read) = json.loads(platform.must(*run, "python", "-c", DEPLOYER))
    assert "warehouse-password" in names
    assert tried > len(names)
    assert read == []
