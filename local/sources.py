"""What each local process is made of: changed, it is started anew."""

SOURCES = {
    "server": (
        "requirements/server.txt",
        "server/alert_failures.py",
        "server/alert_lanes.py",
        "server/bodies.py",
        "server/connections.py",
        "server/database_ping.py",
        "server/description.py",
        "server/guard.py",
        "server/health.py",
        "server/listeners.py",
        "server/login.py",
        "server/outage.py",
        "server/patches.py",
        "server/pulse.py",
        "server/serve.py",
        "server/sqlite_locks.py",
        "server/with_secrets.py",
        "worker/src/yeedu_worker/patching.py",
    ),
    "yeedu-mock": ("requirements/yeedu-mock.txt", "yeedu-mock/src"),
    "rescue": ("rescue/src", "server/with_secrets.py"),
    "worker": (
        "requirements/worker.txt",
        "worker/src",
        "yeedu-operator/src",
        "yeedu-operator/guide/src",
        "server/with_secrets.py",
    ),
}
