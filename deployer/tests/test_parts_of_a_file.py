"""A file whose deployments share a name, or of which one is wrong, against a server."""

from declared import HEAD, ONE, TWO

TWINS = HEAD + ONE.replace("name: one", "name: nightly") + TWO.replace("name: two", "name: nightly")


def keys(platform):
    flows = {flow.id: flow.name for flow in platform.client.read_flows()}
    return {f"{flows[one.flow_id]}/{one.name}" for one in platform.client.read_deployments()}


def test_two_flows_have_a_deployment_of_the_same_name(platform):
    assert platform.apply(TWINS).failures == []
    assert keys(platform) == {"one/nightly", "two/nightly"}
    assert not platform.apply(TWINS, plan=True).changes_planned

    only = platform.apply(TWINS.replace("[first]", "[second]"), only=["two/nightly"])
    assert [row.outcome.value for row in only.rows if row.kind == "deployment"] == ["unchanged"]
    assert platform.client.read_deployment_by_name("one/nightly").tags == ["first"]


def test_what_is_wrong_is_told_the_rest_is_applied_and_nothing_is_deleted(platform):
    platform.apply(HEAD + ONE + TWO)

    report = platform.apply(HEAD + ONE.replace("[first]", "[second]") + TWO.replace("work_pool", "wrk_pool"))

    assert platform.outcomes(report) == {"one": "changed", "two": "failed"}
    assert "the key 'wrk_pool' is unknown; did you mean 'work_pool'?" in str(report.failures)
    assert keys(platform) == {"one/one", "two/two"}
