"""Everything is lost but a backup: no data, no settings, another checkout."""

from pathlib import Path

import pytest

from tests.e2e import test_backup
from tests.faults.conftest import Row
from tests.faults.stack import Stack

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


@pytest.mark.fault(32)
def test_restored_platform_is_the_same(stack: Stack, row: Row, tmp_path: Path) -> None:
    row.injected = "backup, then restore onto a machine that has neither data nor settings"
    test_backup.test_emptied_machine_is_restored_with_the_settings_of_the_backup(stack, tmp_path)
    row.held.append("blocks decrypt, runs and deployments are back, a Yeedu run Completed, no tick twice")
