"""One run that was started to look at it: until it runs, and until it has ended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contract.findings import word
from contract.scan import ENDED, described
from contract.server import SUBMISSION_SECONDS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from contract.scan import Scan
    from contract.server import Answer

OK, CREATED, CONFLICT = 200, 201, 409
POLL_SECONDS = 0.25
START_SECONDS = 600.0
END_SECONDS = 120.0
STOP_BUDGET_SECONDS = 20.0
VISIBLE_SECONDS = 60.0


@dataclass
class Started:
    """A run of a job or a notebook that was started here.

    Attributes:
        scan: The look that it belongs to.
        kind: `job` or `notebook`.
        run_id: Its id.
        submission: What the call that started it was answered with.
    """

    scan: Scan
    kind: str
    run_id: int
    submission: Answer

    @property
    def state(self) -> str:
        """Its state as it is now; not a word while it cannot be read."""
        return word(
            self.scan.read_run(self.kind, self.run_id).fields.get(self.scan.routes[self.kind].state_field)
        )

    def wait_for(self, states: Collection[str], seconds: float) -> str:
        """Return the first of these states that it has, or the one that it has when the time is up."""
        deadline = time.monotonic() + seconds
        while (state := self.state) not in states and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return state

    def stop(self, keys: Mapping[str, str]) -> None:
        """Stop it, look how it ends, and stop it once more.

        Args:
            keys: The assumptions about `stop`, `prompt`, `state` and `again`.
        """
        findings = self.scan.findings
        begun = time.monotonic()
        if (state := self.state) in ENDED:
            for name in ("stop", "prompt", "state"):
                findings.note(keys[name], None, f"it was {state} before")
        else:
            self.scan.expect(keys["stop"], self._ask_to_stop(), CREATED)
            state = self.wait_for(ENDED, END_SECONDS)
            seconds = time.monotonic() - begun
            if state not in ENDED:
                findings.note(keys["prompt"], False, f"{state} after {seconds:.0f} s")
                findings.notes.append(f"The {self.kind} run {self.run_id} is still {state}: look after it.")
                return
            findings.note(keys["prompt"], seconds <= STOP_BUDGET_SECONDS, f"{seconds:.1f} s")
            findings.note(keys["state"], state == "STOPPED", state)
        self.scan.expect(keys["again"], self._ask_to_stop(), CONFLICT)

    def make_sure_it_ends(self) -> None:
        """Stop it if it has not ended, and say so where that cannot be done."""
        if self.state in ENDED:
            return
        self._ask_to_stop()
        if (state := self.wait_for(ENDED, END_SECONDS)) not in ENDED:
            self.scan.findings.notes.append(f"The {self.kind} run {self.run_id} is {state}: stop it by hand.")

    def _ask_to_stop(self) -> Answer:
        path = self.scan.routes[self.kind].stop.format(run=self.run_id)
        return self.scan.server.workspace("POST", path)


def start(scan: Scan, kind: str, definition: int, key: str, conf: list[str]) -> Started | None:
    """Start a run and note whether that is answered with its id; None where it is not."""
    routes = scan.routes[kind]
    body: dict[str, object] = {routes.definition_field: definition}
    if conf:
        body["conf"] = conf
    if kind == "notebook" and scan.is_newer:
        body["is_background"] = True
    answer = scan.server.workspace("POST", routes.submit, body=body, read_seconds=SUBMISSION_SECONDS)
    run_id = answer.fields.get(routes.run_field)
    is_named = answer.status == OK and isinstance(run_id, int)
    scan.findings.note(key, is_named, f"{described(answer)}, {answer.seconds:.1f} s")
    return Started(scan, kind, run_id, answer) if is_named and isinstance(run_id, int) else None
