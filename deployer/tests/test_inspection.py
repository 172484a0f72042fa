"""What importing real files tells, and the one sentence for every way in which it fails."""

# ruff: noqa: E501 - tables of whole sentences read best with a case on each line

import os

import pytest

from yeedu_deployer.errors import FlowError
from yeedu_deployer.inspection.inspector import FlowInspector, Wanted

HEAD = "from prefect import flow\n"


def inspect(inspector, folder, content, function="run"):
    file = folder / "flows/one.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(content, encoding="utf-8")
    (found,) = inspector.inspect(folder, [Wanted(f"flows/one.py:{function}")])
    return found


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("def other(): ...", "flows/one.py has no function 'run'; write one that it has."),
        ("def run(): ...", "'run' in flows/one.py is not a flow; decorate it with @flow."),
        ("\nimport pandas_is_missing", "flows/one.py:run does not import: ModuleNotFoundError: No module named 'pandas_is_missing' (flows/one.py, line 2); if it is a package, add it to flows/requirements.txt, then `make lock` and `make up` (docs/packages.md)."),
        ("import flows.nothing", "flows/one.py:run does not import: ModuleNotFoundError: No module named 'flows.nothing' (flows/one.py, line 1); correct it and push again."),
        ("x = 1\ndef run(:", "flows/one.py:run does not import: SyntaxError: invalid syntax (flows/one.py, line 2); correct it and push again."),
        ("raise ValueError('bad\\nvalue.')", "flows/one.py:run does not import: ValueError: bad value (flows/one.py, line 1); correct it and push again."),
        ("import sys\nsys.exit(3)", "flows/one.py:run does not import: SystemExit: 3 (flows/one.py, line 2); correct it and push again."),
        ("import json\n\njson.loads('x')", "flows/one.py:run does not import: JSONDecodeError: Expecting value: line 1 column 1 (char 0) (flows/one.py, line 3); correct it and push again."),
        ("import os\nos._exit(0)", "flows/one.py:run ended the Python process while it was imported."),
    ],
)  # fmt: skip
def test_a_failing_import_gets_one_sentence(inspector, tmp_path, content, sentence):
    found = inspect(inspector, tmp_path, content)
    assert isinstance(found, FlowError)
    assert str(found) == sentence


def test_a_package_of_an_extra_is_told_by_the_extras_name(tmp_path):
    hidden = "import sys\nsys.modules['pandas'] = None\n"  # as if it were not installed
    with FlowInspector() as inspector:
        found = inspect(inspector, tmp_path, hidden + "import pandas.api\n")
    assert str(found).endswith(
        "; set WORKER_EXTRAS=etl in .env, or add it to flows/requirements.txt and `make lock`; then `make up` (docs/packages.md)."
    )


