"""The options are the same everywhere, and come from the call, the settings, or the defaults."""

import inspect
import shlex
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_yeedu import YeeduConfigurationError, YeeduJob, YeeduNotebook, YeeduOptions, YeeduSettings
from prefect_yeedu.arguments import argument_text, conf_entries
from prefect_yeedu.models import Generation
from prefect_yeedu.options import OptionFields, OptionWords, default_of, make_request
from prefect_yeedu.runs.request import RunRequest
from prefect_yeedu.runs.wait_options import WaitOptions

NAMES = set(OptionFields.model_fields)


def test_every_option_is_a_keyword_a_setting_a_field_of_both_blocks_and_reaches_the_run() -> None:
    assert set(OptionWords.__annotations__) == NAMES
    for model in (YeeduOptions, YeeduSettings, YeeduJob, YeeduNotebook):
        assert set(model.model_fields) >= NAMES
    reached = {one.name for one in (*fields(WaitOptions), *fields(RunRequest))} - {"options"}
    assert reached == NAMES
    assert inspect.isclass(OptionWords)


def test_the_call_goes_before_the_setting_and_that_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PREFECT_INTEGRATIONS_YEEDU_OUTAGE_SECONDS", "60")
    monkeypatch.setenv("PREFECT_INTEGRATIONS_YEEDU_CLUSTER_IDS", "[30, 31]")
    monkeypatch.setenv("PREFECT_INTEGRATIONS_YEEDU_CONF", '{"spark.a": 1}')
    monkeypatch.setenv("PREFECT_INTEGRATIONS_YEEDU_GENERATION", "V1B")
    monkeypatch.setenv("PREFECT_INTEGRATIONS_YEEDU_TIMEOUT_SECONDS", "")
    request = make_request({"cluster_ids": (7,), "outage_seconds": None})
    assert request.options.outage_seconds == 60
    assert request.cluster_ids == (7,)
    assert request.conf == ("spark.a=1",)
    assert request.generation is Generation.V1B
    assert request.options.timeout_seconds is None
    assert request.options.kernel_seconds == WaitOptions().kernel_seconds


def test_a_file_of_prefect_s_settings_sets_them_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prefect.toml").write_text("[integrations.yeedu]\noutage_seconds = 90\n")
    monkeypatch.chdir(tmp_path)
    assert make_request().options.outage_seconds == 90


def test_without_any_all_is_as_the_defaults_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YEEDU_UI_URL", raising=False)
    assert make_request() == RunRequest()
    assert {name: default_of(name) for name in NAMES} == {
        one.name: None if one.default is MISSING else one.default
        for one in (*fields(WaitOptions), *fields(RunRequest))
        if one.name != "options"
    }


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (None, None),
        ("--day '1 May'", "--day '1 May'"),
        (["--day", "1 May"], "--day '1 May'"),
        ({"day": "1 May", "-v": True, "dry-run": False, "table": ["a", "b"], "none": None, "n": 3}, None),
    ],
)
def test_arguments_may_be_a_text_words_or_a_map(arguments: Any, text: str | None) -> None:
    made = make_request({"arguments": arguments}).arguments
    if isinstance(arguments, dict):
        text = "--day '1 May' -v --table a --table b --n 3"
    assert made == text


@given(st.dictionaries(st.from_regex(r"[a-z][a-z-]*", fullmatch=True), st.text(), max_size=5))
def test_a_program_gets_the_words_that_a_map_means(arguments: dict[str, Any]) -> None:
    words = shlex.split(argument_text(arguments) or "")
    assert words == [word for name, value in arguments.items() for word in (f"--{name}", value)]


def test_conf_may_be_a_list_or_a_map() -> None:
    assert conf_entries({"spark.a": True, "spark.b": 2}) == ["spark.a=true", "spark.b=2"]
    assert make_request({"conf": ["spark.a=1", "spark.a=2"]}).conf == ("spark.a=2",)
    assert make_request({"conf": "spark.a=1"}).conf == ("spark.a=1",)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"timeout": 5}, "There is no option 'timeout'; the options are arguments, conf, timeout_seconds"),
        ({"timeout_seconds": 0}, "timeout_seconds is 0, but a time is more than 0 seconds"),
        ({"outage_seconds": float("nan")}, "outage_seconds is nan"),
        ({"timeout_seconds": "soon"}, "The option timeout_seconds cannot be used"),
        ({"arguments": 5}, "The option arguments cannot be used: it has none of the forms"),
        ({"resume": "maybe"}, "'maybe' is not known; it is one of on_crash, always, never"),
        ({"max_log_lines": 0}, "max_log_lines is 0, but it is at least 1"),
        ({"parameters": {"not a name": 1}}, "not a name"),
        ({"generation": "v9"}, "'v9' is not known; it is one of v1, v1b, v2"),
        ({"cluster_ids": [0]}, "not a cluster's id"),
        ({"conf": {"a": ""}}, "not of the form key=value"),
    ],
)
def test_an_option_that_cannot_be_used_is_said_in_one_sentence(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(YeeduConfigurationError) as caught:
        make_request(words)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_setting_that_cannot_be_used_is_named_as_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_INTEGRATIONS_YEEDU_OUTAGE_SECONDS", "soon")
    with pytest.raises(YeeduConfigurationError, match="PREFECT_INTEGRATIONS_YEEDU_OUTAGE_SECONDS cannot be"):
        make_request()
