"""Report on a GitHub repository with the tasks of prefect-github: stars, open issues, its latest release."""

import asyncio
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.error import HTTPError
from urllib.parse import urlsplit

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

if TYPE_CHECKING:
    from prefect_github import GitHubCredentials  # pyright: ignore[reportMissingTypeStubs]

API_URL = "https://api.github.com/graphql"
REQUEST_SECONDS = 30
WAITS_SECONDS = [2.0, 4.0, 8.0]  # before each retry
REPOSITORY_FIELDS = ("url", "description", "stargazer_count", "fork_count", "pushed_at", "is_private")
RELEASE_FIELDS = ("tag_name", "published_at", "url")


class GitHubError(RuntimeError):
    """GitHub did not answer the query; the message says what it did."""


class GitHubBusyError(GitHubError):
    """GitHub has trouble that may be temporary: it cannot be reached, limits the rate, or answers 5xx."""


class RepositoryReport(TypedDict):
    """The report on a repository; `latest_release` is None if there is none."""

    url: str
    description: str | None
    stars: int
    forks: int
    open_issues: int
    open_pull_requests: int
    pushed_at: str
    latest_release: str | None


@flow(name="report-repository", flow_run_name="{owner}/{name}", log_prints=True)
async def report_repository(
    owner: str = "PrefectHQ",
    name: str = "prefect",
    credentials_block_name: str = "github",
    api_url: str = API_URL,
) -> RepositoryReport:
    """Report on a GitHub repository, and show the report as an artifact.

    Args:
        owner: The user or organization whose repository it is.
        name: The repository's name.
        credentials_block_name: A GitHub Credentials block; GitHub requires a token.
        api_url: The GraphQL API; that of a GitHub Enterprise Server is https://HOST/api/graphql.

    Returns:
        The report.

    Raises:
        GitHubError: GitHub did not answer, even after three retries if the trouble may be temporary.
    """
    # Imported here because it is slow, and would slow down registering the flow as well.
    from prefect_github import repository as github  # pyright: ignore[reportMissingTypeStubs]

    _check_address(api_url)
    api = GitHubApi(await _load(credentials_block_name), credentials_block_name, api_url)
    ask = functools.partial(_ask, owner=owner, name=name, github_credentials=api)
    repository = await ask(github.query_repository, return_fields=REPOSITORY_FIELDS)
    issues = await ask(
        github.query_repository_issues, labels=None, states=["OPEN"], return_fields=["total_count"]
    )
    pull_requests = await ask(
        github.query_repository_pull_requests, labels=None, states=["OPEN"], return_fields=["total_count"]
    )
    release = await ask(github.query_repository_latest_release, return_fields=RELEASE_FIELDS)
    report = RepositoryReport(
        url=repository["url"],
        description=repository["description"],
        stars=repository["stargazerCount"],
        forks=repository["forkCount"],
        open_issues=issues["totalCount"],
        open_pull_requests=pull_requests["totalCount"],
        pushed_at=repository["pushedAt"],
        latest_release=release["tagName"] if release else None,
    )
    cells = {key.replace("_", " "): str(value).replace("|", "\\|") for key, value in report.items()}
    rows = "\n".join(f"| {key} | {value} |" for key, value in cells.items())
    await acreate_markdown_artifact(f"| {owner}/{name} | |\n| --- | --- |\n{rows}", key="repository-report")
    print(f"{owner}/{name}: {report['stars']} stars, {report['open_issues']} open issues")
    return report


class GitHubApi:
    """Gives the tasks of prefect-github a client for any GitHub; the block's own only knows github.com.

    Args:
        credentials: The block whose token is sent.
        block_name: Its name, for messages.
        url: The address of the GraphQL API.
    """

    def __init__(self, credentials: "GitHubCredentials", block_name: str, url: str) -> None:
        self._block_name = block_name
        self._client: Any = credentials.get_client()
        self._client.url, self._client.timeout = url, REQUEST_SECONDS

    def get_client(self) -> Callable[..., Any]:
        """Return the function that sends a query; the tasks call only this method."""
        return self._ask

    def _ask(self, *arguments: Any) -> Any:
        """Send a query, and return GitHub's answer.

        Raises:
            GitHubBusyError: A retry may help.
            GitHubError: A retry will not help.
        """
        url = self._client.url
        try:
            answer: dict[str, Any] = self._client(*arguments)
        except OSError as error:  # no connection, a certificate, a time-out
            raise GitHubBusyError(f"{url} cannot be reached: {error}.") from None
        errors = answer.get("errors")
        if not errors:
            return answer
        first: dict[str, Any] = errors[0]
        failure = first.get("exception") or answer.get("exception")
        status = failure.code if isinstance(failure, HTTPError) else 0
        said = str(first.get("message", first)).rstrip(".")
        if status == 401:
            raise GitHubError(
                f"{url} refuses the token in the GitHub Credentials block {self._block_name!r}; "
                "is it still valid?"
            )
        if status >= 500 or status in (403, 429) or first.get("type") == "RATE_LIMITED":
            raise GitHubBusyError(f"{url} answers: {said}.")
        raise GitHubError(f"{url} answers: {said}.")


async def _is_worth_another_try(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    return isinstance(await state.aresult(raise_on_failure=False), GitHubBusyError)


async def _ask(query: Task[..., Any], **arguments: Any) -> Any:
    patient = query.with_options(
        retries=len(WAITS_SECONDS),
        retry_delay_seconds=WAITS_SECONDS,
        retry_condition_fn=_is_worth_another_try,
    )
    return await patient(**arguments)


async def _load(block_name: str) -> "GitHubCredentials":
    from prefect_github import GitHubCredentials  # pyright: ignore[reportMissingTypeStubs]

    name = block_name.replace("_", "-")
    try:
        credentials = await GitHubCredentials.aload(name)
    except ValueError:
        raise GitHubError(
            f"There is no GitHub Credentials block {name!r}; set GITHUB_TOKEN in .env, or make it in the UI."
        ) from None
    if not credentials.token:
        raise GitHubError(f"The GitHub Credentials block {name!r} holds no token.")
    return credentials


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    is_near = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or not (parts.scheme == "https" or is_near):
        raise GitHubError(f"api_url is {url!r}; a token is sent to it, so give an https address.")


if __name__ == "__main__":
    asyncio.run(report_repository())
