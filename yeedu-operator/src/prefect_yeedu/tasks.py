"""Ready-made tasks for a job and a notebook."""

from prefect import task

from prefect_yeedu.credentials import YeeduCredentials
from prefect_yeedu.flow_run.calls import YeeduCall, make_request
from prefect_yeedu.models import YeeduResult
from prefect_yeedu.urls import parse_url


@task(name="run-yeedu-job")
def run_yeedu_job(
    job_url: str,
    credentials: YeeduCredentials,
    arguments: str | None = None,
    conf: list[str] | None = None,
    timeout_seconds: float | None = None,
    cluster_ids: list[int] | None = None,
) -> YeeduResult:
    """Run a job on Yeedu and return its result.

    Args:
        job_url: The job's address, with the port of Yeedu's REST API.
        credentials: Who connects.
        arguments: Given to the program as one text; None leaves the definition's own.
        conf: Spark settings, each `key=value`.
        timeout_seconds: Budget after which the remote run is stopped; None waits for ever.
        cluster_ids: Clusters to try in order when resources run out on the definition's own.

    Raises:
        YeeduError: It did not succeed; the class says why, the text what to do.
    """
    return _run(job_url, credentials, arguments, conf, timeout_seconds, cluster_ids)


@task(name="run-yeedu-notebook")
def run_yeedu_notebook(
    notebook_url: str,
    credentials: YeeduCredentials,
    arguments: str | None = None,
    conf: list[str] | None = None,
    timeout_seconds: float | None = None,
    cluster_ids: list[int] | None = None,
) -> YeeduResult:
    """Run a notebook on Yeedu and return its result.

    Args:
        notebook_url: The notebook's address, with the port of Yeedu's REST API.
        credentials: Who connects.
        arguments: Given to the notebook as one text; None leaves the definition's own.
        conf: Spark settings, each `key=value`.
        timeout_seconds: Budget after which the remote run is stopped; None waits for ever.
        cluster_ids: Clusters to try in order when resources run out on the definition's own.

    Raises:
        YeeduError: It did not succeed; the class says why, the text what to do.
    """
    return _run(notebook_url, credentials, arguments, conf, timeout_seconds, cluster_ids)


def _run(
    address: str,
    credentials: YeeduCredentials,
    arguments: str | None,
    conf: list[str] | None,
    timeout_seconds: float | None,
    cluster_ids: list[int] | None,
) -> YeeduResult:
    request = make_request(
        arguments=arguments, conf=conf or (), timeout_seconds=timeout_seconds, cluster_ids=cluster_ids or ()
    )
    return YeeduCall(parse_url(address), request, credentials.access()).execute()
