"""Renders the compose project for `docker stack deploy`.

The result depends only on the output of `docker compose config` and on what the Swarm has.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.errors import CommandError
from local.stack.settings import KEPT, LEFT_OUT, REPLACED, SERVICES_LEFT_OUT

JSON = dict[str, Any]
HERE = "here"  # the value of a node's labels
CHECKOUT = "checkout"
_MIGRATION = "migrate"  # services that depend on it wait for it themselves, when told to
_LABELS = "yeedu-prefect."  # these show Compose what changed
_SECRETS_VOLUME = re.compile(r".+-secrets")
_SECRETS_ROOT = "/run/platform/"
_OF_A_TASK = "{{"  # in the name of a volume: each task has its own
_HOUR = 3600
_SHM = "/dev/shm"  # noqa: S108 - a container's own
_ALWAYS = {"always", "unless-stopped"}
_LOOPBACK = re.compile(r"127\.|::1$|localhost$")
_ANY_ADDRESS = {"", "0.0.0.0", "::"}  # noqa: S104 - Swarm publishes on every one
_OF_TMPFS = {"size", "mode"}
_OF_A_MOUNT = ("type", "source", "target", "read_only")
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True)
class StackContext:
    """What the Swarm has that the compose files do not name.

    Attributes:
        secrets: The name of each secret on the Swarm, by the file that services read it from, without
            ``/run/platform/``, or by its name in the compose files.
        images: The id of each image that is on this machine, by its name; none for images of a registry,
            which `docker stack deploy` looks up itself.
    """

    secrets: Mapping[str, str]
    images: Mapping[str, str]


def stack_of(model: JSON, context: StackContext) -> JSON:
    """Return the stack that a compose project renders to.

    Args:
        model: The output of `docker compose config --format json`, with the profiles chosen.
        context: What the Swarm has.

    Raises:
        CommandError: A service has a setting that would be lost.
    """
    stack: JSON = {"version": "3.12", "services": {}, "networks": {}, "volumes": {}, "secrets": {}}
    for name, service in sorted(model["services"].items()):
        if name not in SERVICES_LEFT_OUT:
            stack["services"][name] = _Rendered(name, service, model, context, stack).service()
    for name, network in sorted(model.get("networks", {}).items()):
        given: JSON = network or {}
        kept = {key: value for key, value in given.items() if value and key != "name"}
        stack["networks"][name] = {"driver": "overlay", **kept}
    return stack


def labels_of(stack: JSON) -> list[str]:
    """Return the node labels by which services are placed with their data and the checkout."""
    constraints = {
        constraint
        for service in stack["services"].values()
        for constraint in service["deploy"].get("placement", {}).get("constraints", [])
    }
    found = (re.fullmatch(rf"node\.labels\.(\S+) == {HERE}", constraint) for constraint in constraints)
    return sorted(match[1] for match in found if match)


class _Rendered:
    """One service while it is rendered."""

    def __init__(self, name: str, service: JSON, model: JSON, context: StackContext, stack: JSON) -> None:
        self._name, self._old, self._model, self._context = name, service, model, context
        self._stack = stack
        self._project: str = model["name"]
        self._new: JSON = {}
        self._mounts: list[JSON] = []
        self._places: set[str] = set()

    def service(self) -> JSON:
        """Render the service, and add what it needs to the stack."""
        for setting, value in self._old.items():
            if value is None or setting in LEFT_OUT:
                continue
            if setting in KEPT:
                self._new[setting] = value
            elif setting not in REPLACED:
                raise CommandError(
                    f"{setting} of {self._name} is nothing that `make stack` can render; leave it out on a "
                    "Swarm, with an overlay in COMPOSE_FILE"
                )
        self._environment()
        self._health()
        self._labels()
        self._secrets()
        self._volumes()
        self._memory()
        self._ports()
        if self._mounts:
            self._new["volumes"] = sorted(self._mounts, key=lambda mount: mount["target"])
        self._deploy()
        return dict(sorted(self._new.items()))

    def _environment(self) -> None:
        """Escape the values, which Swarm takes for templates, except those of deploy/swarm.yaml."""
        if _MIGRATION in self._old.get("depends_on", {}):
            self._new["environment"] = {**self._new["environment"], "SERVER_AWAITS_MIGRATION": "yes"}
        if environment := self._new.get("environment"):
            self._new["environment"] = {
                name: value if value is None or "{{.Task." in value else value.replace("{{", '{{"{{"}}')
                for name, value in sorted(environment.items())
            }

    def _health(self) -> None:
        if check := self._old.get("healthcheck"):
            interval = _seconds(check.get("interval", "30s"))
            self._new["healthcheck"] = {**check, "retries": max(1, round(_HOUR / interval))}

    def _labels(self) -> None:
        labels = {
            key: text for key, text in self._old.get("labels", {}).items() if not key.startswith(_LABELS)
        }
        image = self._context.images.get(self._new["image"])
        if image:  # a rebuilt image has the same name
            labels[f"{_LABELS}image"] = image
        if labels:
            self._new["labels"] = labels

    def _secrets(self) -> None:
        self._new["secrets"] = []
        for secret in self._old.get("secrets", []):
            target = secret.get("target") or f"/run/secrets/{secret['source']}"
            self._secret(secret["source"], target)

    def _secret(self, key: str, target: str) -> None:
        if key not in self._context.secrets:
            raise CommandError(f"{self._name} asks for the secret {key}, of which the Swarm has none")
        name = self._context.secrets[key]
        self._stack["secrets"][name] = {"external": True, "name": name}
        self._new["secrets"].append({"source": name, "target": target})

    def _volumes(self) -> None:
        for mount in self._old.get("volumes", []):
            source, target = mount.get("source", ""), mount["target"]
            if mount["type"] == "bind":
                self._places.add(CHECKOUT)
                self._mounts.append({key: mount[key] for key in _OF_A_MOUNT if mount.get(key)})
            elif _SECRETS_VOLUME.fullmatch(source) and target.startswith(_SECRETS_ROOT):
                folder = target.removeprefix(_SECRETS_ROOT)
                for key in sorted(self._context.secrets):
                    if key.startswith(f"{folder}/"):
                        self._secret(key, _SECRETS_ROOT + key)
            else:
                self._volume(source)
                self._mounts.append({key: mount[key] for key in _OF_A_MOUNT if mount.get(key)})
        if not self._new["secrets"]:
            del self._new["secrets"]

    def _volume(self, source: str) -> None:
        volume = dict(self._model["volumes"].get(source) or {})
        name = volume.get("name", "")
        if name in {"", f"{self._project}_{source}"}:
            name = f"{self._project}-stack_{source}"  # Compose may run a database on the other one
        if _OF_A_TASK not in name and volume.get("driver", "local") == "local":
            self._places.add(source)
        self._stack["volumes"][source] = {**volume, "name": name}

    def _memory(self) -> None:
        """Add mounts for what Compose keeps in memory: /dev/shm and each tmpfs."""
        if size := self._old.get("shm_size"):
            self._mounts.append({"type": "tmpfs", "target": _SHM, "tmpfs": {"size": _bytes(size)}})
        for line in self._old.get("tmpfs", []):
            target, _, text = line.partition(":")
            options = dict(option.partition("=")[::2] for option in text.split(",") if option)
            if not options.keys() - _OF_TMPFS:
                sizes: JSON = {"size": _bytes(options["size"])} if "size" in options else {}
                modes: JSON = {"mode": int(options["mode"], 8)} if "mode" in options else {}
                self._mounts.append({"type": "tmpfs", "target": target, "tmpfs": sizes | modes})
                continue
            self._mounts.append(
                {"type": "volume", "source": self._memory_volume(target, options), "target": target}
            )

    def _memory_volume(self, target: str, options: Mapping[str, str]) -> str:
        """Return a volume of memory, named after its options, since a volume's options never change."""
        usual = ["nosuid", "nodev", *([] if "exec" in options else ["noexec"])]
        given = [f"{key}={value}" if value else key for key, value in options.items()]
        if "mode" not in options:
            given.append("mode=1777")
        text = ",".join([*given, *usual])
        source = f"{self._name}{target.replace('/', '-')}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        self._stack["volumes"][source] = {
            "name": f"{self._project}_{source}-{digest}-{{{{.Task.Slot}}}}",
            "driver": "local",
            "driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": text},
        }
        return source

    def _ports(self) -> None:
        """Publish ports on the node: the mesh would hide whose guesses at its login the server counts."""
        published: list[JSON] = []
        for port in self._old.get("ports", []):
            address = port.get("host_ip", "").strip("[]")
            if _LOOPBACK.match(address) or not port.get("published"):
                continue
            if address not in _ANY_ADDRESS:
                raise CommandError(
                    f"{self._name} is published at {address}, and Swarm publishes at every address of a "
                    "node: set PREFECT_BIND_ADDRESS to 0.0.0.0, or to 127.0.0.1 to publish nothing"
                )
            published.append(
                {
                    "mode": "host",
                    "target": int(port["target"]),
                    "published": int(port["published"]),
                    "protocol": port.get("protocol", "tcp"),
                }
            )
        if published:
            self._new["ports"] = published

    def _deploy(self) -> None:
        deploy: JSON = {
            key: value for key, value in self._old.get("deploy", {}).items() if value not in ({}, None)
        }
        limits: JSON = {}
        if memory := self._old.get("mem_limit"):
            limits["memory"] = str(memory)
        if pids := self._old.get("pids_limit"):
            limits["pids"] = int(pids)
        resources = deploy.get("resources", {})
        if limits:
            deploy["resources"] = {**resources, "limits": {**limits, **resources.get("limits", {})}}
        restart = self._old.get("restart", "no")
        condition = (
            "any" if restart in _ALWAYS else "on-failure" if restart.startswith("on-failure") else "none"
        )
        deploy.setdefault(
            "restart_policy", {"condition": condition, **({"delay": "1s"} if condition != "none" else {})}
        )
        # Names resolve to tasks: a virtual address drops connections that are idle for 15 minutes.
        deploy.setdefault("endpoint_mode", "dnsrr")
        placement = deploy.get("placement", {})
        own = [f"node.labels.{self._project}.{place} == {HERE}" for place in sorted(self._places)]
        if constraints := [*placement.get("constraints", []), *own]:
            deploy["placement"] = {**placement, "constraints": constraints}
        self._new["deploy"] = deploy


def _seconds(text: str) -> float:
    """Return in seconds a duration that Compose prints, such as 1m30s."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "ns": 1e-9}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|us|ns|h|m|s)", text))


def _bytes(text: str) -> int:
    """Return in bytes a size that Compose accepts, such as 192m."""
    match = re.fullmatch(r"(\d+)([bkmg]?)b?", text.strip().lower())
    if not match:
        raise CommandError(f"{text!r} is not a size: write it as 512m or 2g")
    return int(match[1]) * _UNITS[match[2]]
