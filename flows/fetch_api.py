"""Fetch JSON from an HTTP API, and fetch it again only when the cached answer is too old."""

import json
import os
from datetime import timedelta
from typing import Annotated, Any, cast

import requests
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.blocks.system import Secret
from prefect.cache_policies import INPUTS, TASK_SOURCE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff
from pydantic import Field

# The mock Yeedu as its host sees it; a deployment gives the address that its worker sees.
SAMPLE_URL = "http://localhost:8088/healthCheck"
REQUEST_SECONDS = (10, 60)  # to connect, and between two pieces of the answer
LONGEST_ARTIFACT_CHARACTERS = 20_000


class ApiError(RuntimeError):
    """The API did not answer with JSON; the message says what it did."""


class ApiBusyError(ApiError):
    """The API has trouble that may be temporary: it cannot be reached, or answers 408, 429 or 5xx."""


@flow(name="fetch-api", flow_run_name="GET {url!s:.80}", log_prints=True)
def fetch_api(
    url: str = os.environ.get("YEEDU_HEALTH_URL") or SAMPLE_URL,
    headers_block_name: str | None = None,
    keep_minutes: Annotated[int, Field(ge=0, le=10_080)] = 10,
) -> Any:
    """Fetch JSON from an HTTP API, and show it as an artifact.

    Args:
        url: What to GET.
        headers_block_name: A Secret block with request headers, as JSON: {"Authorization": "Bearer ..."}.
        keep_minutes: How long the answer is cached for runs with the same url and block; 0 fetches it every
            time.

    Returns:
        The JSON.

    Raises:
        ApiError: The API did not answer with JSON, even after four retries if the trouble may be temporary.
    """
    kept = get_json.with_options(
        cache_expiration=timedelta(minutes=keep_minutes), refresh_cache=keep_minutes == 0
    )
    answer = kept(url, headers_block_name)
    text = json.dumps(answer, indent=2, ensure_ascii=False)
    shown = text[:LONGEST_ARTIFACT_CHARACTERS]
    create_markdown_artifact(f"`{url}`\n\n```json\n{shown}\n```", key="api-answer", description=url)
    print(f"{len(text)} characters of JSON from {url}")
    return answer


def _is_worth_another_try(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), ApiBusyError)


@task(
    name="get-json",
    retries=4,
    retry_delay_seconds=exponential_backoff(backoff_factor=1),
    retry_jitter_factor=0.5,
    retry_condition_fn=_is_worth_another_try,
    cache_policy=INPUTS + TASK_SOURCE,
    persist_result=True,
)
def get_json(url: str, headers_block_name: str | None) -> Any:
    """GET the address and return its JSON.

    Raises:
        ApiBusyError: A retry may help; the task retries after 1, 2, 4 and 8 seconds or a little more.
        ApiError: A retry will not help.
    """
    headers = _headers(headers_block_name) if headers_block_name else {}
    try:
        answer = requests.get(url, headers=headers, timeout=REQUEST_SECONDS)
    except (
        requests.exceptions.InvalidURL,
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidSchema,
    ):
        raise ApiError(f"{url!r} is no http address.") from None
    except requests.RequestException as error:
        raise ApiBusyError(f"{url} cannot be reached: {type(error).__name__}.") from None
    print(f"asked {url}: {answer.status_code} {answer.reason}")
    if answer.status_code >= 500 or answer.status_code in (408, 429):
        raise ApiBusyError(f"{url} answers {answer.status_code} {answer.reason}.")
    if not answer.ok:
        raise ApiError(f"{url} answers {answer.status_code} {answer.reason}.")
    try:
        return answer.json()
    except requests.exceptions.JSONDecodeError:
        kind = answer.headers.get("Content-Type", "of no declared type")
        raise ApiError(f"{url} answers with something that is not JSON ({kind}).") from None


def _headers(block_name: str) -> dict[str, str]:
    name = block_name.replace("_", "-")
    try:
        value: Any = cast("Secret[Any]", Secret.load(name)).get()
    except ValueError:
        raise ApiError(
            f"There is no Secret block {name!r}, which should hold the request's headers."
        ) from None
    headers = cast("dict[Any, Any]", value) if isinstance(value, dict) else {}
    if not headers or not all(isinstance(text, str) for pair in headers.items() for text in pair):
        raise ApiError(
            f'The Secret block {name!r} has to hold JSON such as {{"Authorization": "Bearer ..."}}.'
        )
    return cast("dict[str, str]", headers)


if __name__ == "__main__":
    fetch_api()
