"""`--only`: what is meant, and what is said about what is not there."""

# ruff: noqa: E501 - tables of whole sentences read best with a case on each line

import pytest

from yeedu_deployer.declared.prefect_yaml import load_file
from yeedu_deployer.declared.selection import Entry, Selection, read_selection
from yeedu_deployer.errors import SelectionError, SpecError

ENTRIES = (
    Entry("count-cars", "flows/parking/count_cars.py:count"),
    Entry("count-fees", "flows/parking/count_fees.py:count"),
    Entry("old-parking", "flows/parking_old.py:run"),
    Entry("print-message", "flows/print_message.py:print_message"),
)


def select(*wanted):
    return Selection(wanted, ENTRIES, "prefect.yaml")


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (["print-message"], {"print-message"}),
        (["count-*", "print-message"], {"count-cars", "count-fees", "print-message"}),
        (["flows/parking/"], {"count-cars", "count-fees"}),
        (["flows/"], {"count-cars", "count-fees", "old-parking", "print-message"}),
        (["parking/"], {"count-cars", "count-fees"}),
        (["parking/*"], {"count-cars", "count-fees"}),
        (["flows/parking/*_cars.py"], {"count-cars"}),
        (["count-car[s]"], {"count-cars"}),
        (["some-flow/print-message"], {"print-message"}),
        (["print-message-staging", "old-parking"], {"print-message", "old-parking"}),
    ],
)
def test_names_patterns_and_folders_are_found(wanted, names):
    assert select(*wanted).names("-staging") == names


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("print-mesage", "--only 'print-mesage' is no deployment of prefect.yaml; did you mean 'print-message'?"),
        ("say/print-mesage", "--only 'say/print-mesage' is no deployment of prefect.yaml; did you mean 'print-message'?"),
        ("zzz", "--only 'zzz' is no deployment of prefect.yaml; it has count-cars, count-fees, old-parking, print-message."),
        ("flows/parking", "--only 'flows/parking' is no deployment of prefect.yaml; for all in that folder: 'flows/parking/'."),
        ("parking", "--only 'parking' is no deployment of prefect.yaml; for all in that folder: 'parking/'."),
        ("flows/parkin/", "--only 'flows/parkin/': no entrypoint of prefect.yaml is in that folder; did you mean 'flows/parking/' or 'flows/'?"),
        ("a/b/c", "--only 'a/b/c' is no deployment of prefect.yaml; it has count-cars, count-fees, old-parking, print-message."),
    ],
)  # fmt: skip
def test_what_is_not_there_gets_a_sentence_with_the_nearest(wanted, sentence):
    with pytest.raises(SelectionError) as caught:
        select("print-message", wanted).names()
    assert str(caught.value) == sentence


def test_a_deployment_of_another_flow_is_left_out_once_flows_are_known():
    flows = {"count-cars": "cars", "count-fees": "fees"}
    assert select("cars/count-*").refused(flows) == {"count-fees"}
    assert select("cars/count-*", "count-fees").refused(flows) == frozenset()
    assert select("cars/count-*").refused({"count-fees": "fees"}) == {"count-fees"}, (
        "cars' code could not be read"
    )
    with pytest.raises(
        SelectionError,
        match=r"'lorries/count-\*' is no deployment of prefect.yaml; it has cars/count-cars, fees/count-fees",
    ):
        select("lorries/count-*").refused(flows)


def test_a_project_is_whole_whatever_its_flows_are_called():
    flows = {"count-cars": "cars", "count-fees": "fees"}
    assert select("parking/*").refused(flows) == frozenset()
    with pytest.raises(SelectionError, match=r"'parkin/\*' is no deployment of prefect.yaml; it has cars/"):
        select("parkin/*").refused({**flows, "old-parking": "old", "print-message": "print"})


PULL = """
pull: [{prefect.deployments.steps.git_clone: {repository: x}}]
deployments:
"""
FILE = (
    PULL
    + """
  - {name: one, entrypoint: "flows/one.py:run", work_pool: {name: p}, parameters: {url: "{{ $URL }}", count: 3}}
  - {name: two, entrypoint: "flows/two.py:run", work_pol: {name: p}, description: "{{ $OTHER }}"}
"""
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "prefect.yaml"
    path.write_text(FILE)
    return path


def test_only_what_is_chosen_needs_to_be_right_and_its_variables(file):
    assert read_selection(file, {}, ["one"]).names() == {"one"}
    (one,) = load_file(file, {"URL": "http://x"}, {"one"}).deployments
    assert one.says.parameters == {"url": "http://x", "count": 3}
    (error,) = load_file(file, {}, {"one"}).errors.values()
    assert isinstance(error, SpecError)
    assert len(error.problems) == 1
    assert "the environment variable URL is not set" in error.problems[0]


def test_a_parameter_whose_variable_is_not_set_can_be_left_to_the_server(file):
    (one,) = load_file(file, {}, {"one"}, keeps_unset=True).deployments
    assert (one.says.parameters, one.kept) == ({"count": 3}, {"url": ("URL",)})
