"""The options of a run, which are the same in the operator, the blocks, the tasks and the settings.

A call's own value comes first, then the setting `PREFECT_INTEGRATIONS_YEEDU_<NAME>` (an environment variable,
or `[integrations.yeedu]` in prefect.toml), then the default in `WaitOptions` or `RunRequest`.
"""

from __future__ import annotations

import os
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, TypedDict, cast

from prefect.settings.base import PrefectBaseSettings, build_settings_config
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from prefect_yeedu.arguments import Arguments, Conf, argument_text, conf_entries
from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.models import Generation
from prefect_yeedu.runs.record import Resume
from prefect_yeedu.runs.request import RunRequest, checked_conf
from prefect_yeedu.runs.wait_options import WaitOptions
from prefect_yeedu.wire.notebook_parameters import check_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from enum import StrEnum

    from pydantic import ValidationInfo

SETTING_PREFIX = "PREFECT_INTEGRATIONS_YEEDU_"


class OptionFields(BaseModel):
    """The options as fields; None stands for the setting or, without one, the default."""

    arguments: Arguments | None = Field(
        default=None,
        description="Given to the program instead of the definition's own: a text, a list of words, or a map "
        "whose entries become --name value.",
    )
    conf: Conf | None = Field(
        default=None,
        description="Spark settings: a list of key=value, or a map. The last one of a key counts.",
    )
    timeout_seconds: float | None = Field(
        default=None,
        description="Budget of the run, after which the remote run is stopped; none waits for ever.",
    )
    generation: Generation | None = Field(
        default=None, description="The server's API generation, where it is not to be found out."
    )
    ui_url: str | None = Field(
        default=None, description="Base of links into Yeedu's user interface, where it is not to be derived."
    )
    cluster_ids: list[int] | None = Field(
        default=None,
        description="Clusters to try in order when resources run out on the definition's own, to which it is "
        "bound again afterwards.",
    )
    saves_outputs: bool | None = Field(
        default=None, description="Whether the outputs of a notebook's cells are saved in Yeedu."
    )
    follows_logs: bool | None = Field(
        default=None, description="Whether a job's logs are read while it runs, and not only at its end."
    )
    outage_seconds: float | None = Field(
        default=None, description="How long Yeedu may be out of reach while a run goes on."
    )
    log_patience_seconds: float | None = Field(
        default=None,
        description="How long logs that cannot be fetched are asked for again after the end, both together.",
    )
    stop_seconds: float | None = Field(
        default=None, description="How long a run that was asked to stop is watched until it has."
    )
    kernel_seconds: float | None = Field(
        default=None, description="How long a notebook's kernel may take to be ready once its run is RUNNING."
    )
    max_poll_seconds: float | None = Field(
        default=None, description="Longest wait between two looks at a run."
    )
    resume: Resume | None = Field(
        default=None,
        description="What a retry does with the run of an earlier attempt: always, on_crash (the default) or "
        "never takes it over.",
    )
    deferrable: bool | None = Field(
        default=None,
        description="Whether a deployment's flow run is suspended while a job runs, and takes no process and "
        "no place on its worker.",
    )
    starts_cluster: bool | None = Field(
        default=None,
        description="Whether the definition's cluster is started when it does not run, and waited for.",
    )
    cluster_seconds: float | None = Field(
        default=None, description="How long a cluster that is started may take to run."
    )
    submit_seconds: float | None = Field(
        default=None,
        description="How long Yeedu may take to answer a submission, while it starts a cluster for instance.",
    )
    gone_seconds: float | None = Field(
        default=None,
        description="How long Yeedu has to say, five times at least, that it does not know a run.",
    )
    max_log_characters: int | None = Field(
        default=None, description="How much of each log's end a job's result keeps."
    )
    max_log_lines: int | None = Field(
        default=None, description="How many lines of a job or notebook are passed on to the run's log."
    )
    parameters: dict[str, Any] | None = Field(
        default=None, description="Variables that a cell of its own assigns in a notebook, before the others."
    )
    allow_errors: bool | None = Field(
        default=None, description="Whether a notebook goes on after a cell that failed."
    )
    cell_timeout_seconds: float | None = Field(
        default=None, description="How long a single cell of a notebook may take; none for ever."
    )
    max_output_characters: int | None = Field(
        default=None, description="How much of a notebook's outputs its result keeps."
    )
    max_cell_output_characters: int | None = Field(
        default=None, description="How much of one cell's outputs is kept."
    )
    max_cell_outputs: int | None = Field(default=None, description="How many outputs of one cell are kept.")

    @field_validator("conf", mode="before")
    @classmethod
    def _take_one_entry(cls, conf: object) -> object:
        return [conf] if isinstance(conf, str) else conf

    @field_validator("conf")
    @classmethod
    def _check_conf(cls, conf: Conf | None) -> Conf | None:
        checked_conf(conf_entries(conf))
        return conf

    @field_validator("arguments")
    @classmethod
    def _check_arguments(cls, arguments: Arguments | None) -> Arguments | None:
        argument_text(arguments)
        return arguments

    @field_validator("parameters")
    @classmethod
    def _check_parameters(cls, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        check_parameters(parameters or {})
        return parameters

    @field_validator("generation", mode="before")
    @classmethod
    def _check_generation(cls, text: object) -> object:
        return _word(text, Generation, "API generation")

    @field_validator("resume", mode="before")
    @classmethod
    def _check_resume(cls, text: object) -> object:
        return _word(text, Resume, "way to resume")

    @field_validator("cluster_ids")
    @classmethod
    def _check_clusters(cls, cluster_ids: list[int] | None) -> list[int] | None:
        if any(cluster <= 0 for cluster in cluster_ids or ()):
            raise YeeduConfigurationError(
                "cluster_ids holds a number that is not a cluster's id; correct it."
            )
        return cluster_ids

    @field_validator("*")
    @classmethod
    def _check_seconds(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.field_name or ""
        is_time = name.endswith("_seconds")
        if value is not None and (is_time or name.startswith("max_")) and not value > 0:
            least = "a time is more than 0 seconds" if is_time else "it is at least 1"
            raise YeeduConfigurationError(f"{name} is {value:g}, but {least}; leave it out for the default.")
        return value


class YeeduOptions(OptionFields):
    """The validated options of one call.

    Example:
        ```python
        from prefect_yeedu import YeeduOptions

        options = YeeduOptions(arguments={"day": "2026-01-31"}, timeout_seconds=3600)
        ```
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class YeeduSettings(PrefectBaseSettings, OptionFields):  # pyright: ignore[reportIncompatibleVariableOverride]
    """The options that the environment sets for every call of this process."""

    model_config = build_settings_config(("integrations", "yeedu")) | {"env_ignore_empty": True}


class OptionWords(TypedDict, total=False):
    """The options as keywords; see `YeeduOptions`."""

    arguments: Arguments | None
    conf: Sequence[str] | Mapping[str, object] | None
    timeout_seconds: float | None
    generation: str | None
    ui_url: str | None
    cluster_ids: Sequence[int] | None
    saves_outputs: bool | None
    follows_logs: bool | None
    outage_seconds: float | None
    log_patience_seconds: float | None
    stop_seconds: float | None
    kernel_seconds: float | None
    max_poll_seconds: float | None
    resume: str | None
    deferrable: bool | None
    starts_cluster: bool | None
    cluster_seconds: float | None
    submit_seconds: float | None
    gone_seconds: float | None
    max_log_characters: int | None
    max_log_lines: int | None
    parameters: Mapping[str, object] | None
    allow_errors: bool | None
    cell_timeout_seconds: float | None
    max_output_characters: int | None
    max_cell_output_characters: int | None
    max_cell_outputs: int | None


def make_request(words: Mapping[str, object] | OptionFields | None = None) -> RunRequest:
    """Return the request for a call's options, completed by the settings.

    Args:
        words: The options by name, or as a model; None for the settings alone.

    Raises:
        YeeduConfigurationError: An option or a setting cannot be used.
    """
    given = words if isinstance(words, OptionFields) else _checked(YeeduOptions, words or {})
    values = _values(_checked(YeeduSettings, {})) | _values(given)
    values.setdefault("ui_url", os.environ.get("YEEDU_UI_URL") or None)
    values["arguments"] = argument_text(values.get("arguments"))
    values["conf"] = checked_conf(conf_entries(values.get("conf")))
    values["cluster_ids"] = tuple(values.get("cluster_ids", ()))
    waits = {one.name: values.pop(one.name) for one in fields(WaitOptions) if one.name in values}
    return RunRequest(**values, options=WaitOptions(**waits))


def default_of(name: str) -> object:
    """Return the default of an option, for when neither a call nor a setting gives it."""
    for one in (*fields(WaitOptions), *fields(RunRequest)):
        if one.name == name:
            return one.default if one.default is not MISSING else None
    raise LookupError(name)


def _word(text: object, kind: type[StrEnum], what: str) -> object:
    """Return a member's value in lower case, or refuse the text."""
    word = text.strip().lower() if isinstance(text, str) else text
    if word is None or word in list(kind):
        return word
    raise YeeduConfigurationError(f"The {what} '{text}' is not known; it is one of {', '.join(kind)}.")


def _values(options: OptionFields) -> dict[str, Any]:
    """Return the options that were given, with mappings and lists unchanged."""
    return {
        name: value for name in OptionFields.model_fields if (value := getattr(options, name)) is not None
    }


def _checked(model: type[OptionFields], words: Mapping[str, object]) -> OptionFields:
    """Return the options as a model, or raise an error about the first invalid one."""
    try:
        return model(**{name: _plain(value) for name, value in words.items()})  # pyright: ignore[reportArgumentType]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
    name = str(first["loc"][0])
    named = f"{SETTING_PREFIX}{name.upper()}" if model is YeeduSettings else name
    if first["type"] == "extra_forbidden":
        raise YeeduConfigurationError(
            f"There is no option '{named}'; the options are {', '.join(OptionFields.model_fields)}."
        )
    # For a union pydantic reports the errors of each member, none of which is the one to show.
    reason = "it has none of the forms that it takes" if len(first["loc"]) > 1 else first["msg"]
    raise YeeduConfigurationError(f"The option {named} cannot be used: {reason}.")


def _plain(value: object) -> object:
    """Return a tuple as a list, which is what a model takes."""
    return [*cast("tuple[object, ...]", value)] if isinstance(value, tuple) else value
