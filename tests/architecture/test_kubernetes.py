"""What the Helm chart renders to: Kubernetes takes it, and it has no more rights and ways than it needs."""

import base64
import json
import os
import re
import shlex
import subprocess
from functools import cache
from typing import Any

import pytest
import yaml

from tests.commands import KUBERNETES
from tests.helm import CHART, JSON, RELEASE, ROOT, VERSIONS, faults, helm, pods, refusal, rendered, tools
from tests.pages import text
from yeedu_deployer.declared.platform_files import load_pools

FOLDER = CHART.parent / "values"
# All that can be switched on, beside three servers.
EVERYTHING = (
    "--set=kubernetesWorker.enabled=true,imageWorker.enabled=true,worker.autoscaling.enabled=true",
    "--set=caCertificate.existingConfigMap=ca,ownVariables.BUCKET=s3://in,worker.autoscaling.matchLabels.a=b",
    "--set=kubernetesWorker.namespace=jobs,nodeSelector.pool=prefect,tolerations[0].operator=Exists",
    f"--set-file=config.files.prefect\\.yaml={ROOT / 'deployer' / 'prefect.yaml'}",
)
SITUATIONS: dict[str, tuple[str, ...]] = {
    "default": (),
    **{file.stem: (f"--values={file}",) for file in sorted(FOLDER.glob("*.yaml"))},
    "everything": (f"--values={FOLDER / 'several-servers.yaml'}", *EVERYTHING),
}
STOPPED = ("rescue", "yeedu-watch", "server")  # before a restore by hand, beside the workers
DATABASES = {"postgres", "warehouse", "redis"}


@cache
def manifests(situation: str) -> list[JSON]:
    return rendered(*SITUATIONS[situation])


def of_kind(situation: str, kind: str) -> dict[str, JSON]:
    return {one["metadata"]["name"]: one for one in manifests(situation) if one["kind"] == kind}


def containers(pod: JSON) -> list[JSON]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def test_situations_are_the_ones_of_the_page() -> None:
    assert set(SITUATIONS) == {
        *("default", "several-servers", "own-services", "air-gapped", "another-server", "everything")
    }
    for name in SITUATIONS.keys() - {"default", "everything"}:
        assert f"deploy/kubernetes/values/{name}.yaml" in text("docs/kubernetes.md"), name


