"""What a page of somebody else, which a user's browser has open, tries on a server."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from playwright.sync_api import Browser, Response

from tests.browser.visits import PATIENCE_MILLISECONDS, Visitor
from tests.platforms import JSON, Platform

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


@contextmanager
def foreign_server() -> Iterator[int]:
    """Have a web server of somebody else; yields its port."""

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

    def __init__(
        self, browser: Browser, page_address: str, api: str, name: str, headers: dict[str, str] | None = None
    ) -> None:
        self.name, self.text = name, ""
        self.answer: Response | None = None
        self.results: dict[str, str] = {}
        page = browser.new_page(extra_http_headers=headers)
        numbers = itertools.count()

        def attack() -> None:
            self.name = f"{name}_{next(numbers)}"  # what an earlier attempt wrote is no attempt's conflict
            self.answer = page.goto(page_address, timeout=PATIENCE_MILLISECONDS)
            self.text = self.answer.text() if self.answer else ""
            self.results = page.evaluate(ATTACK, [api, self.name])

        Visitor(page).undisturbed(attack)
        page.close()
