"""The forms of an entrypoint, the surroundings that its import sees, and the check of parameters."""

# ruff: noqa: E501 - tables of whole sentences read best with a case on each line

import pytest

from yeedu_deployer.errors import FlowError
from yeedu_deployer.inspection.inspector import Wanted

HEAD = "from prefect import flow\n"
FLOW = HEAD + "@flow(log_prints=True)\ndef run(rows: int = 1): ...\n"


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


PACKAGE = {
    "acme/__init__.py": "",
    "acme/load.py": "from acme.names import NAME\n"
    + HEAD
    + "@flow(name=NAME)\ndef run(rows: int = 1): ...\n",
    "acme/names.py": "NAME = 'load'\n",
}


@pytest.mark.parametrize("entrypoint", ["acme.load.run", "acme.load:run", "acme/load.py:run"])
def test_a_module_is_found_in_the_working_directory(inspector, tmp_path, entrypoint):
    write(tmp_path / "inner", PACKAGE)
    (found,) = inspector.inspect(tmp_path, [Wanted(entrypoint, directory="inner")])
    assert (found.name, list(found.parameter_schema["properties"])) == ("load", ["rows"])


@pytest.mark.parametrize("entrypoint", ["acme.load.run", "acme.load:run"])
def test_a_module_that_lacks_a_package_is_read_from_its_source(inspector, tmp_path, entrypoint):
    write(tmp_path, PACKAGE | {"acme/load.py": "import missing_package\nfrom . import names\n" + FLOW})
    (found,) = inspector.inspect(tmp_path, [Wanted(entrypoint)])
    assert (found.name, len(found.notes)) == ("run", 1)
    assert "No module named 'missing_package' (acme/load.py, line 1)" in found.notes[0]


@pytest.mark.parametrize(
    ("entrypoint", "sentence"),
    [
        ("acme.none.run", "acme.none is not in the repository; push it, or write another 'entrypoint'."),
        ("none.load:run", "none.load is not in the repository; push it, or write another 'entrypoint'."),
        ("acme.load.none", "acme.load has no function 'none'; write one that it has."),
        ("acme.names.NAME", "'NAME' in acme.names is not a flow; decorate it with @flow."),
        ("acme/load.py:Job.run", "acme/load.py has no function 'Job.run'; write one that it has."),
    ],
)
def test_an_entrypoint_that_leads_nowhere_gets_one_sentence(inspector, tmp_path, entrypoint, sentence):
    write(tmp_path, PACKAGE)
    (found,) = inspector.inspect(tmp_path, [Wanted(entrypoint)])
    assert isinstance(found, FlowError)
    assert str(found) == sentence


@pytest.mark.parametrize(
    ("function", "code", "name"),
    [
        ("Job.run", "class Job:\n    @flow\n    def run(self, rows: int = 1): ...\n", "run"),
        ("Job.run", "class Job:\n    @staticmethod\n    @flow\n    def run(rows: int = 1): ...\n", "run"),
        ("Job.run", "class Job:\n    @flow\n    @staticmethod\n    def run(rows: int = 1): ...\n", "run"),
        ("Job.run", "class Job:\n    @classmethod\n    @flow\n    def run(cls, rows: int = 1): ...\n", "run"),
        ("run", "@flow\nasync def run(rows: int = 1): ...\n", "run"),
        ("run", "job = flow\n@job(name='other')\ndef run(rows: int = 1): ...\n", "other"),
        ("nightly", "@flow\ndef run(rows: int = 1): ...\nnightly = run.with_options(name='nightly')\n", "nightly"),
    ],
)  # fmt: skip
def test_every_kind_of_flow_is_described(inspector, tmp_path, function, code, name):
    write(tmp_path, {"one.py": HEAD + code})
    (found,) = inspector.inspect(tmp_path, [Wanted(f"one.py:{function}")])
    assert (found.name, list(found.parameter_schema["properties"]), found.notes) == (name, ["rows"], [])


def test_the_hash_of_another_file_is_no_version_either(inspector, tmp_path):
    write(tmp_path, {"acme/base.py": FLOW, "one.py": "from acme.base import run\n"})
    (found,) = inspector.inspect(tmp_path, [Wanted("one.py:run")])
    assert (found.name, found.version) == ("run", None)


def test_an_import_sees_the_variables_of_the_runs(inspector, tmp_path):
    write(tmp_path, {"src/acme/core.py": "WHERE = 'src'\n", "lib/tools.py": "WHERE = 'lib'\n"})
    code = "import os\nfrom acme.core import WHERE\nimport tools\n" + HEAD
    code += "@flow(name=os.environ['STAGE'] + WHERE + tools.WHERE)\ndef run(): ...\n"
    write(tmp_path, {"one.py": code})
    environment = {"STAGE": "test-", "PYTHONPATH": f"{tmp_path}/src:{tmp_path}/lib"}
    with_it, without = inspector.inspect(
        tmp_path, [Wanted("one.py:run", environment=environment), Wanted("one.py:run")]
    )
    assert (with_it.name, with_it.notes) == ("test-srclib", [])
    assert "No module named 'acme'" in str(without)