@pytest.mark.parametrize("situation", SITUATIONS)
def test_helm_finds_nothing_amiss(situation: str) -> None:
    done = helm("lint", "--strict", *SITUATIONS[situation], CHART)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_kubernetes_knows_every_field(situation: str, version: str) -> None:
    for manifest in manifests(situation):
        assert faults(manifest, version) == [], f"{manifest['kind']} {manifest['metadata']['name']}"
    names = [(one["kind"], one["metadata"]["name"]) for one in manifests(situation)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_field_that_kubernetes_does_not_know_is_found(version: str) -> None:
    [server] = [
        one
        for one in manifests("default")
        if one["kind"] == "Deployment"
        and "server" in one["spec"]["template"]["spec"]["containers"][0]["name"]
    ][:1]
    wrong = json.loads(json.dumps(server))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    assert any("readynessProbe" in fault for fault in faults(wrong, version))
    wrong = json.loads(json.dumps(server))
    wrong["spec"]["replicas"] = "three"
    assert any("replicas" in fault for fault in faults(wrong, version))


@pytest.mark.parametrize("situation", SITUATIONS)
def test_pods_may_do_nothing_that_they_need_not(situation: str) -> None:
    """As Kubernetes' own standard `restricted` asks, and the Compose services are."""
    for component, pod in pods(manifests(situation)).items():
        account = pod.get("serviceAccountName")
        assert pod["automountServiceAccountToken"] == bool(account) == (component == "kubernetes-worker")
        assert pod["enableServiceLinks"] is False
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == context["fsGroup"] == (999 if component in DATABASES else 10001)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod.get("shareProcessNamespace", False) == (component not in DATABASES)
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"], component
            assert container["resources"]["requests"]["memory"], component
            assert not re.search(r"[:@]latest$", container["image"])
        for volume in pod["volumes"]:
            assert volume.keys() - {"name"} <= {"emptyDir", "projected", "configMap", "persistentVolumeClaim"}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_container_is_looked_at_and_no_flow_run_is_lost_by_it(situation: str) -> None:
    for component, pod in pods(manifests(situation)).items():
        for container in pod["containers"]:
            assert ("readinessProbe" in container) == (component not in {"deployer", "test"}), component
            # What waits for the server, or has flow runs, is not restarted for it.
            judged = {"server", "yeedu-watch", "git-server", "redis"}
            assert ("livenessProbe" in container) <= (component in judged), component
    worker = pods(manifests(situation))["worker"]
    [grace] = [
        one["value"] for one in worker["containers"][0]["env"] if one["name"] == "WORKER_GRACE_SECONDS"
    ]
    assert worker["terminationGracePeriodSeconds"] == int(grace)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_secret_is_in_a_manifest_but_the_secret(situation: str) -> None:
    secret = of_kind(situation, "Secret")[f"{RELEASE}-secrets"]
    made = [base64.b64decode(value).decode() for value in secret["data"].values()]
    others = json.dumps([one for one in manifests(situation) if one["kind"] != "Secret"])
    assert [value for value in made if len(value) > 8 and value in others] == []
    assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    for component, pod in pods(manifests(situation)).items():
        for container in containers(pod):
            for variable in container.get("env", []):
                if re.search(r"PASSWORD|TOKEN|(?<!_SECRET)_KEY$|AUTH_STRING(?!_SECRET)", variable["name"]):
                    assert variable["value"].startswith("/run/platform/"), f"{component}: {variable['name']}"


def test_secrets_are_made_anew_for_each_release() -> None:
    first, second = (next(one["data"] for one in rendered() if one["kind"] == "Secret") for _ in range(2))
    made = {name for name, value in first.items() if value}
    assert {name for name in made if first[name] == second[name]} == set()
    assert made == {
        *("POSTGRES_PASSWORD", "PREFECT_SERVER_ENCRYPTION_KEY", "PREFECT_API_AUTH_STRING"),
        *("YEEDU_MOCK_PASSWORD", "YEEDU_PASSWORD", "WAREHOUSE_POSTGRES_PASSWORD", "WAREHOUSE_PASSWORD"),
    }
    assert first["YEEDU_MOCK_PASSWORD"] == first["YEEDU_PASSWORD"]
    assert first["WAREHOUSE_POSTGRES_PASSWORD"] == first["WAREHOUSE_PASSWORD"]
    key = base64.b64decode(first["PREFECT_SERVER_ENCRYPTION_KEY"])
    assert len(base64.urlsafe_b64decode(key)) == 32


def test_an_existing_secret_is_asked_for_what_it_has_and_no_more() -> None:
    given = yaml.safe_load((FOLDER / "own-services.yaml").read_text(encoding="utf-8"))["secrets"]["existing"]
    asked: dict[str, set[str]] = {}
    for pod in pods(manifests("own-services")).values():
        for volume in pod["volumes"]:
            for source in volume.get("projected", {}).get("sources", []):
                [item] = source["secret"]["items"]
                asked.setdefault(source["secret"]["name"], set()).add(item["key"])
    [own] = of_kind("own-services", "Secret").values()
    assert asked[given["name"]] == set(given["keys"])
    assert asked[own["metadata"]["name"]] <= own["data"].keys()
    assert not own["data"].keys() & asked[given["name"]]
    assert not any(own["data"].values()), "nothing is made anew that a tool without `lookup` would change"


@pytest.mark.parametrize("situation", SITUATIONS)
def test_whoever_asks_is_let_in_and_nobody_else(situation: str) -> None:
    policies = of_kind(situation, "NetworkPolicy")
    nobody = policies.pop(f"{RELEASE}-nobody")["spec"]
    assert (nobody["policyTypes"], nobody.get("ingress")) == (["Ingress"], None)
    let_in = {
        name.removeprefix(f"{RELEASE}-"): set(
            policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchExpressions"][0]["values"]
        )
        for name, policy in policies.items()
    }
    listening = {
        name.removeprefix(f"{RELEASE}-")
        for name, one in of_kind(situation, "Service").items()
        if one["spec"].get("ports")
    }
    assert listening <= let_in.keys()
    for component, pod in pods(manifests(situation)).items():
        env = [one for container in containers(pod) for one in container.get("env", [])]
        told = " ".join(
            one.get("value", "")
            for one in env
            if one["name"] not in {"DIRECT_HOSTS", "PREFECT_ALLOWED_HOSTS", "GIT_CONFIG_KEY_0"}
        )
        for host in listening & {
            name for name in let_in if re.search(rf"(?<![\w-]){RELEASE}-{name}(?![\w-])", told)
        }:
            if (host, component) != ("warehouse", "deployer"):  # which only writes its address down
                assert component in let_in[host], f"{component} asks {host}"
    for name in let_in.keys() & DATABASES:
        assert policies[f"{RELEASE}-{name}"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert let_in.get("postgres", listening & {"postgres"}) in ({"server", "services"}, set()), (
        "no flow reaches Prefect's database"
    )


def test_files_of_the_platform_are_the_checkouts() -> None:
    files = of_kind("default", "ConfigMap")[f"{RELEASE}-platform-files"]["data"]
    for name in ("prefect.yaml", "alerts.yaml", "environments.yaml"):
        assert files[name] == (ROOT / "deployer" / name).read_text(encoding="utf-8")
    pools = yaml.safe_load((ROOT / "deployer" / "work-pools.yaml").read_text(encoding="utf-8"))
    assert yaml.safe_load(files["work-pools.yaml"]) == pools


def test_with_the_kubernetes_worker_there_is_its_pool(tmp_path: Any) -> None:
    arguments = ("--set=kubernetesWorker.enabled=true,images.registry=registry.example.com",)
    found = rendered(*arguments)
    [files] = [one["data"] for one in found if one["metadata"]["name"] == f"{RELEASE}-platform-files"]
    (tmp_path / "work-pools.yaml").write_text(files["work-pools.yaml"])
    [deployer] = pods(found)["deployer"]["containers"]
    environment = {one["name"]: one.get("value", "") for one in deployer["env"]}
    *_, pool = load_pools(tmp_path / "work-pools.yaml", environment)
    assert (pool.name, pool.type) == ("kubernetes-pool", "kubernetes")
    [worker] = pods(found)["worker"]["containers"]
    assert pool.job_variables["image"] == worker["image"]
    assert pool.job_variables["env"]["PREFECT_API_URL"] == f"http://{RELEASE}-server.prefect.svc:4200/api"
    [kubernetes_worker] = pods(found)["kubernetes-worker"]["containers"]
    assert kubernetes_worker["args"][kubernetes_worker["args"].index("--pool") + 1] == pool.name


def test_a_single_server_is_never_two_and_several_are_never_none() -> None:
    def of(situation: str, component: str) -> JSON:
        return of_kind(situation, "Deployment")[f"{RELEASE}-{component}"]["spec"]

    assert of("default", "server")["strategy"] == {"type": "Recreate"}
    assert of("several-servers", "server")["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert of("several-servers", "server")["replicas"] == 3
    assert of("several-servers", "services")["replicas"] == 1
    assert set(of_kind("several-servers", "PodDisruptionBudget")) == {
        f"{RELEASE}-server",
        f"{RELEASE}-worker",
    }
    assert of_kind("default", "PodDisruptionBudget") == {}, "one that allows none would hold up every node"


def test_servers_have_as_many_connections_as_they_open() -> None:
    for replicas in (1, 3, 9):
        found = rendered("--set", f"server.replicas={replicas}")
        arguments = " ".join(map(str, pods(found)["postgres"]["containers"][0]["args"]))
        [most] = re.findall(r"max_connections=(\d+)", arguments)
        opening = [name for name in ("server", "services") if name in pods(found)]
        [pool] = {
            int(one["value"])
            for name in opening
            for one in pods(found)[name]["containers"][0]["env"]
            if one["name"].endswith("_POOL_SIZE")
        }
        processes = replicas + len(opening) - 1
        assert (pool + 1) * processes + 20 <= int(most), f"{replicas} servers"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ("server.replicas=0", "at '/server/replicas': minimum: got 0, want 1"),
        ("settings.WORKER_LIMT=3", "additional properties 'WORKER_LIMT' not allowed"),
        ("settings.WORKER_LIMIT=many", "'many' does not match pattern"),
        (
            "settings.PREFECT_SERVER_DATABASE_HOST=db",
            "give that database's password, secrets.values.POSTGRES_PASSWORD",
        ),
        ("demonstration.enabled=false", "set settings.FLOWS_GIT_URL to the repository of your flows"),
        ("secrets.values.PREFECT_API_AUTH_STRING=admin:canary", "must have the form user:password"),
        ("secrets.values.PREFECT_SERVER_ENCRYPTION_KEY=canary", "is not a Fernet key"),
        ("settings.REDIS_URL=redis://:canary@redis", "settings.REDIS_URL has a password in it"),
        ("secrets.existing.keys[0]=GITHUB_TOKEN", "name the Secret that has them: secrets.existing.name"),
        (
            "secrets.existing.name=a,secrets.existing.keys[0]=YEEDU_MOCK_PASSWORD",
            "need YEEDU_PASSWORD as well",
        ),
        ("secrets.values.GITHUB_TOKEN=canary\ncanary", "secrets.values.GITHUB_TOKEN has more than one line"),
        ("secrets.values.PREFECT_API_KEY=canary", "PREFECT_API_KEY is for another server"),
        ("config.existingConfigMap=a,config.files.a\\.yaml=b", "remove one of them"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(values: str, sentence: str) -> None:
    said = refusal("--set", values)
    assert sentence in said
    assert "canary" not in said


def test_values_of_the_page_are_the_schemas() -> None:
    """The table is made from values.schema.json and values.yaml; the assertion shows it."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    table = "\n".join(["| value | default | meaning |", "| --- | --- | --- |", *rows(schema, values)])
    assert table in text("docs/kubernetes.md"), table


def rows(described: JSON, values: Any, path: str = "") -> list[str]:
    found: list[str] = []
    for name, one in described["properties"].items():
        own = f"{path}{name}"
        if name in {"resources", "storage"}:
            continue  # one sentence for all of them
        if "description" in one:
            default = values[name]
            shown = "" if isinstance(default, dict) and default else f"`{json.dumps(default)}`"
            found.append(f"| `{own}` | {shown} | {one['description']} |")
        elif "properties" in one:
            found += rows(one, values[name], f"{own}.")
    return found


@pytest.mark.parametrize("command", KUBERNETES)
def test_command_of_the_page_has_options_that_there_are(command: str) -> None:
    """Both programs read all of them before they look for a cluster, of which there is none."""
    words = shlex.split(command.removeprefix("cat local/backup/*.sql | ").partition(" >")[0])
    done = subprocess.run(
        [tools() / words[0], *words[1:]],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "KUBECONFIG": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert re.search(
        r"cluster unreachable|connection to the server .* was refused|localhost:8080", done.stderr
    )
    assert not re.search(r"unknown (flag|command|shorthand)", done.stderr)


def test_names_of_the_page_are_the_releases() -> None:
    found = {(one["kind"], one["metadata"]["name"].removeprefix(RELEASE)) for one in manifests("default")}
    assert {("Secret", "-secrets"), ("Service", "-server"), ("StatefulSet", "-postgres")} <= found
    assert {("StatefulSet", "-worker"), *(("Deployment", f"-{name}") for name in STOPPED)} <= found


def test_charts_version_is_the_platforms() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == (ROOT / "VERSION").read_text(encoding="utf-8").strip()
    assert chart["kubeVersion"] == f">={VERSIONS[0]}.0-0"
    assert (tools() / "kubectl").exists()
