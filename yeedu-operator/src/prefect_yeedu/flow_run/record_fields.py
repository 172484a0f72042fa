"""The content of a remote run's artifact: fields for programs, and a text for people.

A field is a text of at most 500 characters; Prefect cuts longer ones. An exit value that is longer, or holds
characters that a database refuses, is kept in additional fields.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from prefect_yeedu.models import RunKind, RunState
from prefect_yeedu.runs.record import Phase, Record
from prefect_yeedu.wire.redaction import storable

if TYPE_CHECKING:
    from collections.abc import Mapping

    Fields = Mapping[str, str]

MAX_FIELD_CHARACTERS = 500
_PAUSE = "yeedu-record:"
BLOCK_FIELDS = (
    "connection_block_name",
    "login_password_block_name",
    "token_block_name",
    "credentials_block",
)
_WORDS = {
    Phase.INTENDED: "is being submitted",
    Phase.SUBMITTED: "was submitted",
    Phase.RUNNING: "is running",
    Phase.STOPPING: "was asked to stop",
}


@dataclass(frozen=True)
class Definition:
    """A job or notebook on one Yeedu.

    Attributes:
        base_url: Base of the REST API.
        tenant: The tenant.
        workspace_id: The workspace.
        kind: `job` or `notebook`.
        id: The job's or notebook's id.
    """

    base_url: str
    tenant: str
    workspace_id: int
    kind: str
    id: int

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"Yeedu {self.kind} {self.id}"

    @property
    def key(self) -> str:
        """The artifact key that all of its runs share, so that they form its history."""
        return f"yeedu-{self.kind}-{self.id}"

    def fields(self) -> dict[str, str]:
        """Return the fields that identify it."""
        return {
            "base_url": self.base_url,
            "tenant": self.tenant,
            "workspace": str(self.workspace_id),
            "kind": self.kind,
            "definition": str(self.id),
        }

    @classmethod
    def read(cls, fields: Fields) -> Definition | None:
        """Return the definition that fields name, or None if they name none."""
        workspace, identifier = fields.get("workspace", ""), fields.get("definition", "")
        base_url, tenant, kind = (fields.get(name, "") for name in ("base_url", "tenant", "kind"))
        if not (base_url and tenant and kind and workspace.isdigit() and identifier.isdigit()):
            return None
        return cls(base_url, tenant, int(workspace), kind, int(identifier))


def read_record(fields: Fields, *, is_new: bool = False) -> Record:
    """Return the record that fields hold."""
    run_id, state = fields.get("run_id", ""), fields.get("state", "")
    return Record(
        key=fields.get("key", ""),
        phase=Phase(fields.get("phase") or Phase.INTENDED),
        is_new=is_new,
        run_id=int(run_id) if run_id.isdigit() else None,
        url=fields.get("url", ""),
        state=RunState(state) if state else None,
        cells_done=fields.get("cells_done") == "true",
        exit_value=read_exit_value(fields),
        intended_at=float(fields.get("intended_at") or 0.0),
        is_unanswered=fields.get("unanswered") == "true",
        attempt=int(fields.get("attempt") or 1),
        is_notebook=fields.get("kind") == str(RunKind.NOTEBOOK),
        deferred_until=float(fields.get("deferred_until") or 0.0) or None,
    )


def pause_key(record: UUID | None) -> str:
    """Return a new key, which names the record, for a pause until the record's run has ended."""
    return f"{_PAUSE}{record}:{uuid4().hex[:8]}" if record is not None else ""


def record_of_pause(key: str | None) -> UUID | None:
    """Return the record that a pause's key names; None for any other pause."""
    try:
        return UUID(key.removeprefix(_PAUSE).partition(":")[0]) if key and key.startswith(_PAUSE) else None
    except ValueError:
        return None


def is_left(fields: Fields) -> bool:
    """Return whether fields are the record of a run, or of an intent, that was not seen to end."""
    phase = fields.get("phase", "")
    return phase not in {"", str(Phase.ENDED)} and bool(fields.get("run_id") or fields.get("intended_at"))


def exit_value_fields(value: str | None) -> dict[str, str]:
    """Return the fields of an exit value: its beginning, and if that is not all, all of it in pieces."""
    if value is None:
        return {}
    begin = storable(value)[:MAX_FIELD_CHARACTERS]
    if begin == value:
        return {"exit_value": value}
    text = json.dumps(value)  # only ASCII
    starts = range(0, len(text), MAX_FIELD_CHARACTERS)
    pieces = {f"exit_value_{n}": text[at : at + MAX_FIELD_CHARACTERS] for n, at in enumerate(starts, 1)}
    return {"exit_value": begin, **pieces}


def read_exit_value(fields: Fields) -> str | None:
    """Return the exit value that fields hold, or None if the notebook had none."""
    pieces: list[str] = []
    while (piece := fields.get(f"exit_value_{len(pieces) + 1}")) is not None:
        pieces.append(piece)
    return json.loads("".join(pieces)) if pieces else fields.get("exit_value")


def write_text(title: str, fields: Fields, *, flow_run_page: str = "", error: str = "") -> str:
    """Return a run's text for people: how far it has come, for how long, where to look, what went wrong.

    Args:
        title: The job's or notebook's title.
        fields: The fields of the record.
        flow_run_page: Address of the flow run in Prefect's user interface; empty for none.
        error: The flow run's error; empty for none.
    """
    record = read_record(fields)
    name = f"[run {record.run_id}]({record.url})" if record.run_id is not None else "a run"
    if record.phase is Phase.ENDED:
        words = "succeeded" if record.has_succeeded else f"ended in **{record.state}**"
    elif record.run_id is None and not record.intended_at:
        words = "was not started"
    else:
        words = _WORDS[record.phase]
    lines = [f"{title}: {name} {words}."]
    rows = {
        "State": str(record.state or record.phase),
        "Attempt": str(record.attempt),
        "Duration": f"{time.time() - record.intended_at:.1f} s" if record.phase is Phase.ENDED else "",
        "Deferred": _said(fields) if record.phase is not Phase.ENDED else "",
        "Workspace": f"{fields.get('workspace', '')} of tenant {fields.get('tenant', '')}",
        "Flow run": f"[open]({flow_run_page})" if flow_run_page else "",
    }
    lines += ["", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {text} |" for name, text in rows.items() if text]
    if error:
        lines += ["", "```", storable(error).replace("```", "'''")[:5000], "```"]
    return "\n".join(lines)


def _said(fields: Fields) -> str:
    """Return since when the flow run has been suspended for this run; empty if it is not."""
    since, until = fields.get("deferred_at"), fields.get("deferred_until")
    if not since:
        return ""
    end = f", until {_time(until)} at the latest" if until else ""
    return f"since {_time(since)}{end}: the flow run goes on when this run has ended"


def _time(seconds: str) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