def test_a_relative_folder_of_imports_is_told_where_a_run_looks_for_it(inspector, tmp_path):
    write(tmp_path, {"src/acme.py": "", "one.py": FLOW, "two.py": f"import acme\n{FLOW}"})
    one, two = inspector.inspect(
        tmp_path, [Wanted(f"{name}.py:run", environment={"PYTHONPATH": "src"}) for name in ("one", "two")]
    )
    where = "PYTHONPATH has src, which a run takes from the folder where its process starts"
    assert [note.partition(", not")[0] for note in one.notes] == [where]
    source, folder = two.notes
    assert "No module named 'acme'" in source
    assert folder == one.notes[0]


def test_a_working_directory_that_is_not_there_is_named(inspector, tmp_path):
    (found,) = inspector.inspect(tmp_path, [Wanted("one.py:run", directory="none")])
    assert str(found) == "the working directory 'none' is not in the repository; write another."


def kind(name, **values):
    return {"__prefect_kind": name, **values}


TYPED = (
    HEAD
    + """
from typing import Optional
from pydantic import BaseModel
class Range(BaseModel):
    start: int
    end: int = 0
@flow
def run(rows: int = 1, names: Optional[list[str]] = None, span: Range = None, anything=None, mapping: dict = {}): ...
"""
)
FILLED_IN = (
    "the server fills in {!r} only with `enforce_parameter_schema: false`, and not in the runs of a schedule; "
    "write {{{{ prefect.variables.NAME }}}} for the value of a variable when this is applied"
)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"rows": kind("workspace_variable", variable_name="rows")}, FILLED_IN.format("rows")),
        ({"rows": kind("jinja", template="{{ 1 + 1 }}")}, FILLED_IN.format("rows")),
        ({"rows": kind("json", value="3")}, FILLED_IN.format("rows")),
        ({"names": ["a", kind("workspace_variable", variable_name="b")]}, FILLED_IN.format("names")),
        ({"span": {"start": kind("workspace_variable", variable_name="start"), "end": 3}}, FILLED_IN.format("span")),
        ({"anything": kind("workspace_variable", variable_name="rows")}, None),
        ({"mapping": kind("workspace_variable", variable_name="rows")}, None),
        ({"rows": kind("json", value='"three"')}, "parameter 'rows' is 'three', which is not of type 'integer'; write a value that fits"),
        ({"rows": kind("jinja", template="{{ 1 +")}, "parameter 'rows' does not fit: Invalid jinja: unexpected 'end of template'; write a value that fits"),
        ({"rows": "x", "names": [kind("workspace_variable", variable_name="b")]}, "parameter 'rows' is 'x', which is not of type 'integer'; write a value that fits"),
        ({"mapping": kind("json", value="3")}, "parameter 'mapping' is 3, which is not of type 'object'; write a value that fits"),
        ({"rwos": kind("workspace_variable", variable_name="rows")}, "the flow has no parameter 'rwos'; leave it out, or write one of anything, mapping, names, rows, span"),
    ],
)  # fmt: skip
def test_a_value_that_the_server_fills_in_is_checked_as_the_server_does_it(
    inspector, tmp_path, values, error
):
    write(tmp_path, {"one.py": TYPED})
    (found,) = inspector.inspect(tmp_path, [Wanted("one.py:run", (values,))])
    assert found.parameter_errors == [error]


def test_the_parameters_of_a_schedule_may_be_what_the_flow_converts(inspector, tmp_path):
    write(tmp_path, {"one.py": TYPED})
    sets = ({"rows": "3"}, {"rows": "3"}, {"rows": "x"}, {"rwos": 3})
    (found,) = inspector.inspect(tmp_path, [Wanted("one.py:run", sets)])
    own, converted, wrong, unknown = found.parameter_errors
    assert own == "parameter 'rows' is '3', which is not of type 'integer'; write a value that fits"
    assert converted is None
    assert wrong == "parameter 'rows' is 'x', which is not of type 'integer'; write a value that fits"
    assert (
        unknown
        == "the flow has no parameter 'rwos'; leave it out, or write one of anything, mapping, names, rows, span"
    )


FORMATS = (
    HEAD.replace("from prefect", "import datetime as dt\nfrom prefect")
    + """
@flow
def run(moment: dt.datetime | None = None, moments: list[dt.datetime] = [], format: str = "", day: dt.date = None): ...
"""
)


@pytest.mark.parametrize(
    ("values", "is_taken"),
    [
        ({"moment": "2024-01-31T12:30:00", "moments": ["2024-01-31 12:30"], "format": "csv"}, True),
        ({"moment": "2024-01-31T12:30:00", "day": "31.1.2024"}, False),
        ({"moment": "2024-01-31T12:30:00", "format": 5}, False),
        ({"moment": "noon"}, False),
        ({"moment": [5]}, False),
    ],
)
def test_a_time_without_a_zone_is_taken_as_the_server_and_the_flow_do(inspector, tmp_path, values, is_taken):
    write(tmp_path, {"one.py": FORMATS})
    (found,) = inspector.inspect(tmp_path, [Wanted("one.py:run", (values, values))])
    assert [error is None for error in found.parameter_errors] == [is_taken, is_taken]
