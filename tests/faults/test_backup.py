"""Everything is lost but a backup."""

from pathlib import Path

import pytest

from tests.e2e import test_backup
from tests.faults.conftest import Row
from tests.faults.stack import Stack

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


@pytest.mark.fault(32)
def test_restored_platform_is_the_same(stack: Stack, row: Row, tmp_path: Path) -> None:
    row.injected = "backup, then every volume is deleted, then restore"
    test_backup.test_wiped_platform_is_restored_whole(stack, tmp_path)
    row.held.append("blocks decrypt, runs and deployments are back, a Yeedu run Completed, no tick twice")
