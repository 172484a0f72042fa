"""Drives peers that are a library: their own client, in its own process, triggers runs and waits for them."""

from typing_extensions import override

from bench.peers.peer import FLOWS, Peer, all_must_be
from bench.peers.running import Client


class Library(Peer):
    """A peer whose flows run in warm processes, and whose API is a Python module."""

    process_per_run = False
    client: Client

    def connect(self, environment: dict[str, str]) -> None:
        """Start the client process."""
        program = str(FLOWS / f"{self.key}_client.py")
        self.client = self.processes.client([str(self.installed() / "bin" / "python"), program], environment)

    @override
    def trigger(self, flow: str) -> str:
        return self.client.ask(trigger=flow)

    @override
    def wait(self, runs: list[str], timeout_seconds: float) -> list[float]:
        answer = self.client.ask(wait=[runs, timeout_seconds])
        if answer["ended"] is None:
            raise AssertionError(f"no end of {len(runs)} runs within {timeout_seconds:.0f} s")
        all_must_be("SUCCESS", answer["states"])
        return answer["ended"]
