"""The command line: `deployer apply`, `deployer plan` and `deployer status`.

Exit codes: 0 done, or nothing to do; 1 something failed; 2 `plan` found something to do, or `status`
found that server and file differ.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from yeedu_deployer.config_dir import Options, declared_files, own_variables
from yeedu_deployer.errors import DeployerError, shown
from yeedu_deployer.inspection.inspector import FlowInspector
from yeedu_deployer.settings import API_KEY, AUTH_STRING, Configuration, adopt_logins
from yeedu_worker.printable import printable

if TYPE_CHECKING:
    from yeedu_deployer.declared.desired import Files

DONE, FAILED, CHANGES_PLANNED = 0, 1, 2
COMMANDS = {
    "apply": "bring the server to the desired state (the default)",
    "plan": "say what apply would do",
    "status": "compare the server's deployments with the file: drift, last and next run, workers",
}
VALUES = (
    (
        "--file",
        "PATH",
        "the desired state, or repo:PATH for a file of the flows' repository "
        "(default: $PREFECT_FILE, then prefect.yaml in $CONFIG_DIR or here)",
    ),
    ("--work-pools", "PATH", "the work pools (default: work-pools.yaml in $CONFIG_DIR or beside the file)"),
    ("--alerts", "PATH", "the automations (default: alerts.yaml in $CONFIG_DIR or beside the file)"),
    ("--environments", "PATH", "the environments (default: environments.yaml, likewise)"),
    ("--environment", "NAME", "an environment of environments.yaml"),
)
DEFAULT_TIMEOUT_SECONDS = 120.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the deployer and exit with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; print each failure as one sentence on standard error."""
    if not any(argument in (*COMMANDS, "-h", "--help") for argument in arguments):
        arguments = ["apply", *arguments]
    options = _parser().parse_args(arguments, Options())
    signal.signal(signal.SIGTERM, _stop)
    try:
        return _deploy(options)
    except DeployerError as error:
        for line in str(error).splitlines():
            print(f"error: {shown(line, _environment_secrets())}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("error: Interrupted; run the same command again to finish.", file=sys.stderr)
        return FAILED


def _deploy(options: Options) -> int:
    adopt_logins()
    configuration = Configuration.from_environment(os.environ)
    own = own_variables(os.environ)
    with (
        FlowInspector(own) as inspector,  # starts up in parallel with this process
        declared_files(options, os.environ, configuration) as files,
    ):
        return _deploy_with(inspector, files, options, configuration)


def _deploy_with(
    inspector: FlowInspector, files: "Files", options: Options, configuration: Configuration
) -> int:
    # Prefect reads its settings on import, so these imports have to follow `adopt_logins`.
    from yeedu_deployer.applied.apply import Deployer
    from yeedu_deployer.server import Lookup, open_client, wait_until_ready
    from yeedu_deployer.status import is_in_step, print_status

    deployments_only, plan_only = options.deployments_only, options.command != "apply"
    read = partial(
        files.read,
        os.environ,
        of_environment=options.environment,
        only=options.only or (),
        deployments_only=deployments_only,
    )
    read()  # report what is wrong for any server before waiting for one
    wait_until_ready(configuration.api_url, options.timeout)
    with open_client(configuration.api_url) as client:
        lookup = Lookup(client)
        desired = read(lookup=lookup)
        for note in desired.notes:
            print(f"note: {printable(note)}", file=sys.stderr)
        flags = {"plan_only": plan_only, "deployments_only": deployments_only}
        deployer = Deployer(client, configuration, os.environ, inspector, desired, **flags)
        report = deployer.report
        report.hide(lookup.secrets)
        if options.command == "status":
            rows = deployer.status()
            print_status(rows, report, as_json=options.json)
            is_different = not is_in_step(rows)
        else:
            deployer.run()
            deployer.note_missing_password()
            report.print(json_of=options.command if options.json else "")
            is_different = plan_only and report.changes_planned
    return FAILED if report.failures else CHANGES_PLANNED if is_different else DONE


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with one sentence and code 1, since 2 means that a plan found something to do."""
        self.exit(FAILED, f"error: {message}; see '{self.prog} --help'.\n")


def _parser() -> argparse.ArgumentParser:
    shared = _Parser(add_help=False)
    for option, metavar, what in VALUES:
        shared.add_argument(option, default="", metavar=metavar, help=what)
    shared.add_argument(
        "--only",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="nothing but these deployments: NAME, FLOW/NAME, a pattern of these, a project (mine/*), "
        "or a folder (flows/mine/)",
    )
    shared.add_argument(
        "--deployments-only", action="store_true", help="leave blocks, work pools and alerts as they are"
    )
    shared.add_argument(
        "--timeout",
        type=_seconds,
        default=DEFAULT_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help="how long to wait for the server (default: %(default)g)",
    )
    shared.add_argument("--json", action="store_true", help="print one JSON document instead of lines")
    parser = _Parser(
        prog="deployer", description="Registers the deployments of a prefect.yaml on a Prefect server."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, what in COMMANDS.items():
        commands.add_parser(name, parents=[shared], help=what, description=what.capitalize() + ".")
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def _environment_secrets() -> tuple[str, ...]:
    return tuple(value for name in (AUTH_STRING, API_KEY) if (value := os.environ.get(name)))


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
