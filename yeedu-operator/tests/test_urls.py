import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_yeedu import TENANT

from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.models import Generation, RunKind
from prefect_yeedu.urls import TargetKind, parse_url, run_page

PLACE = f"tenant/{TENANT}/workspace/7"


@pytest.mark.parametrize(
    ("path", "kind", "identifier", "generation"),
    [
        ("spark/conf/5", TargetKind.JOB, 5, Generation.V1),
        ("spark/conf/5/metrics?type=spark_job&page=1&limit=20", TargetKind.JOB, 5, Generation.V1),
        ("spark/conf/job/5", TargetKind.JOB, 5, Generation.V1B),
        ("spark/job/5", TargetKind.JOB, 5, Generation.V2),
        ("job/5", TargetKind.JOB, 5, Generation.V2),
        ("spark/notebook/5", TargetKind.NOTEBOOK, 5, None),
        ("notebook/5/", TargetKind.NOTEBOOK, 5, None),
        ("run/5/run-metrics?type=spark_job", TargetKind.RUN, 5, Generation.V2),
        ("spark/run/5/run-logs?log_type=stdout", TargetKind.RUN, 5, Generation.V2),
        ("spark/5/run-metrics?type=notebook", TargetKind.RUN, 5, Generation.V1),
    ],
)
def test_every_form_that_users_paste_is_understood(
    path: str, kind: TargetKind, identifier: int, generation: Generation | None
) -> None:
    url = parse_url(f"https://yeedu.example:8080/{PLACE}/{path}")
    assert (url.kind, url.id, url.generation) == (kind, identifier, generation)
    assert (url.tenant, url.workspace_id) == (TENANT, 7)
    assert url.base_url == "https://yeedu.example:8080/api/v1"


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("type=notebook", RunKind.NOTEBOOK),
        ("a=b&type=spark_job", RunKind.JOB),
        ("subtype=notebook", None),
        ("type=new", None),
        ("", None),
    ],
)
def test_a_runs_page_says_whether_it_is_a_job_or_a_notebook(query: str, kind: RunKind | None) -> None:
    assert parse_url(f"https://yeedu.example:8080/{PLACE}/run/5/run-metrics?{query}").run_kind is kind


@pytest.mark.parametrize(
    ("text", "base_url"),
    [
        (f"https://YEEDU.example/{PLACE}/job/5", "https://yeedu.example:8080/api/v1"),
        (f"http://[::1]:9/{PLACE}/job/5", "http://[::1]:9/api/v1"),
        (f"https://proxy.example:443/a/b/{PLACE}/job/5", "https://proxy.example:443/a/b/api/v1"),
        (f"https://me:pw@h:1/{PLACE}/job/5#x", "https://h:1/api/v1"),
        (f"  http://h:1/{PLACE}/job/5\n", "http://h:1/api/v1"),
        ("http://h:1/tenant/job/workspace/1/job/5", "http://h:1/api/v1"),
    ],
)
def test_host_port_and_prefix_are_taken_from_the_address(text: str, base_url: str) -> None:
    assert parse_url(text).base_url == base_url


def test_a_tenant_is_escaped_once_on_its_way_to_a_page() -> None:
    url = parse_url("http://h:8080/tenant/a%20b/workspace/7/job/5")
    assert url.tenant == "a b"
    page = run_page(url.base_url, url.tenant, 7, 9, RunKind.JOB, Generation.V2)
    assert page == "http://h:5173/tenant/a%20b/workspace/7/run/9/run-metrics?type=spark_job"


@pytest.mark.parametrize("path", ["healthCheck", "api/v1/healthCheck", "healthcheck/"])
def test_health_checks_need_no_tenant(path: str) -> None:
    url = parse_url(f"http://h:8080/{path}")
    assert url.kind is TargetKind.HEALTH
    assert url.base_url == "http://h:8080/api/v1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "h:8080/tenant/t/workspace/1/job/5",
        "ftp://h/tenant/t/workspace/1/job/5",
        "http:///tenant/t/workspace/1/job/5",
        "http://h:0/tenant/t/workspace/1/job/5",
        "http://h:99999/tenant/t/workspace/1/job/5",
        "http://h:8080/",
        "http://h:8080/tenant/t/workspace/1",
        "http://h:8080/tenant/t/workspace/one/job/5",
        "http://h:8080/tenant/t/workspace/1/notebook/",
        "http://h:8080/tenant/t/workspace/1/notebook/abc",
        "http://h:8080/tenant/t/workspace/1/spark/conf",
        "http://h:8080/tenant/t/workspace/1/spark/conf/metrics",
        "http://h:8080/tenant/t/workspace/1/job/0",
        "http://h:8080/tenant/t/workspace/1/job/" + "9" * 30,
        "http://[::1/tenant/t/workspace/1/job/5",
    ],
)
def test_other_texts_are_refused_with_the_expected_form(text: str) -> None:
    with pytest.raises(YeeduConfigurationError, match=r"empty|not a Yeedu URL") as caught:
        parse_url(text)
    assert "Expected https://HOST:PORT/tenant/" in str(caught.value)


def test_a_password_in_a_refused_address_is_not_shown() -> None:
    with pytest.raises(YeeduConfigurationError) as caught:
        parse_url("https://me:hunter22@h:8080/nothing?yeedu_session=topsecret#topsecret")
    assert "hunter22" not in str(caught.value)
    assert "topsecret" not in str(caught.value)


@given(st.text(max_size=80))
def test_any_text_is_understood_or_refused_in_words(text: str) -> None:
    for candidate in (text, f"http://{text}", f"http://h:1/tenant/{text}", f"http://h:1/{PLACE}/{text}"):
        with contextlib.suppress(YeeduConfigurationError):
            parse_url(candidate)


@pytest.mark.parametrize(
    ("origin", "generation", "ui_url", "link"),
    [
        ("http://h:8080", Generation.V2, None, f"http://h:5173/{PLACE}/run/9/run-metrics?type=spark_job"),
        ("https://h:8443", Generation.V2, None, f"https://h:5173/{PLACE}/run/9/run-metrics?type=spark_job"),
        ("https://h:443", Generation.V2, None, f"https://h:443/{PLACE}/run/9/run-metrics?type=spark_job"),
        ("http://h:8080", Generation.V1, None, f"http://h/{PLACE}/spark/9/run-metrics?type=spark_job"),
        (
            "http://yeedu-mock:8080",
            Generation.V2,
            "http://localhost:8088/",
            f"http://localhost:8088/{PLACE}/run/9/run-metrics?type=spark_job",
        ),
    ],
)
def test_run_links_follow_the_rules_of_each_generation(
    origin: str, generation: Generation, ui_url: str | None, link: str
) -> None:
    url = parse_url(f"{origin}/{PLACE}/job/5")
    page = run_page(url.base_url, url.tenant, url.workspace_id, 9, RunKind.JOB, generation, ui_url)
    assert page == link
