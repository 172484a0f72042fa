"""Secrets that the chart has made stay as they are: Helm reads them back, here from an API of nothing else.

It is what a cluster has after `helm uninstall`, which leaves that Secret: Helm takes it over again.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.helm import CHART, JSON, RELEASE, helm, rendered

if TYPE_CHECKING:
    import subprocess

KEPT = {
    "POSTGRES_PASSWORD": "kept-of-postgres",
    "PREFECT_SERVER_ENCRYPTION_KEY": base64.urlsafe_b64encode(bytes(range(224, 256))).decode(),
    "PREFECT_API_AUTH_STRING": "admin:kept-of-the-login",
    "WAREHOUSE_POSTGRES_PASSWORD": "kept-of-the-warehouse",
    "WAREHOUSE_PASSWORD": "kept-of-the-warehouse",
    "GITHUB_TOKEN": "of an earlier upgrade",
}


def pages(kept: dict[str, str]) -> dict[str, JSON]:
    """What an API tells that has every kind which the chart has, and one Secret."""
    kinds: dict[str, set[str]] = {}
    for manifest in rendered():
        kinds.setdefault(manifest["apiVersion"], set()).add(manifest["kind"])
    found: dict[str, JSON] = {
        "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [
                {
                    "name": group.partition("/")[0],
                    "versions": [{"groupVersion": group, "version": "v1"}],
                    "preferredVersion": {"groupVersion": group, "version": "v1"},
                }
                for group in kinds.keys() - {"v1"}
            ],
        },
    }
    for group, members in kinds.items():
        resources = [
            {"name": f"{kind.lower()}s", "namespaced": True, "kind": kind, "verbs": ["get"]}
            for kind in members
        ]
        found["/api/v1" if group == "v1" else f"/apis/{group}"] = {
            "kind": "APIResourceList",
            "groupVersion": group,
            "resources": resources,
        }
    found[f"/api/v1/namespaces/prefect/secrets/{RELEASE}-secrets"] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"{RELEASE}-secrets",
            "namespace": "prefect",
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {
                "meta.helm.sh/release-name": RELEASE,
                "meta.helm.sh/release-namespace": "prefect",
            },
        },
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in kept.items()},
    }
    return found


@contextmanager
def api(kept: dict[str, str]) -> Iterator[str]:
    """Serve the pages, and give the address."""
    told = pages(kept)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = told.get(self.path.partition("?")[0])
            body = json.dumps(page or {"kind": "Status", "reason": "NotFound", "code": 404}).encode()
            self.send_response(200 if page else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def upgraded(kept: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    with api(kept) as address:
        return helm(
            *("template", RELEASE, CHART, "--namespace", "prefect", "--dry-run=server"),
            *(f"--kube-apiserver={address}", "--disable-openapi-validation", *arguments),
        )


def secret(done: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    [found] = [one for one in yaml.safe_load_all(done.stdout) if one and one["kind"] == "Secret"]
    return {name: base64.b64decode(value).decode() for name, value in found["data"].items()}


def test_what_was_made_is_kept_and_what_is_new_is_made() -> None:
    now = secret(upgraded(KEPT))
    assert {name: now[name] for name in KEPT.keys() - {"GITHUB_TOKEN"}} == {
        name: value for name, value in KEPT.items() if name != "GITHUB_TOKEN"
    }
    assert now["YEEDU_MOCK_PASSWORD"] == now["YEEDU_PASSWORD"] != ""
    assert now["GITHUB_TOKEN"] == "", "one that is no longer given is emptied, as with Compose"


def test_a_database_that_is_switched_off_is_found_again() -> None:
    now = secret(upgraded(KEPT, "--set=warehouse.enabled=false"))
    assert now["WAREHOUSE_POSTGRES_PASSWORD"] == "kept-of-the-warehouse"
    assert now["WAREHOUSE_PASSWORD"] == ""


def test_a_login_may_change() -> None:
    now = secret(upgraded(KEPT, "--set=secrets.values.PREFECT_API_AUTH_STRING=me:another-password"))
    assert now["PREFECT_API_AUTH_STRING"] == "me:another-password"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTGRES_PASSWORD", "canary"),
        ("PREFECT_SERVER_ENCRYPTION_KEY", base64.urlsafe_b64encode(bytes(32)).decode()),
    ],
)
def test_what_the_data_was_made_with_may_not(name: str, value: str) -> None:
    done = upgraded(KEPT, f"--set=secrets.values.{name}={value}")
    assert done.returncode != 0
    assert (
        f"secrets.values.{name} differs from the one that this release's database was created with"
        in done.stderr
    )
    assert value not in done.stderr
    assert KEPT[name] not in done.stderr
