"""What a web page of somebody else can do to the platform through its user's browser: nothing."""

import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Response

from tests.browser.visits import PATIENCE_MILLISECONDS, Visitor
from tests.platforms import JSON, Platform

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("platform")]

PAGE = "<!doctype html><title>A page of somebody else</title>"

# Tries every way that a page has, and returns what came of each. A request that the browser sends without
# letting the page read the answer comes back as "sent".
ATTACK = """
async ([api, name]) => {
  const results = {};
  const attempt = async (what, path, options) => {
    try {
      const answer = await fetch(api + path, options);
      results[what] = answer.type === "opaque" ? "sent" : `${answer.status} ${await answer.text()}`;
    } catch (error) { results[what] = "refused"; }
  };
  const headers = {"Content-Type": "application/json"};
  const variable = JSON.stringify({name, value: "planted"});
  await attempt("read", "/admin/version", {});
  await attempt("read everything", "/deployments/filter", {method: "POST", body: "{}", headers});
  await attempt("write", "/variables/", {method: "POST", body: variable, headers});
  await attempt("write unseen", "/variables/", {method: "POST", body: variable, mode: "no-cors"});
  const untyped = new Blob([variable]);  // is sent without a Content-Type, which Prefect takes for JSON
  await attempt("write unseen, untyped", "/variables/", {method: "POST", body: untyped, mode: "no-cors"});
  navigator.sendBeacon(api + "/variables/", untyped);
  await new Promise((resolve) => {
    const make = (element, fields, parent) => {
      parent.append(Object.assign(element, fields));
      return element;
    };
    const frame = make(document.createElement("iframe"), {name: "frame"}, document.body);
    frame.onload = resolve;
    const form = {action: api + "/variables/", method: "POST", enctype: "text/plain", target: "frame"};
    const sent = make(document.createElement("form"), form, document.body);
    // As text/plain, a field comes as NAME=VALUE.
    const field = {name: `{"name": "${name}", "value": "planted", "tags": ["`, value: '"]}'};
    make(document.createElement("input"), field, sent);
    sent.submit();
  });
  for (const path of ["/events/in", "/events/out", "/logs/out"]) {
    results["websocket " + path] = await new Promise((resolve) => {
      const socket = new WebSocket(api.replace("http", "ws") + path, ["prefect"]);
      socket.onopen = () => { socket.close(); resolve("open"); };
      socket.onerror = () => resolve("refused");
    });
  }
  return results;
}
"""


@pytest.fixture(scope="module")
def foreign_port() -> Iterator[int]:
    """A web server of somebody else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *arguments: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def variables(platform: Platform, name: str) -> list[JSON]:
    return platform.api.post("variables/filter", {"variables": {"name": {"any_": [name]}}})


class Attempt:
    """What an attack brought that no change of the machine's network disturbed."""

    def __init__(self, browser: Browser, page_address: str, api: str, name: str) -> None:
        self.name, self.text = name, ""
        self.answer: Response | None = None
        self.results: dict[str, str] = {}
        page = browser.new_page()
        numbers = itertools.count()

        def attack() -> None:
            self.name = f"{name}_{next(numbers)}"  # what an earlier attempt wrote is no attempt's conflict
            self.answer = page.goto(page_address, timeout=PATIENCE_MILLISECONDS)
            self.text = self.answer.text() if self.answer else ""
            self.results = page.evaluate(ATTACK, [api, self.name])

        Visitor(page).undisturbed(attack)
        page.close()


@pytest.mark.parametrize("host", ["attacker.example", "localhost"])
@pytest.mark.parametrize("target", ["localhost", "127.0.0.1"])
def test_page_of_another_origin_can_neither_read_nor_change(
    platform: Platform, browser: Browser, foreign_port: int, host: str, target: str
) -> None:
    name = f"planted_{platform.kind}_{host}_{target}".replace(".", "_")
    api = f"http://{target}:{platform.port}/api"
    attempt = Attempt(browser, f"http://{host}:{foreign_port}/", api, name)
    results = attempt.results
    unseen = {results.pop(what) for what in list(results) if what.startswith("write unseen")}
    assert unseen <= {"sent", "refused"}
    assert set(results.values()) == {"refused"}, results
    assert variables(platform, attempt.name) == []


def test_rebound_host_name_is_answered_with_a_refusal(platform: Platform, browser: Browser) -> None:
    address = f"http://attacker.example:{platform.port}"
    attempt = Attempt(browser, f"{address}/deployments", f"{address}/api", f"planted_rebound_{platform.kind}")
    results = attempt.results
    assert attempt.answer
    assert attempt.answer.status == 403
    assert "PREFECT_ALLOWED_HOSTS" in attempt.text
    statuses = {what: result[:3] for what, result in results.items() if not what.startswith("websocket")}
    assert set(statuses.values()) == {"403"}, results
    assert {result for what, result in results.items() if what.startswith("websocket")} == {"refused"}
    assert variables(platform, attempt.name) == []


def test_own_page_can_do_all_of_it(platform: Platform, browser: Browser) -> None:
    """So that the attack above fails because of who makes it, not because it is badly made."""
    attempt = Attempt(
        browser, f"{platform.address}/deployments", f"{platform.address}/api", f"own_{platform.kind}"
    )
    results = attempt.results
    assert results["read"].startswith("200")
    assert results["read everything"].startswith("200")
    assert results["write"].startswith("201")
    assert {result for what, result in results.items() if what.startswith("websocket")} == {"open"}
    assert [variable["value"] for variable in variables(platform, attempt.name)] == ["planted"]
