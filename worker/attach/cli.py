"""The commands: ``attach check``, ``run``, ``install``, ``status`` and ``detach``.

Exit codes: 0, all is well; 1, something is wrong, which one sentence says.
"""

import argparse
import dataclasses
import getpass
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from attach import folder, service
from attach.attachment import Attachment, kept_login, resolve
from attach.checks import WRONG, check_all
from attach.environment import make_environment
from attach.errors import AttachError
from attach.options import parse
from attach.paths import Paths
from attach.platform_version import platform_version
from attach.process import login_variables, worker_command, worker_environment
from attach.run_lock import held, holder, is_held
from attach.settings import checked_api_key, checked_auth_string, load
from attach.stopping import stop
from attach.supervisor import Supervisor, stop_on_signals
from yeedu_worker.git.addresses import without_login

LOCK = folder.CHECKOUT / "requirements" / "worker.txt"


def main() -> None:
    """Run the command given on the command line and exit with its code."""
    options = parse(sys.argv[1:])
    try:
        sys.exit(run(options))
    except AttachError as error:
        sys.exit(f"attach: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def run(options: argparse.Namespace) -> int:
    """Run one command and return its exit code.

    Raises:
        AttachError: The command cannot continue.
    """
    if options.command == "serve":
        return _serve(Paths(Path(options.folder)))
    attachment = resolve(options)
    if options.command == "status":
        return _status(attachment)
    if options.command == "detach":
        return _detach(attachment, forget=options.forget)
    if is_held(Path(attachment.paths.lock)) and options.command == "run":
        raise AttachError(f"worker {attachment.settings.name} already runs here; `attach status` says how")
    attachment = _with_login(attachment)
    is_fine = _check(attachment)
    if options.command == "check":
        return 0 if is_fine else 1
    if not is_fine and not options.anyway:
        raise AttachError("fix what is WRONG above, or give --anyway")
    if options.command == "install":
        return _install(attachment, options, is_fine=is_fine)
    _prepare(attachment, options.wheels, is_fine=is_fine)
    _serve(attachment.paths)
    return _detach(attachment, forget=True) if options.temporary else 0


def _check(attachment: Attachment) -> bool:
    """Print one line per check; return whether none of them is wrong."""
    settings = attachment.settings
    environment = worker_environment(settings, attachment.paths, os.environ, 0)
    is_fine = True
    for finding in check_all(settings, attachment.server, LOCK, environment):
        is_fine = is_fine and finding.status != WRONG
        print(f"{finding.status:<5}  {finding.check:<8} {finding.text}", flush=True)
    return is_fine


def _with_login(attachment: Attachment) -> Attachment:
    """Ask on the terminal for the server's login or API key, if it needs one and none was given."""
    if (
        attachment.auth_string
        or attachment.api_key
        or not sys.stdin.isatty()
        or not attachment.server.needs_login()
    ):
        return attachment
    asked = f"Login of {attachment.settings.server} (user:password), or its API key: "
    value = getpass.getpass(asked).strip()
    if ":" in value:
        return dataclasses.replace(attachment, auth_string=checked_auth_string(value, "the login"))
    return dataclasses.replace(attachment, api_key=checked_api_key(value, "the answer"))


def _prepare(attachment: Attachment, wheels: str | None, *, is_fine: bool) -> None:
    """Create folder, environment and queues, and save how the worker is attached."""
    paths = attachment.paths
    if is_fine:  # else the server may not even answer
        settings = attachment.settings
        attachment.server.make_queues(settings.pool, settings.queues)
        attachment.server.tell_platform(settings.pool, settings.name, platform_version(folder.CHECKOUT))
    folder.make_home(paths)
    attachment.remember()
    folder.fill_home(paths)
    if not attachment.settings.environment:
        source = Path(wheels).absolute() if wheels else None
        extras, config_dir = attachment.settings.extras, attachment.settings.config_dir
        make_environment(folder.CHECKOUT, Path(paths.environment), source, extras, _say, config_dir)


def _serve(paths: Paths) -> int:
    """Run the worker in the foreground until it is asked to stop."""
    settings = load(Path(paths.settings))
    if settings is None:
        raise AttachError(f"no worker is attached in {paths.home}")
    auth_string, api_key = kept_login(paths)

    def environment() -> Mapping[str, str]:
        variables = worker_environment(settings, paths, os.environ, _free_port())
        return {**login_variables(settings, auth_string, api_key), **variables}

    with held(Path(paths.lock), os.getpid()):
        supervisor = Supervisor(
            worker_command(settings, paths),
            environment,
            Path(paths.home),
            Path(paths.log),
            Path(paths.stop_request),
            settings.grace_seconds,
        )
        stop_on_signals(supervisor)
        supervisor.run()
    return 0


def _install(attachment: Attachment, options: argparse.Namespace, *, is_fine: bool) -> int:
    """Install the worker as a service, wait until the server sees it, and say so."""
    before = attachment.settings
    settings = dataclasses.replace(before, scope=options.scope or before.scope or "user")
    attachment = dataclasses.replace(attachment, settings=settings)
    run_as = options.run_as or os.environ.get("SUDO_USER") or ""
    service.check_possible(settings, run_as)
    if before.scope and before.scope != settings.scope:
        raise AttachError(f"it is a {before.scope} service already; `attach detach` first")
    if is_held(Path(attachment.paths.lock)):
        if before.scope:
            service.unregister(before)
        stop(attachment.paths, before.grace_seconds, _say)
    _prepare(attachment, options.wheels, is_fine=is_fine)
    folder.copy_program(attachment.paths)
    service.register(settings, attachment.paths, run_as)
    _say(f"service: {service.state(settings)}")
    deadline = time.monotonic() + 60
    while not _is_online(attachment):
        if time.monotonic() > deadline:
            raise AttachError(f"the server did not see the worker in 60 s; its log: {attachment.paths.log}")
        time.sleep(1)
    _say(f"worker {settings.name} polls {settings.polled}")
    return 0


def _is_online(attachment: Attachment) -> bool:
    record = attachment.server.worker(attachment.settings.pool, attachment.settings.name)
    return bool(record) and record["status"] == "ONLINE"


def _status(attachment: Attachment) -> int:
    """Print the worker's status; return 0 if it runs and the server sees it online."""
    settings, paths = attachment.settings, attachment.paths
    if not attachment.was_attached:
        raise AttachError(f"no worker is attached in {paths.home}")
    runs = is_held(Path(paths.lock))
    print(f"worker   {settings.name} of {settings.polled} on {settings.server}")
    print(f"folder   {paths.home}")
    print(f"flows    {without_login(settings.flows_git_url)}")
    print(f"service  {f'{settings.scope}, {service.state(settings)}' if settings.scope else 'none'}")
    print(f"process  {f'{holder(Path(paths.lock))}, running' if runs else 'not running'}")
    record = attachment.server.worker(settings.pool, settings.name)
    seen = f"{record['status']}, last seen {record['last_heartbeat_time']}" if record else "not seen yet"
    print(f"server   {seen}")
    print(f"log      {paths.log}")
    return 0 if runs and record and record["status"] == "ONLINE" else 1


def _detach(attachment: Attachment, *, forget: bool) -> int:
    """Stop the worker, and remove its service, its folder and its record on the server.

    The folder goes last: it holds the address and the login that removing the record needs.
    """
    settings, paths = attachment.settings, attachment.paths
    is_attached = Path(paths.settings).exists()
    if is_held(Path(paths.lock)) and holder(Path(paths.lock)) == 1:
        raise AttachError("the worker is this container's main process: stop the container instead")
    if is_attached:
        if settings.scope:
            service.unregister(settings)
        stop(paths, settings.grace_seconds, _say)
        if settings.scope:
            service.forget(settings)
            _say("removed the service")
    try:
        was_known = attachment.server.forget_worker(settings.pool, settings.name)
    except AttachError as error:
        if not forget:
            raise AttachError(
                f"{error}; the worker is stopped, but the server still lists it: run this again later, or "
                f"with --forget to leave the record behind"
            ) from None
        _say(f"the server was not informed: {error}")
    else:
        _say(f"server: {'removed the record of' if was_known else 'has no record of'} {settings.name}")
    if is_attached:
        folder.remove(Path(paths.home), _say)
    return 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _say(text: str) -> None:
    print(text, flush=True)
