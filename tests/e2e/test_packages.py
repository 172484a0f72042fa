"""A package that a flow needs and the platform lacks: noticed, listed, locked, installed, used."""

import sys

import pytest

from tests.platforms import Platform, commit
from tests.platforms import image as image_of

# Beside the other tests of the platform, so that all of them share one running platform.
pytestmark = [pytest.mark.long_locally, pytest.mark.xdist_group("platform"), pytest.mark.timeout(1800)]

NAME = "say-moo"
FLOW = """
import cowsay
from prefect import flow


@flow(name="say-moo", log_prints=True)
def say_moo() -> None:
    print(cowsay.get_output_string("cow", "moo"))
"""
DEPLOYMENTS = """
name: packages
pull:
  - prefect.deployments.steps.git_clone:
      repository: "{{ $FLOWS_GIT_URL }}"
      branch: "{{ $FLOWS_GIT_REF }}"
deployments:
  - name: say-moo
    entrypoint: flows/say_moo.py:say_moo
    work_pool: {name: yeedu-pool}
"""
ADVICE = (
    "if it is a package, add it to flows/requirements.txt, then `make lock` and `make up` (docs/packages.md)"
)


def test_package_that_the_platform_lacks_is_listed_locked_and_used(platform: Platform) -> None:
    """The list stays as it is afterwards: nothing else looks at it."""
    checkout, own_file = platform.checkout, {"PREFECT_FILE": "./deployer/packages.yaml"}
    (checkout / "deployer" / "packages.yaml").write_text(DEPLOYMENTS)
    (checkout / "flows" / "say_moo.py").write_text(FLOW)
    commit(checkout, "Add a flow")
    noted = platform.deploy(own_file)
    assert noted.returncode == 0, noted.stdout + noted.stderr
    said = " ".join(f"{noted.stdout} {noted.stderr}".split())
    assert f"No module named 'cowsay' (flows/say_moo.py, line 2); {ADVICE}" in said

    with (checkout / "flows" / "requirements.txt").open("a") as packages:
        packages.write("cowsay\n")
    unlocked = platform.command(sys.executable, "-m", "local", "up")
    assert unlocked.returncode == 1
    assert "make up: flows/requirements.txt has changed since `make lock`; run it" in unlocked.stderr

    platform.must(sys.executable, "-m", "local", "lock")
    platform.up()
    deployed = platform.deploy(own_file)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    run = platform.api.run(NAME)
    assert run["state_type"] == "COMPLETED", platform.api.log(run["id"])
    platform.api.log_with(run["id"], "| moo |")

    # A flow that came to need another one since it was registered: its run's log says what to do.
    platform.edit("flows/say_moo.py", "import cowsay\n", "import cowsay\nimport haversine\n")
    run = platform.api.run(NAME)
    assert run["state_type"] in {"FAILED", "CRASHED"}
    platform.api.log_with(run["id"], ADVICE)
    platform.api.delete(f"deployments/{platform.api.deployments()[NAME]['id']}")


@pytest.mark.long
@pytest.mark.docker
def test_image_with_flows_is_a_worker_wherever_it_is_pulled(platform: Platform) -> None:
    """Named as for a registry; the other machine has the image, the server's address, and nothing else."""
    built = image_of("image-worker")
    image, container = f"registry.example.com/team/flows:{platform.port}", f"flows-{platform.port}"
    platform.must("docker", "compose", "--profile", "image-worker", "build", "--quiet", "image-worker")
    platform.must("docker", "tag", built, image)
    variables = {"PREFECT_API_URL": platform.api.url, "WORKER_POOL": "image-pool", "WORKER_NAME": container}
    settings = [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]
    start = ("docker", "run", "--detach", "--init", "--network", "host", "--name", container)
    try:
        platform.must(*start, *settings, image)
        run = platform.api.run("run-shell-command-from-image", {"command": "ls flows/content_files"})
        assert run["state_type"] == "COMPLETED", platform.api.log(run["id"])
        platform.api.log_with(run["id"], "runs_per_day.csv")
    finally:
        platform.command("docker", "rm", "--force", container)
        platform.must("docker", "rmi", image)
