"""Work pools of type kubernetes: made and kept as others are, and what Prefect's worker makes of them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from declared import HEAD
from prefect.client.schemas.actions import WorkPoolUpdate

from attach.checks import WRONG, check_pool
from attach.server import Server as AskedServer
from tests.helm import CHART, VERSIONS, faults
from tests.kubernetes_worker import packages
from yeedu_deployer.planned.pools import WORKERS, default_template

IMAGE = "registry.example.com/yeedu-prefect-worker:1"
VARIABLES = {
    "KUBERNETES_JOB_IMAGE": IMAGE,
    "KUBERNETES_JOB_NAMESPACE": "jobs",
    "KUBERNETES_API_URL": "http://p-server.prefect.svc:4200/api",
}
POOLS = (CHART / "files" / "kubernetes-pool.yaml").read_text(encoding="utf-8")
DEPLOYMENT = """
  - name: one
    entrypoint: flows/one.py:run
    work_pool: {name: kubernetes-pool, job_variables: {memory_limit: 2Gi}}
"""


def defaults(template):
    properties = template["variables"]["properties"]
    return {name: field["default"] for name, field in properties.items() if field.get("default") is not None}


@pytest.fixture
def applied(platform):
    def apply(**changed):
        return platform.apply(HEAD + DEPLOYMENT, pools=POOLS, environment={**VARIABLES, **changed})

    return apply


def test_pool_has_the_stock_template_with_our_defaults(platform, applied):
    report = applied()

    assert report.failures == []
    pool = platform.client.read_work_pool("kubernetes-pool")
    assert pool.type == "kubernetes"
    stock = json.loads(WORKERS.read_text(encoding="utf-8"))["prefect-kubernetes"]["kubernetes"]
    template = stock["default_base_job_configuration"]
    assert pool.base_job_template["job_configuration"] == template["job_configuration"]
    assert defaults(pool.base_job_template) == {
        **defaults(template),
        "image": IMAGE,
        "namespace": "jobs",
        "finished_job_ttl": 3600,
        "env": {
            "PREFECT_API_URL": VARIABLES["KUBERNETES_API_URL"],
            "FLOWS_GIT_URL": platform.repository.url,
            "PREFECT_HOME": "/tmp/prefect",
        },
    }
    deployment = platform.client.read_deployment_by_name("one/one")
    assert deployment.work_pool_name == "kubernetes-pool"
    assert deployment.job_variables == {"memory_limit": "2Gi"}
    assert platform.outcomes(applied(), "work pool") == {"kubernetes-pool": "unchanged"}


def test_what_an_operator_adds_to_the_job_outlasts_a_new_image(platform, applied):
    """As a security context, which the template has no variable for."""
    applied()
    template = platform.client.read_work_pool("kubernetes-pool").base_job_template
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    pod["securityContext"] = {"runAsNonRoot": True}
    platform.client.update_work_pool("kubernetes-pool", WorkPoolUpdate(base_job_template=template))

    report = applied(KUBERNETES_JOB_IMAGE=f"{IMAGE}.1")

    assert platform.outcomes(report, "work pool") == {"kubernetes-pool": "changed"}
    template = platform.client.read_work_pool("kubernetes-pool").base_job_template
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True}
    assert defaults(template)["image"] == f"{IMAGE}.1"


def test_attached_worker_is_refused_there_in_a_sentence(platform, server, applied):
    applied()
    asked = AskedServer(server.url, server.environment["PREFECT_API_AUTH_STRING"])

    finding = check_pool(asked, SimpleNamespace(pool="kubernetes-pool"))

    assert (finding.status, finding.text) == (
        WRONG,
        "'kubernetes-pool' is of type kubernetes, not process; give another --pool",
    )


@pytest.mark.long
def test_prefects_worker_makes_a_job_of_it_that_kubernetes_takes(platform, applied):
    applied()
    template = platform.client.read_work_pool("kubernetes-pool").base_job_template
    made = subprocess.run(
        [sys.executable, Path(__file__).parent / "support" / "kubernetes_job.py"],
        input=json.dumps(template),
        env={**os.environ, **platform.server.environment, "PYTHONPATH": str(packages())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    job = told["job"]
    for version in VERSIONS:
        # Prefect says of the pod, too, what only a job has; Kubernetes passes it over.
        pod = job["spec"]["template"]["spec"]
        plain = {name: value for name, value in pod.items() if name not in {"parallelism", "completions"}}
        taken = {**job, "spec": {**job["spec"], "template": {**job["spec"]["template"], "spec": plain}}}
        assert faults(taken, version) == []
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE
    assert container["args"] == ["prefect", "flow-run", "execute"], "behind the image's entrypoint"
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment["PREFECT_API_URL"] == VARIABLES["KUBERNETES_API_URL"]
    assert environment["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    assert told["deployers"] == told["workers"], "where the worker is installed, its own template is taken"
    assert told["workers"] != default_template("kubernetes")
