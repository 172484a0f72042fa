"""The chart's containers have what those of the Compose files have, setting by setting."""

import re
from typing import Any

import pytest
import yaml

from local.script import load_script
from tests.compose_files import expanded, services
from tests.helm import CHART, JSON, RELEASE, ROOT, pods, rendered
from tests.pages import text

VALUES: JSON = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SETTINGS = dict(re.findall(r"(?m)^#(\w+)=(.*)$", (ROOT / ".env.example").read_text(encoding="utf-8")))
FOLDER = CHART.parent / "values"
# Compose's services, and where the chart has them: a component's container.
CONTAINERS = {
    **{name: (name, name) for name in ("server", "services", "worker", "image-worker", "deployer", "rescue")},
    **{
        name: (name, name)
        for name in ("yeedu-watch", "yeedu-mock", "git-server", "warehouse", "postgres", "redis")
    },
    "migrate": ("server", "migrate"),
}
# Services without a container here: a Secret is made by Helm, which also waits for what is ready; an Ingress
# takes the proxy's place; backups are made as docs/kubernetes.md says; Dask has a chart of its own.
WITHOUT = {"secrets", "ready", "proxy", "backup", "dask-scheduler", "dask-worker"}
# What a container has otherwise than Compose's, or beside it; `None` where the one or the other has nothing.
DIFFERENCES = {
    ("worker", "WORKER_NAME"): "its pod's own, for there may be several",
    ("image-worker", "WORKER_NAME"): "its pod's own, for there may be several",
    ("server", "PREFECT_ALLOWED_HOSTS"): "and the names by which other namespaces reach it",
    ("services", "PREFECT_ALLOWED_HOSTS"): "as the servers",
    ("postgres", "PGDATA"): "a folder in the volume, which may hold a lost+found",
    ("warehouse", "PGDATA"): "a folder in the volume, which may hold a lost+found",
    ("migrate", "CA_CERT_FILE"): "also with the chart's own database, where nothing asks for it",
}
# Mounted by Compose from the checkout or the image, or a place of its own here.
SCALED, OWN_DATABASE = "deploy/scale.yaml", "deploy/own-database.yaml"
OTHER_SERVER = "deploy/other-server.yaml"
OF_OTHER_SERVER = {"PREFECT_API_URL", "RESCUE_WORK_POOLS"}


def settings_of(name: str) -> dict[str, str]:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")).get("settings", {})


def other(setting: str, value: str) -> str:
    """Another value of a setting, of the same kind."""
    match value:
        case "true" | "false":
            return "false" if value == "true" else "true"
        case _ if value.isdecimal():
            return str(int(value) + 7)
        case "LDAP":
            return "AZURE_SSO"
        case _:
            return (
                f"https://{setting.lower().replace('_', '-')}.example"
                if "URL" in setting
                else f"other-{setting.lower()}"
            )


EVERY_SETTING = {
    name: other(name, SETTINGS[name])
    for name in VALUES["settings"]
    if name in SETTINGS.keys() - OF_OTHER_SERVER
}
PASSWORD = ["--set", "secrets.values.POSTGRES_PASSWORD=x"]
# By what is described: Compose files, settings, and values beside these.
SITUATIONS: dict[str, tuple[list[str], dict[str, str], list[str]]] = {
    "one server": ([], {}, ["--set", "imageWorker.enabled=true"]),
    "several servers": (
        [SCALED],
        settings_of("several-servers"),
        ["--set", "server.replicas=3,ingress.proxyHost=proxy"],
    ),
    "another database": ([OWN_DATABASE], {"PREFECT_SERVER_DATABASE_HOST": "db.example.com"}, PASSWORD),
    "another server": ([OTHER_SERVER], {"PREFECT_API_URL": "https://prefect.example.com/api"}, []),
    "another server by name": (
        [OTHER_SERVER],
        {"PREFECT_API_URL": "https://prefect.example.com/api", "PREFECT_UI_URL": "https://ui.example.com"},
        ["--set", "imageWorker.enabled=true"],
    ),
    "every setting": ([OWN_DATABASE], EVERY_SETTING, [*PASSWORD, "--set", "imageWorker.enabled=true"]),
}
OF_SCALED = {"PREFECT_API_URL", "DIRECT_HOSTS"}  # a Service is asked in place of the proxy


