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
    prefixes = (
        "PREFECT_",
        "FLOWS_GIT_",
        "GIT_CONFIG_",
        "RESULT_",
        "WORKER_",
        "YEEDU_",
        "DASK_",
        "PYTHON",
        "DO_NOT_",
    )
    assert [name for name in names if name not in shell and not name.startswith(prefixes)] == []
    assert [
        name for name in names if name.endswith(("PASSWORD", "TOKEN", "KEY")) and name not in of_image
    ] == []


LOOK = """
import os
from pathlib import Path

def line(number):
    try:
        return Path("/proc", number, "cmdline").read_bytes()
    except OSError:  # it has just ended
        return b""

def parent(number):
    return Path("/proc", number, "stat").read_text().rpartition(")")[2].split()[1]

own = str(os.getpid())
above = [parent(own)]
while parent(above[-1]) not in ("0", "1"):
    above.append(parent(above[-1]))
everything = filter(str.isdecimal, os.listdir("/proc"))
worker = [number for number in everything if b"\\0yeedu_worker.serve\\0" in line(number)]
for number in (own, *above[-3:], *worker):  # what the flow has started itself is below these
    opened = []
    for name, how in (("environ", os.O_RDONLY), ("mem", os.O_RDWR)):
        try:
            os.close(os.open(Path("/proc", number, name), how))
            opened.append(name)
        except OSError:
            pass
    print("own:" if number == own else "other:", *opened, flush=True)
print("looked:" + "everywhere")
"""


def test_flows_cannot_look_into_the_worker(platform: Platform) -> None:
    """The flow's own process, a fork of the prefork server, is the one that is open to it."""
    run = platform.api.run("run-shell-command", {"command": f"python - <<'EOF'\n{LOOK}\nEOF"})
    lines = [line.split() for line in platform.api.log_with(run["id"], "looked:everywhere").splitlines()]
    assert ["own:", "environ", "mem"] in lines
    others = [line for line in lines if line[:1] == ["other:"]]
    assert len(others) >= 4, f"the guard, the prefork server, the watchdog, the worker: {lines}"
    assert [line for line in others if line != ["other:"]] == []


def test_flows_write_nothing_that_a_later_start_reads(platform: Platform) -> None:
    """Where the worker starts, Python looks for modules, and Prefect for settings."""
    command = """
        for file in $PREFECT_PROFILES_PATH $PREFECT_LOGGING_CONFIG_PATH /opt/anyio.py /opt/prefect.toml; do
            mkdir -p "$(dirname "$file")" 2>/dev/null
            touch "$file" 2>/dev/null && echo "wrote:$file"
        done
        echo wrote:""all
    """
    run = platform.api.run("run-shell-command", {"command": command})
    log = platform.api.log_with(run["id"], "wrote:all")
    assert [line for line in log.splitlines() if "wrote:/" in line] == []
    places = platform.must("docker", "compose", "exec", "-T", "worker", "sh", "-c", "pwd")
    assert places.strip() == "/opt"


def test_temporary_files_have_a_limit(containers: dict[str, JSON]) -> None:
    assert "size=2g" in containers["worker"]["HostConfig"]["Tmpfs"]["/tmp"]


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
    quiet = ("docker", "compose", "--progress", "quiet", "run", "--rm", "--no-deps", "-T")
    run = (*quiet, "--entrypoint", "with-secrets", "deployer")
    names, (tried, read) = json.loads(platform.must(*run, "python", "-c", DEPLOYER))
    assert "warehouse-password" in names
    assert tried > len(names)
    assert read == []
