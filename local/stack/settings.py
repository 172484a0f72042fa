"""How each setting of a Compose service translates to a Swarm."""

# Settings that stay as Compose has them.
KEPT = frozenset(
    {
        *("cap_add", "cap_drop", "command", "dns", "entrypoint", "environment", "extra_hosts", "hostname"),
        *("image", "init", "logging", "networks", "read_only", "stop_grace_period", "stop_signal"),
        *("sysctls", "ulimits", "user", "working_dir"),
    }
)
# Settings that are expressed differently; see `render`.
REPLACED = {
    "deploy": "what it says goes before what the others below become",
    "healthcheck": "with `retries` for an hour: Swarm ends what is unhealthy, and Compose does not",
    "labels": "those by which Compose sees that a secret came or went are left out: its name tells here",
    "mem_limit": "`deploy.resources.limits.memory`",
    "pids_limit": "`deploy.resources.limits.pids`",
    "ports": "`mode: host`, on the node of the service; those on loopback are not published",
    "restart": "`deploy.restart_policy`",
    "secrets": "the Swarm's",
    "shm_size": "a tmpfs at /dev/shm",
    "tmpfs": "mounts of that type; with options that these have not (`exec`, `uid`), a volume of memory",
    "volumes": "those of secrets become the Swarm's; others, and the checkout, tie a service to its node",
}
# Settings without a counterpart on a Swarm, and what takes their place.
LEFT_OUT = {
    "build": "images are built, loaded or pulled before",
    "cpu_shares": "nothing: who is served first when the processor is short",
    "depends_on": "programs wait for one another, and Swarm starts what ended again",
    "extends": "Compose has put it in",
    "profiles": "COMPOSE_PROFILES chooses them",
    "pull_policy": "images are built, loaded or pulled before",
    "security_opt": '"no-new-privileges": true in /etc/docker/daemon.json of every node',
}
# Services that a Swarm does not need, and why.
SERVICES_LEFT_OUT = {
    "ready": "`make stack-up` waits until everything works",
    "secrets": "`make stack-up` makes the Swarm's secrets",
}