def environments(manifests: list[JSON]) -> dict[tuple[str, str], dict[str, str]]:
    """Each container's variables, under the names of Compose's hosts."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for component, pod in pods(manifests).items():
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            found[component, container["name"]] = {
                one["name"]: re.sub(rf"\b{RELEASE}-(?=[a-z])", "", one.get("value", ""))
                for one in container.get("env", [])
            }
    return found


@pytest.mark.parametrize("situation", SITUATIONS)
def test_container_has_the_variables_of_its_service(situation: str) -> None:
    files, settings, values = SITUATIONS[situation]
    composed = services("docker-compose.yaml", *files)
    chosen = [f"--set-string=settings.{name}={value}" for name, value in settings.items()]
    here = environments(rendered(*chosen, *values))
    compared = set[str]()
    for name, service in composed.items():
        if name in WITHOUT or CONTAINERS[name] not in here:
            continue
        compared.add(name)
        ours = here[CONTAINERS[name]]
        theirs = {
            variable: settings[variable] if value is None else expanded(str(value), settings)
            for variable, value in service["environment"].items()
            if value is not None or variable in settings  # without a value it is as in .env
        }
        differing = {one for one in ours.keys() | theirs.keys() if ours.get(one) != theirs.get(one)}
        stated = {variable for service_name, variable in DIFFERENCES if service_name == name}
        stated |= OF_SCALED if SCALED in files else set()
        told = {one: (theirs.get(one), ours.get(one)) for one in differing - stated}
        assert told == {}, f"{name}: (Compose's, the chart's)"
    left_out = composed.keys() - compared - WITHOUT
    assert left_out <= {"image-worker"}, left_out


def test_clients_of_another_server_mount_its_key() -> None:
    composed = services("docker-compose.yaml", OTHER_SERVER)
    values = "settings.PREFECT_API_URL=https://prefect.example.com/api,imageWorker.enabled=true"
    here = pods(rendered("--set", values))
    assert not {"server", "services", "postgres", "redis"} & here.keys()
    for name in composed.keys() - WITHOUT:
        theirs = any(str(volume).startswith("key-secrets:") for volume in composed[name]["volumes"])
        ours = any(mount["name"] == "key-secrets" for mount in here[name]["containers"][0]["volumeMounts"])
        assert ours == theirs, name


def test_every_difference_is_one() -> None:
    here = environments(rendered("--set", "server.replicas=2,imageWorker.enabled=true"))
    for (name, variable), reason in DIFFERENCES.items():
        assert variable in here[CONTAINERS[name]], f"{name}: {variable}, {reason}"
        theirs = services("docker-compose.yaml", SCALED)[name]["environment"].get(variable)
        assert here[CONTAINERS[name]][variable] != expanded(str(theirs), {}), f"{name}: {variable}"


def test_clients_of_several_servers_ask_their_service() -> None:
    here = environments(rendered("--set", "server.replicas=2"))
    for name in ("worker", "deployer", "rescue", "yeedu-watch"):
        assert here[name, name]["PREFECT_API_URL"] == "http://server:4200/api"
        assert "server" in here[name, name]["DIRECT_HOSTS"].split(",")


# Of the values for Prefect's own chart: names and addresses of the place, and what that chart sets by itself.
OF_THE_PLACE = {
    *("CA_CERT_FILE", "PREFECT_ALLOWED_HOSTS", "PREFECT_HOME", "DIRECT_HOSTS", "REDIS_URL", "PROXY_HOST"),
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE",
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_STATEMENT_CACHE_SIZE",
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_PREPARED_STATEMENT_CACHE_SIZE",
}
OF_THAT_CHART = {
    *(f"PREFECT_SERVER_DATABASE_{part}" for part in ("DRIVER", "HOST", "PORT", "NAME", "USER", "PASSWORD")),
    "PREFECT_SERVER_API_AUTH_STRING",
}
OF_THAT_CHART_APART = {"PREFECT_SERVER_UI_ENABLED", "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"}


def test_values_for_prefects_own_chart_have_the_variables_of_the_server() -> None:
    one, several = (
        yaml.safe_load((CHART.parent / "prefect-charts" / f"{name}.yaml").read_text(encoding="utf-8"))
        for name in ("prefect-server", "prefect-server-several")
    )
    shared = one["global"]["prefect"]["env"]
    for name, files, env in (
        ("server", [OWN_DATABASE], one["server"]["env"]),
        ("server", [OWN_DATABASE, SCALED], several["server"]["env"]),
        ("services", [OWN_DATABASE, SCALED], several["backgroundServices"]["env"]),
    ):
        ours = {entry["name"]: entry.get("value") for entry in [*shared, *env]}
        settings = services("docker-compose.yaml", *files)[name]["environment"]
        given = OF_THE_PLACE | OF_THAT_CHART | (OF_THAT_CHART_APART if SCALED in files else set())
        for variable, value in settings.items():
            secret = variable.removesuffix("_FILE")  # from a Secret, in place of a file
            if {variable, secret} & given:
                continue
            wanted = expanded(str(value), {"PREFECT_UI_URL": "https://prefect.example.com"})
            is_secret = secret != variable and variable not in ours
            assert ours[secret if is_secret else variable] == (None if is_secret else wanted), variable


def test_every_setting_has_its_value_or_a_sentence() -> None:
    table = (
        text("docs/kubernetes.md").partition("## Settings that have another place")[2].partition("\n## ")[0]
    )
    told = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split(" | ")[0])}
    secrets = set(schema()["properties"]["secrets"]["properties"]["values"]["properties"])
    settings = set(VALUES["settings"])
    assert SETTINGS.keys() - settings - secrets - told == set(), "settings without a value or a sentence"
    assert told & (settings | secrets) == set()
    assert settings - SETTINGS.keys() <= {"REDIS_URL"}


def schema() -> JSON:
    return yaml.safe_load((CHART / "values.schema.json").read_text(encoding="utf-8"))


def test_settings_have_the_defaults_of_the_settings() -> None:
    assert schema()["properties"]["settings"]["properties"].keys() == VALUES["settings"].keys()
    # Empty: what comes with the chart, whose name is the release's.
    of_the_release = {
        "FLOWS_GIT_URL",
        "WAREHOUSE_URL",
        "YEEDU_JOB_URL",
        "YEEDU_NOTEBOOK_URL",
        "YEEDU_HEALTH_URL",
    }
    for name, value in VALUES["settings"].items():
        assert value == ("" if name in of_the_release else SETTINGS.get(name, "")), name


def test_secrets_are_those_of_the_platform_in_the_same_files() -> None:
    script = load_script(ROOT / "server" / "generate_secrets.py")
    theirs = {(one.folder, one.setting, one.name) for one in script.SECRETS}
    text = (CHART / "templates" / "_secrets.tpl").read_text(encoding="utf-8")
    table = text.partition('"yp.secretFiles" -}}\n')[2].partition("{{- end }}")[0]
    ours = {
        (folder, setting, name)
        for folder, files in yaml.safe_load(table).items()
        for setting, name in files.items()
    }
    assert ours == theirs


def container_of(here: dict[str, JSON], service: str) -> JSON:
    """Return the container that is what a service of Compose's is."""
    component, name = CONTAINERS[service]
    pod = here[component]
    [found] = [one for one in [*pod.get("initContainers", []), *pod["containers"]] if one["name"] == name]
    return found


