"""What a web page of somebody else can do to the platform through its user's browser: nothing."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser

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


@pytest.mark.parametrize("host", ["attacker.example", "localhost"])
@pytest.mark.parametrize("target", ["localhost", "127.0.0.1"])
def test_page_of_another_origin_can_neither_read_nor_change(
    platform: Platform, browser: Browser, foreign_port: int, host: str, target: str
) -> None:
    page = browser.new_page()
    page.goto(f"http://{host}:{foreign_port}/")
    name = f"planted_{platform.kind}_{host}_{target}".replace(".", "_")
    results = page.evaluate(ATTACK, [f"http://{target}:{platform.port}/api", name])
    page.close()
    unseen = {results.pop(what) for what in list(results) if what.startswith("write unseen")}
    assert unseen <= {"sent", "refused"}
    assert set(results.values()) == {"refused"}, results
    assert variables(platform, name) == []


def test_rebound_host_name_is_answered_with_a_refusal(platform: Platform, browser: Browser) -> None:
    page = browser.new_page()
    answer = page.goto(f"http://attacker.example:{platform.port}/deployments")
    assert answer
    assert answer.status == 403
    assert "PREFECT_ALLOWED_HOSTS" in answer.text()
    name = f"planted_rebound_{platform.kind}"
    results = page.evaluate(ATTACK, [f"http://attacker.example:{platform.port}/api", name])
    page.close()
    statuses = {what: result[:3] for what, result in results.items() if not what.startswith("websocket")}
    assert set(statuses.values()) == {"403"}, results
    assert {result for what, result in results.items() if what.startswith("websocket")} == {"refused"}
    assert variables(platform, name) == []


def test_own_page_can_do_all_of_it(platform: Platform, browser: Browser) -> None:
    """So that the attack above fails because of who makes it, not because it is badly made."""
    page = browser.new_page()
    page.goto(f"{platform.address}/deployments")
    name = f"own_{platform.kind}"
    results = page.evaluate(ATTACK, [f"{platform.address}/api", name])
    page.close()
    assert results["read"].startswith("200")
    assert results["read everything"].startswith("200")
    assert results["write"].startswith("201")
    assert {result for what, result in results.items() if what.startswith("websocket")} == {"open"}
    assert [variable["value"] for variable in variables(platform, name)] == ["planted"]
