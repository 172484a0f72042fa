"""Both UIs work under the server's policy, and no page of theirs asks anybody but the server itself."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.browser.visits import Visitor
from tests.prefect_process import PrefectProcess

pytestmark = pytest.mark.browser

SERVER = Path(__file__).parents[2] / "server"
FLOW = """
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

@task
def step(number):
    return number

@flow
def own_pages():
    create_markdown_artifact("# Words of the test\\n![of others](http://beacon.invalid/a.png)", key="words")
    return step(step(1))

own_pages()
"""


@dataclass
class Site:
    """A server with both UIs, on which one flow has run."""

    server: PrefectProcess
    run_id: str
    artifact_id: str

    @property
    def address(self) -> str:
        return self.server.url.removesuffix("/api")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("own-pages")
    folder = home / "ui"
    settings = {
        "PREFECT_SERVER_UI_ENABLED": "true",
        "PREFECT_SERVER_UI_API_URL": "/api",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(folder),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
    server = PrefectProcess(home, settings)
    prepare = [sys.executable, str(SERVER / "prepare_ui.py"), str(folder)]
    subprocess.run(prepare, env=server.environment, check=True)
    try:
        server.start()
        environment = {
            **server.environment,
            "PREFECT_API_URL": server.url,
            "PREFECT_HOME": str(home / "flow"),
        }
        subprocess.run([sys.executable, "-c", FLOW], env=environment, check=True, cwd=home)
        [run] = requests.post(f"{server.url}/flow_runs/filter", json={}, timeout=60).json()
        [artifact] = requests.post(
            f"{server.url}/artifacts/filter", json={"artifacts": {"key": {"any_": ["words"]}}}, timeout=60
        ).json()
        yield Site(server, run["id"], artifact["id"])
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Watched:
    """A page, whom it asked, and what went wrong on it."""

    page: Page
    others: list[str]
    problems: list[str]

    def __post_init__(self) -> None:
        self._visitor = Visitor(self.page, self.problems)

    def visit(self, address: str, words: str) -> None:
        """Open a page and wait for words on it."""
        self._visitor.visit(address, lambda: expect(self.page.get_by_text(words).first).to_be_visible())


@pytest.fixture
def watched(browser: Browser, site: Site) -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    own = urlsplit(site.address).netloc
    watched = Watched(page, [], [])

    def asked(url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"} and parts.netloc != own:
            watched.others.append(url)

    page.on("request", lambda request: asked(request.url))
    page.on("websocket", lambda socket: asked(socket.url))
    page.on(
        "console", lambda m: watched.problems.append(f"{m.text} {m.location}") if m.type == "error" else None
    )
    page.on("pageerror", lambda error: watched.problems.append(str(error)))
    yield watched
    page.close()


VERSIONS = ["", "/v2"]


@pytest.mark.parametrize("version", VERSIONS, ids=["v1", "v2"])
def test_pages_work_and_ask_nobody_else(site: Site, watched: Watched, version: str) -> None:
    page = watched.page
    page.context.add_cookies(
        [{"name": "prefect_ui_version", "value": version.strip("/") or "v1", "url": site.address}]
    )
    for path, text in (
        ("/dashboard", "Flow Runs"),
        ("/runs", "own-pages"),
        (f"/runs/flow-run/{site.run_id}", "Completed"),  # with its graph, which is drawn by workers
        ("/flows", "own-pages"),
        ("/deployments", "Deployments"),
        ("/automations", "Automations"),
        ("/variables", "Variables"),
        ("/settings", "Settings"),
    ):
        watched.visit(f"{site.address}{version}{path}", text)
    assert watched.problems == []
    assert watched.others == []


@pytest.mark.parametrize("version", VERSIONS, ids=["v1", "v2"])
def test_pictures_that_an_artifact_names_are_not_fetched_from_elsewhere(
    site: Site, watched: Watched, version: str
) -> None:
    """Whoever wrote the text would learn who reads it, and when."""
    page = watched.page
    page.context.add_cookies(
        [{"name": "prefect_ui_version", "value": version.strip("/") or "v1", "url": site.address}]
    )
    watched.visit(f"{site.address}{version}/artifacts/artifact/{site.artifact_id}", "Words of the test")
    blocked = [problem for problem in watched.problems if "Content Security Policy" in problem]
    assert blocked, "the page did not even try"
    assert "beacon.invalid" in blocked[0]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/api/docs", "/api/redoc"])
def test_description_of_the_api_runs_no_code_of_others(site: Site, watched: Watched, path: str) -> None:
    watched.visit(site.address + path, "/openapi.json describes the API")
    assert watched.others == []
