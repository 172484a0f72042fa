"""What the probes share: the server, what was found out, and which API and runs there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contract.findings import code
from contract.routes import NEWER, Routes

if TYPE_CHECKING:
    from contract.findings import Findings
    from contract.server import Answer, JsonObject, Server
    from contract.settings import Settings

UNKNOWN_ID = 2_000_000_007
ENDED = frozenset({"DONE", "ERROR", "STOPPED", "TERMINATED", "KILLED"})
STATES = ENDED | {"SUBMITTED", "RUNNING", "STOPPING"}


@dataclass
class Scan:
    """One scan of a server, shared by all probes.

    Attributes:
        settings: What to ask.
        server: A session with it.
        findings: What was found out so far.
        routes: Where the API that it serves keeps jobs and notebooks.
        runs: Earlier runs of jobs and of notebooks, as lists show them.
        errors: Refusals that were seen.
    """

    settings: Settings
    server: Server
    findings: Findings
    routes: dict[str, Routes] = field(default_factory=lambda: dict(NEWER))
    runs: dict[str, list[JsonObject]] = field(default_factory=dict[str, "list[JsonObject]"])
    errors: list[Answer] = field(default_factory=list["Answer"])

    @property
    def is_newer(self) -> bool:
        """Whether the newer API is asked."""
        return self.routes["job"] is NEWER["job"]

    def list_runs(self, kind: str, **params: object) -> Answer:
        """Ask for a list of runs.

        Args:
            kind: `job` or `notebook`.
            params: The query, besides what makes it a list of runs in the older API.
        """
        routes = self.routes[kind]
        query = params if self.is_newer else {routes.state_field: sorted(STATES), **params}
        return self.server.workspace("GET", routes.runs, params=query)

    def read_run(self, kind: str, run_id: int) -> Answer:
        """Ask for a run."""
        return self.server.workspace("GET", self.routes[kind].run.format(run=run_id))

    def expect(self, key: str, answer: Answer, *statuses: int) -> bool:
        """Note whether an answer has one of these statuses, and return that."""
        is_so = answer.status in statuses
        self.findings.note(key, is_so, code(answer.fields.get("error_code")) if is_so else described(answer))
        return is_so

    def refused(self, answer: Answer) -> Answer:
        """Remember an answer that is to be an error."""
        if answer.status >= 400:
            self.errors.append(answer)
        return answer

    def ended(self, kind: str) -> list[JsonObject]:
        """Return the earlier runs of a kind that have ended."""
        return [run for run in self.runs.get(kind, []) if run.get(self.routes[kind].state_field) in ENDED]

    def definition_of(self, kind: str, run: JsonObject) -> int | None:
        """Return the job or notebook that a run shows it is of."""
        value = run.get(self.routes[kind].definition_field)
        return value if isinstance(value, int) else None


def described(answer: Answer) -> str:
    """Return an answer's status, and the code of its error if it has one."""
    return f"{answer.status} {code(answer.fields.get('error_code'))}".strip()
