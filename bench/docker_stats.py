"""Reads what a container has used so far, as counted by the Docker engine."""

import http.client
import json
import os
import socket

from bench.usage import Usage

_SOCKET = "/var/run/docker.sock"


class _EngineConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        address = os.environ.get("DOCKER_HOST", "").removeprefix("unix://") or _SOCKET
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(address)


def usage(container: str) -> Usage:
    """Return what a container's processes use; memory excludes file caches.

    From the Docker Engine API's ``/containers/{id}/stats``, for cgroup 1 and 2.
    """
    connection = _EngineConnection("docker")
    try:
        connection.request("GET", f"/containers/{container}/stats?stream=false&one-shot=true")
        answer = json.load(connection.getresponse())
    finally:
        connection.close()
    memory = answer["memory_stats"]["stats"]
    return Usage(
        answer["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
        memory["anon"] if "anon" in memory else memory["total_rss"],
    )
