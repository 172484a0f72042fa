"""A ledger that outlives a call, as the record of a process that is gone does."""

from prefect_yeedu.runs.record import Ledger, Record


class KeptLedger(Ledger):
    """Keeps what is recorded in memory; may begin with what an earlier attempt has left."""

    def __init__(self, record: Record | None = None) -> None:
        self._record = record

    @property
    def record(self) -> Record:
        assert self._record is not None
        return self._record
