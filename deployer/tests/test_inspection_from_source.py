"""Flows that cannot be imported here are read from their source, to the effect that `prefect deploy` has."""

# ruff: noqa: E501 - tables of whole sentences read best with a case on each line

import json
import subprocess
import sys

import pytest

from yeedu_deployer.errors import FlowError
from yeedu_deployer.inspection.inspector import Wanted

HEAD = "from prefect import flow\n"
PACKAGE = '''
import missing_package_one
from missing_package_two.frames import Frame
from prefect import flow

DEFAULT = 3


class Level(str):
    ...


@flow(name="load-rows", log_prints=True)
def run(table: str, frame: Frame = None, rows: int = DEFAULT, unit=missing_package_one.UNIT):
    """Loads rows.

    Args:
        table: Where to.
    """
'''
# What each fails for is on a worker, in a run's environment, or on the server.
READ = {
    "package.py:run": PACKAGE,
    "coroutine.py:run": "import missing_package\n" + HEAD + "@flow\nasync def run(day: str = 'today'): ...\n",
    "renamed.py:run": "import missing_package\nfrom prefect import flow as prefect_flow\n@prefect_flow(name='own')\ndef run(a: int): ...\n",
    "method.py:Job.run": "import missing_package\n" + HEAD + "class Job:\n    @staticmethod\n    @flow(name='job')\n    def run(a: int): ...\n",
    "variable.py:run": "import os\n" + HEAD + "STAGE = os.environ['NOT_SET_HERE']\n@flow\ndef run(a: int = 1): ...\n",
    "block.py:run": "from prefect.blocks.system import Secret\n" + HEAD + "KEY = Secret.load('key').get()\n@flow\ndef run(a: int = 1): ...\n",
    "raises.py:run": HEAD + "@flow\ndef run(a: int = 1): ...\nraise ConnectionError('no route')\n",
    "part.py:run": "from json import no_such_name\n" + HEAD + "@flow\ndef run(a: no_such_name, b: int = 2): ...\n",
}  # fmt: skip
STOCK = """
import json, sys
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
found = {}
for entrypoint in sys.argv[1:]:
    flow = load_flow_from_entrypoint(entrypoint)
    found[entrypoint] = [flow.name, flow.description, parameter_schema(flow).model_dump_for_openapi()]
print(json.dumps(found))
"""


def inspect(inspector, folder, content, function="run", **more):
    (folder / "flows").mkdir(exist_ok=True)
    (folder / "flows/one.py").write_text(content, encoding="utf-8")
    (found,) = inspector.inspect(folder, [Wanted(f"flows/one.py:{function}", **more)])
    return found


def test_what_is_read_from_the_source_is_what_stock_registers(inspector, tmp_path):
    for entrypoint, content in READ.items():
        (tmp_path / entrypoint.partition(":")[0]).write_text(content, encoding="utf-8")
    home = {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_SERVER_EPHEMERAL_ENABLED": "false"}
    stock = subprocess.run(
        [sys.executable, "-P", "-c", STOCK, *READ],
        cwd=tmp_path,
        env=home,
        capture_output=True,
        text=True,
        check=True,
    )

    found = inspector.inspect(tmp_path, [Wanted(entrypoint) for entrypoint in READ])

    ours = {
        entrypoint: [facts.name, facts.description, facts.parameter_schema]
        for entrypoint, facts in zip(READ, found, strict=True)
    }
    assert ours == json.loads(stock.stdout)
    assert [(len(facts.notes), facts.version) for facts in found] == [(1, None)] * len(READ)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("import humanize_missing", "ModuleNotFoundError: No module named 'humanize_missing' (flows/one.py, line 1); if it is a package, add it to flows/requirements.txt, then `make lock` and `make up` (docs/packages.md)"),
        ("import os\nos.environ['NOT_SET_HERE']", "KeyError: 'NOT_SET_HERE' (flows/one.py, line 2); if its runs get this variable, name it in the deployment's `job_variables.env`"),
        ("from prefect.blocks.system import Secret\nSecret.load('key')", "it asks the Prefect server for something when it is imported (flows/one.py, line 2)"),
        ("import sys\nsys.exit('no')", "SystemExit: no (flows/one.py, line 2)"),
    ],
)  # fmt: skip
def test_a_note_says_why(inspector, tmp_path, content, note):
    found = inspect(inspector, tmp_path, f"{content}\n{HEAD}@flow\ndef run(rows: int = 1): ...\n")
    assert found.notes == [f"parameters were read from the source, since it does not import here: {note}"]
    assert found.parameter_schema["properties"]["rows"]["type"] == "integer"


def test_a_module_of_the_repository_may_need_what_only_a_worker_has(inspector, tmp_path):
    (tmp_path / "settings.py").write_text("import os\nSTAGE = os.environ['NOT_SET_HERE']\n")
    found = inspect(inspector, tmp_path, f"from settings import STAGE\n{HEAD}@flow\ndef run(): ...\n")
    assert found.notes[0].partition(": ")[2].startswith("KeyError: 'NOT_SET_HERE' (settings.py, line 2)")


def test_a_flow_made_by_with_options_is_read_too(inspector, tmp_path):
    content = (
        f"{HEAD}import missing_package\n@flow\ndef base(a: int): ...\nrun = base.with_options(name='other')\n"
    )
    found = inspect(inspector, tmp_path, content)
    assert (found.name, list(found.parameter_schema["properties"])) == ("other", ["a"])


FLOW = HEAD + "@flow\ndef run(): ...\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (f"{FLOW}def other(:", "flows/one.py:run does not import: SyntaxError: invalid syntax (flows/one.py, line 4); correct it and push again."),
        (f"import shared.broken\n{FLOW}", "flows/one.py:run does not import: SyntaxError: invalid syntax (shared/broken.py, line 1); correct it and push again."),
        (f"import shared.nothing\n{FLOW}", "flows/one.py:run does not import: ModuleNotFoundError: No module named 'shared.nothing' (flows/one.py, line 1); correct it and push again."),
        (f"from .nothing import x\n{FLOW}", "flows/one.py:run does not import: ModuleNotFoundError: No module named 'one.nothing' (flows/one.py, line 1); correct it and push again."),
        (f"from shared.good import nothing\n{FLOW}", "flows/one.py:run does not import: ImportError: cannot import name 'nothing' from 'shared.good' (shared/good.py) (flows/one.py, line 1); correct it and push again."),
        (f"import missing_package\n{HEAD}@flow\ndef other(): ...\n", "flows/one.py:run does not import: ModuleNotFoundError: No module named 'missing_package' (flows/one.py, line 1); if it is a package, add it to flows/requirements.txt, then `make lock` and `make up` (docs/packages.md)."),
        ("import missing_package\ndef run(): ...\n", "'run' in flows/one.py is not a flow; decorate it with @flow."),
    ],
)  # fmt: skip
def test_what_no_worker_can_import_stays_an_error(inspector, tmp_path, content, sentence):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/broken.py").write_text("def f(:")
    (tmp_path / "shared/good.py").write_text("")
    found = inspect(inspector, tmp_path, content)
    assert isinstance(found, FlowError)
    assert str(found) == sentence


def test_a_folder_of_other_files_is_not_the_package_of_its_name(inspector, tmp_path):
    (tmp_path / "dbt_missing").mkdir()
    (tmp_path / "dbt_missing/model.sql").write_text("select 1")
    assert inspect(inspector, tmp_path, f"import dbt_missing.cli\n{FLOW}").notes
