"""Every command that `yeedu-cli` has for jobs, notebooks, workspaces, clusters and users finds its route."""

import re

import pytest

from tests.conformance.cli_commands import GROUPS

pytestmark = [pytest.mark.long, pytest.mark.timeout(900, func_only=False)]

LEFT_OUT = {
    # The client lists these two, and then does not know them.
    "cluster": {"get-user-access", "get-group-access"},
    # For administrators: from outside directories, and what the rules of roles are.
    "iam": {
        *("sync-user", "sync-group", "list-resources", "get-resource", "list-permissions", "get-permission"),
        *("list-roles", "get-role", "list-rules", "get-rule"),
    },
}


def test_no_command_is_forgotten(cli_every_command):
    for group in GROUPS:
        typed = {command.split()[1] for command in cli_every_command.ended if command.startswith(f"{group} ")}
        assert typed == set(cli_every_command.known[group]) - LEFT_OUT.get(group, set()), group


def test_every_command_ends_with_0_after_calls_that_succeeded(cli_every_command, subtests):
    for command, ended in cli_every_command.ended.items():
        with subtests.test(command=command):
            calls = cli_every_command.calls[command]
            assert ended.exit_code == 0, ended.output
            assert calls
            assert all(re.search(r" 20[01]$", call) for call in calls), (calls, ended.output)