def test_an_error_in_a_helper_is_named_where_it_is(inspector, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/helper.py").write_text("\n\n1 / 0\n")
    found = inspect(inspector, tmp_path, "import shared.helper\n")
    assert str(found) == (
        "flows/one.py:run does not import: ZeroDivisionError: division by zero (shared/helper.py, line 3); correct it and push again."
    )


def test_a_missing_file_is_named(inspector, tmp_path):
    (found,) = inspector.inspect(tmp_path, [Wanted("flows/none.py:run")])
    assert str(found) == "flows/none.py is not in the repository; push it, or write another 'entrypoint'."


def test_a_flow_is_described(inspector, tmp_path):
    content = HEAD + '@flow(version="3")\ndef run(month: int, colour: str = "red"):\n    """Loads."""\n'
    found = inspect(inspector, tmp_path, content)
    assert (found.name, found.description, found.version) == ("run", "Loads.", "3")
    assert found.parameter_schema["required"] == ["month"]
    assert list(found.parameter_schema["properties"]) == ["month", "colour"]


def test_the_hash_of_a_file_is_no_version(inspector, tmp_path):
    assert inspect(inspector, tmp_path, HEAD + "@flow\ndef run(): ...\n").version is None


def test_parameters_are_checked_against_the_flow(inspector, tmp_path):
    inspect(inspector, tmp_path, HEAD + "@flow\ndef run(month: int, colour: str = 'red'): ...\n")
    sets = ({}, {"month": 1}, {"month": "x"}, {"moth": 1})
    (found,) = inspector.inspect(tmp_path, [Wanted("flows/one.py:run", sets)])
    assert found.parameter_errors == [
        None,
        None,
        "parameter 'month' is 'x', which is not of type 'integer'; write a value that fits",
        "the flow has no parameter 'moth'; leave it out, or write one of colour, month",
    ]


def test_flow_code_sees_no_secret_and_cannot_disturb_the_answer(tmp_path, monkeypatch):
    for name in ("PREFECT_API_AUTH_STRING", "YEEDU_PASSWORD_FILE", "FLOWS_GIT_TOKEN_FILE", "PREFECT_API_URL"):
        monkeypatch.setenv(name, "canary")
    content = HEAD + "import os\nprint('noise')\n@flow(description=str(dict(os.environ)))\ndef run(): ...\n"
    with FlowInspector() as inspector:
        found = inspect(inspector, tmp_path, content)
    assert "PREFECT_HOME" in found.description
    assert "canary" not in found.description


def test_one_entrypoint_cannot_spoil_another(inspector, tmp_path):
    (tmp_path / "a.py").write_text(
        "import builtins, json, os\njson.loads = builtins.print = None\nos.chdir('/')\nraise OSError\n"
    )
    (tmp_path / "b.py").write_text(HEAD + "@flow\ndef run(): ...\n")
    broken, good = inspector.inspect(tmp_path, [Wanted("a.py:run"), Wanted("b.py:run")])
    assert str(broken) == "a.py:run does not import: OSError (a.py, line 4); correct it and push again."
    assert good.name == "run"


def test_a_child_that_dies_gives_one_sentence(tmp_path):
    with (
        FlowInspector() as inspector,
        pytest.raises(FlowError, match="The process that imports the flows failed: "),
    ):
        inspector.inspect(tmp_path / "missing", [Wanted("a.py:run")])


READS_REQUESTS = """
import sys
was_there = "requests" in sys.modules
ran = []
sys.addaudithook(lambda event, arguments: event == "exec" and ran.append(arguments[0].co_filename))
import requests
"""


def test_a_flow_gets_what_many_flows_import_without_running_it_anew(inspector, tmp_path):
    found = inspect(
        inspector,
        tmp_path,
        f"{HEAD}{READS_REQUESTS}\n@flow(description=str([was_there, ran, requests.__name__]))\ndef run(): ...\n",
    )
    assert found.description == "[False, [], 'requests']"


def test_a_module_of_the_repository_comes_before_an_installed_one(inspector, tmp_path):
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/requests.py").write_text("OWN = 'own'\n")
    content = HEAD + "import requests\n@flow(description=requests.OWN)\ndef run(): ...\n"
    assert inspect(inspector, tmp_path, content).description == "own"


WAITS_FOR_THE_OTHER = """
import select
import os
from prefect import flow
for name in ("one", "two"):
    if name == {name!r}:
        os.write(os.open(name, os.O_RDWR), b"here")
    else:
        pipe = os.open(name, os.O_RDONLY)
        select.select([pipe], [], [], 30)[0] or 1 / 0
@flow
def run(): ...
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor imports one flow at a time")
def test_flows_are_imported_side_by_side(inspector, tmp_path):
    for name in ("one", "two"):
        os.mkfifo(tmp_path / name)
        (tmp_path / f"{name}.py").write_text(WAITS_FOR_THE_OTHER.format(name=name))
    found = inspector.inspect(tmp_path, [Wanted(f"{name}.py:run") for name in ("one", "two")])
    assert [getattr(one, "name", one) for one in found] == ["run", "run"]