@pytest.mark.parametrize("scaled", [False, True], ids=["one server", "several"])
def test_container_mounts_the_secrets_of_its_service(scaled: bool) -> None:
    composed = services("docker-compose.yaml", *([SCALED] if scaled else []))
    here = pods(rendered("--set", f"server.replicas={3 if scaled else 1},imageWorker.enabled=true"))
    for name in composed.keys() - WITHOUT:
        ours = container_of(here, name)
        mounts = {
            mount["mountPath"]: mount.get("readOnly")
            for mount in ours.get("volumeMounts", [])
            if mount["mountPath"].startswith("/run/platform/")
        }
        volumes = [str(volume) for volume in composed[name]["volumes"]]
        theirs = {volume.split(":")[1] for volume in volumes if re.match(r"[a-z]+-secrets:", volume)}
        assert mounts == dict.fromkeys(theirs, True), name


@pytest.mark.parametrize("scaled", [False, True], ids=["one server", "several"])
def test_container_may_take_as_much_memory_as_its_service(scaled: bool) -> None:
    composed = services("docker-compose.yaml", *([SCALED] if scaled else []))
    here = pods(rendered("--set", f"server.replicas={3 if scaled else 1},imageWorker.enabled=true"))
    for name in composed.keys() - WITHOUT - {"migrate"}:
        ours = container_of(here, name)
        limit = expanded(composed[name]["mem_limit"], {})
        assert ours["resources"]["limits"]["memory"] == limit.upper() + "i", name


@pytest.mark.parametrize("registry", ["", "registry.example.com/platform"])
def test_images_are_called_as_composes_are(registry: str) -> None:
    built = services("docker-compose.images.yaml")
    settings = {"PLATFORM_REGISTRY": registry} if registry else {}
    composed: dict[str, Any] = services("docker-compose.yaml", SCALED)
    here = pods(rendered("--set", f"images.registry={registry},server.replicas=3,imageWorker.enabled=true"))
    for name in composed.keys() - WITHOUT:
        ours = container_of(here, name)
        if image := composed[name].get("image"):
            assert ours["image"] == "/".join(filter(None, (registry, expanded(image, {})))), name
            continue
        taken = "server" if name in {"migrate", "services"} else name
        assert ours["image"] == expanded(
            built[f"{taken}-pulled" if registry else taken]["image"], settings
        ), name
    command = {
        name: composed[name].get("command") for name in ("migrate", "yeedu-watch", "services", "redis")
    }
    for name, given in command.items():
        ours = container_of(here, name)
        assert ours["args"] == [expanded(str(one), {}) for one in given], name
