"""The flow report-repository, against a GraphQL server with GitHub's own schema."""

import asyncio
import gc
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import graphql
import prefect_github  # pyright: ignore[reportMissingTypeStubs]
import pytest
from graphql import GraphQLError, GraphQLSchema, build_client_schema
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter
from prefect_github import GitHubCredentials  # pyright: ignore[reportMissingTypeStubs]

import report_repository as module
from report_repository import API_URL, report_repository

# Prefect's own clients leave sockets to the garbage collector when an async flow's event loop ends.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
TOKEN = "canary-of-the-github-token"
REPOSITORY = {
    "url": "https://github.example/ada/engine",
    "description": "Runs | things",
    "stargazerCount": 1842,
    "forkCount": 7,
    "pushedAt": "1843-07-10T12:00:00Z",
    "isPrivate": True,
    "latestRelease": {
        "tagName": "v1.0",
        "publishedAt": "1843-07-10T12:00:00Z",
        "url": "https://github.example/v1.0",
    },
}
OPEN = {"issues": 3, "pullRequests": 2}


class GitHub(ThreadingHTTPServer):
    """Executes queries as GitHub does: refuses who has no token, and says what is not there."""

    def __init__(self, schema: GraphQLSchema) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.schema = schema
        self.url = f"http://127.0.0.1:{self.server_port}/graphql"
        self.statuses: list[int] = []
        self.asked: list[str] = []
        self.repository: dict[str, Any] = {**REPOSITORY, **{field: self._connection(field) for field in OPEN}}

    @staticmethod
    def _connection(field: str) -> Callable[..., dict[str, int]]:
        def resolve(_info: Any, states: list[str] | None = None, **_: Any) -> dict[str, int]:
            return {"totalCount": OPEN[field] if states == ["OPEN"] else 99}

        return resolve

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        def resolve(_info: Any, owner: str, name: str, **_: Any) -> dict[str, Any]:
            if (owner, name) != ("ada", "engine"):
                said = f"Could not resolve to a Repository with the name '{owner}/{name}'."
                raise GraphQLError(said, extensions={"type": "NOT_FOUND"})
            return self.repository

        execute = cast("Any", graphql).graphql_sync
        root = {"repository": resolve}
        result: dict[str, Any] = execute(self.schema, query, root, variable_values=variables).formatted
        for error in result.get("errors", []):
            error |= error.pop("extensions", {})  # GitHub has the type beside the message
        return result


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        hub: Any = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        hub.asked.append(body["query"])
        if hub.statuses:
            self._send(hub.statuses.pop(0), {"message": "Trouble"})
        elif self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._send(401, {"message": "Bad credentials", "status": "401"})
        else:
            self._send(200, hub.answer(body["query"], body.get("variables") or {}))

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        pass


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    file = Path(prefect_github.__file__).parent / "schemas" / "graphql_schema.json"
    return build_client_schema(json.loads(file.read_text(encoding="utf-8"))["data"])


@pytest.fixture
def hub(prefect_server: str, schema: GraphQLSchema, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    monkeypatch.setattr(module, "WAITS_SECONDS", [0.01] * 3)
    GitHubCredentials.model_validate({"token": TOKEN}).save("github", overwrite=True)
    with GitHub(schema) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def report(
    hub: GitHub, owner: str = "ada", name: str = "engine", block: str = "github", url: str = ""
) -> Any:
    flow: Any = report_repository
    state = asyncio.run(flow(owner, name, block, url or hub.url, return_state=True))
    gc.collect()  # those sockets, here and not in another test
    return state


def test_the_report_is_the_result_and_an_artifact(hub: GitHub) -> None:
    state = report(hub)
    expected = {
        "url": "https://github.example/ada/engine",
        "description": "Runs | things",
        "stars": 1842,
        "forks": 7,
        "open_issues": 3,
        "open_pull_requests": 2,
        "pushed_at": "1843-07-10T12:00:00Z",
        "latest_release": "v1.0",
    }
    assert state.result(raise_on_failure=False) == expected, state.message
    with get_client(sync_client=True) as client:
        of_run = {"flow_run_id": {"any_": [state.state_details.flow_run_id]}}
        (artifact,) = client.read_artifacts(artifact_filter=ArtifactFilter.model_validate(of_run))
    assert "| stars | 1842 |" in str(artifact.data)
    assert "| description | Runs \\| things |" in str(artifact.data)


def test_a_repository_without_a_release_has_none(hub: GitHub) -> None:
    hub.repository["latestRelease"] = None
    assert report(hub).result()["latest_release"] is None


def test_a_repository_that_is_not_there_is_one_sentence_and_asked_for_once(hub: GitHub) -> None:
    state = report(hub, name="difference")
    assert "answers: Could not resolve to a Repository with the name 'ada/difference'." in state.message
    assert len(hub.asked) == 1


def test_trouble_is_waited_out(hub: GitHub) -> None:
    hub.statuses = [502, 429]
    assert report(hub).result()["stars"] == 1842
    assert len(hub.asked) == 6


def test_a_refused_token_is_one_sentence_that_does_not_hold_it(hub: GitHub) -> None:
    GitHubCredentials.model_validate({"token": "canary-revoked"}).save("revoked", overwrite=True)
    state = report(hub, block="revoked")
    assert "refuses the token in the GitHub Credentials block 'revoked'" in state.message
    assert "canary" not in state.message
    assert len(hub.asked) == 1


@pytest.mark.parametrize(
    ("block", "url", "reason"),
    [
        ("nowhere", API_URL, "There is no GitHub Credentials block 'nowhere'; set GITHUB_TOKEN in .env"),
        ("without", API_URL, "The GitHub Credentials block 'without' holds no token."),
        ("github", "http://github.example/graphql", "a token is sent to it, so give an https address"),
        ("github", "github.example", "a token is sent to it, so give an https address"),
        ("github", "http://127.0.0.1:9/graphql", "http://127.0.0.1:9/graphql cannot be reached:"),
    ],
)
def test_what_cannot_work_is_one_sentence(hub: GitHub, block: str, url: str, reason: str) -> None:
    GitHubCredentials().save("without", overwrite=True)
    state = report(hub, block=block, url=url)
    assert state.is_failed()
    assert reason in state.message
