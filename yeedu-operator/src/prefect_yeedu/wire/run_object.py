"""Reads a run from Yeedu's responses leniently: a field of an unexpected form counts as absent."""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WrapValidator
from pydantic.functional_validators import (
    ModelWrapValidatorHandler,  # noqa: TC002 - pydantic reads it when the class is made
)

from prefect_yeedu.models import RunState
from prefect_yeedu.wire.redaction import storable
from prefect_yeedu.wire.responses import JsonObject, number_of
from prefect_yeedu.wire.routes import Routes  # noqa: TC001 - as above

MAX_WORD_CHARACTERS = 60


def _or_none(value: Any, read: ModelWrapValidatorHandler[Any]) -> Any:
    try:
        return read(value)
    except ValidationError:
        return None


def _texts(value: object) -> object:
    """Return the entries of a list, a map or a text as texts, whatever their type."""
    if isinstance(value, dict):
        return [f"{key}={item}" for key, item in cast("dict[str, object]", value).items()]
    if isinstance(value, str):
        return [value] if value else None
    return [str(item) for item in cast("list[object]", value)] if isinstance(value, list) else value


def _no_truth(value: object) -> object:
    return None if isinstance(value, bool) else value


OrNone = WrapValidator(_or_none)
Text = Annotated[Annotated[str, Field(min_length=1)] | None, OrNone]


class RunSnapshot(BaseModel):
    """A run as Yeedu showed it at one moment.

    Attributes:
        run_id: The run's id; 0 if the answer does not name it.
        word: Its state in Yeedu's own word; empty if the answer has none.
        conf: The conf entries of its submission; None if Yeedu does not show them.
        created_by: Who started it.
        created_at: When it was started.
        end_time: When it ended.
        exit_code: The exit code of its program.
        fields: The whole answer.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)

    run_id: int
    word: str = ""
    conf: Annotated[tuple[str, ...] | None, OrNone, BeforeValidator(_texts)] = None
    created_by: Text = None
    created_at: Text = None
    end_time: Text = None
    exit_code: Annotated[int | None, OrNone, BeforeValidator(_no_truth)] = None
    fields: JsonObject = Field(default_factory=dict[str, Any])

    @classmethod
    def read(cls, answer: JsonObject, routes: Routes, run_id: int = 0) -> RunSnapshot:
        """Return the run that an answer shows.

        Args:
            answer: A run object.
            routes: Which fields hold the run's id and state in this generation.
            run_id: The run's id, if the answer does not name it.
        """
        word = answer.get(routes.state_field)
        return cls.model_validate(
            {
                **answer,
                "run_id": number_of(answer, routes.run_field) or run_id,
                "word": storable(word.strip())[:MAX_WORD_CHARACTERS] if isinstance(word, str) else "",
                "fields": answer,
            }
        )

    @property
    def state(self) -> RunState:
        """Its state; a word that this version does not know means ENDED if the run shows that it is over."""
        state = RunState(self.word or "UNKNOWN")
        if state is RunState.UNKNOWN and (self.end_time is not None or self.exit_code):
            return RunState.ENDED
        return state
