"""What every command of the pages is expected to do; tests/e2e/test_commands.py runs them and looks.

A page's commands are typed in its order: one may need what an earlier one did.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from local.release.version import platform_version
from tests.platforms import JSON, Platform


@dataclass(frozen=True)
class Done:
    """A command that ended well.

    Attributes:
        platform: On which it was run.
        output: What it printed, with every gap as one blank: the width of the terminal does not matter.
        began: When it was started.
    """

    platform: Platform
    output: str
    began: datetime


Check = Callable[[Done], bool]

VERSION = platform_version()
GREET, PRINT = "greet-at-noon", "print-message"
OFFICE_HOURS = "*/5 8-17 * * 1-5"
LAST_FRIDAY = "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=17;BYMINUTE=0;BYSECOND=0"
WORKER = "docker compose exec worker with-secrets prefect"
PREFECT = "PREFECT_API_URL=http://localhost:8080/api .venv/bin/prefect"
PYTHON = "PREFECT_API_URL=http://localhost:8080/api .venv/bin/python"
COUNT_TRIPS = (
    "docker compose exec warehouse psql -U warehouse"
    " -c 'SELECT colour, year, month, count(*) FROM taxi_trips GROUP BY 1, 2, 3'"
)


# docs/kubernetes.md
KUBERNETES = (
    "helm upgrade --install prefect deploy/kubernetes/yeedu-prefect --namespace prefect --create-namespace"
    " --set images.registry=ghcr.io/team --wait --timeout 15m",
    "helm test prefect --namespace prefect --logs",
    "kubectl --namespace prefect get secret prefect-secrets"
    " --output=go-template='{{.data.PREFECT_API_AUTH_STRING | base64decode}}'",
    "kubectl --namespace prefect port-forward service/prefect-server 8080:4200",
    "helm upgrade prefect deploy/kubernetes/yeedu-prefect --namespace prefect --reset-then-reuse-values"
    " --wait --timeout 15m",
    "kubectl --namespace prefect exec prefect-postgres-0 --"
    " pg_dump --username=prefect --format=custom prefect >prefect.dump",
    "kubectl --namespace prefect get secret prefect-secrets --output=yaml >prefect-secrets.yaml",
    "kubectl --namespace prefect scale --replicas=0 statefulset/prefect-worker deployment/prefect-rescue"
    " deployment/prefect-yeedu-watch",
    "kubectl --namespace prefect scale --replicas=0 deployment/prefect-server",
    "kubectl --namespace prefect exec --stdin prefect-postgres-0 -- pg_restore --clean --if-exists --no-owner"
    " --single-transaction --username=prefect --dbname=prefect <prefect.dump",
    "cat local/backup/*.sql | kubectl --namespace prefect exec --stdin prefect-postgres-0 --"
    " psql --username=prefect --dbname=prefect",
)


def says(*texts: str) -> Check:
    return lambda done: all(text in done.output for text in texts)


def runs_since(done: Done, flow: str) -> list[JSON]:
    """The flow's runs that began after the command did, newest first."""
    runs = {"expected_start_time": {"after_": done.began.isoformat()}}
    named = {"flows": {"name": {"any_": [flow]}}, "flow_runs": runs, "sort": "START_TIME_DESC"}
    return done.platform.api.post("flow_runs/filter", named)


def ran_on_a_worker(flow: str, **parameters: object) -> Check:
    """A run of a deployment, with these parameters among its own, Completed."""

    def look(done: Done) -> bool:
        found = [
            run
            for run in runs_since(done, flow)
            if run["deployment_id"] and parameters.items() <= run["parameters"].items()
        ]
        return bool(found) and done.platform.api.finished(found[0]["id"])["state_type"] == "COMPLETED"

    return look


def ran_here(flow: str, line: str) -> Check:
    """A run of no deployment Completed, and the platform has the line in its log."""

    def look(done: Done) -> bool:
        # Another page may have typed the same command: the run is the one whose address was printed.
        [run] = [
            one
            for one in runs_since(done, flow)
            if not one["deployment_id"] and f"/flow-run/{one['id']}" in done.output
        ]
        return run["state_type"] == "COMPLETED" and bool(done.platform.api.log_with(run["id"], line))

    return look


def schedules(done: Done, kind: str, rule: object) -> list[JSON]:
    """The schedules of print-message with this rule."""
    of_deployment = done.platform.api.deployments()[PRINT]["schedules"]
    return [one for one in of_deployment if str(rule) in str(one["schedule"].get(kind))]


def scheduled(kind: str, rule: object) -> Check:
    return lambda done: len(schedules(done, kind, rule)) == 1


def office_hours_are(*active: bool) -> Check:
    return lambda done: [one["active"] for one in schedules(done, "cron", OFFICE_HOURS)] == [*active]


def greets_at_noon(done: Done) -> bool:
    """The deployment is made as it was asked for, and leaves the repository's address to the worker."""
    made = done.platform.api.deployments()[GREET]
    [schedule] = made["schedules"]
    [step] = made["pull_steps"]
    return (
        (made["work_pool_name"], made["work_queue_name"]) == ("yeedu-pool", "greetings")
        and (schedule["schedule"]["cron"], schedule["schedule"]["timezone"])
        == ("0 12 * * *", "Europe/Vienna")
        and made["parameters"] == {"message": "Noon"}
        and step["prefect.deployments.steps.git_clone"]["repository"] == "{{ $FLOWS_GIT_URL }}"
    )


def has(path: str, **fields: object) -> Check:
    """The API has something there, with these fields."""
    return lambda done: fields.items() <= done.platform.api.get(path).items()


def gone(path: str) -> Check:
    return lambda done: done.platform.api.ask("GET", path).status_code == 404


POOL, OTHER_POOL = "work_pools/yeedu-pool", "work_pools/windows-pool"
QUEUE = f"{POOL}/queues/urgent"
TAG, LIMIT = "concurrency_limits/tag/warehouse", "v2/concurrency_limits/reports"

IMAGE_WORKER = (
    "tests/e2e/test_flows.py",
    "test_a_worker_runs_the_flow_that_its_image_holds",
    '"--profile", "image-worker"',
)
ATTACHED = (
    "tests/e2e/test_attached_workers.py",
    "test_process_of_this_machine_attaches_works_and_detaches",
    '[attach, "run", "--server"',
)
IN_A_CONTAINER = (
    "tests/e2e/test_attached_workers.py",
    "test_container_on_another_network_path_attaches_works_and_detaches",
    '"--temporary"',
)
PLAIN_WORKER = (
    "tests/e2e/test_commands.py",
    "test_a_plain_prefect_worker_runs_these_flows_in_a_pool_of_its_own",
    '"plain-pool"',
)

CITY = "tests/e2e/test_two_environments.py"
PACKAGES = "tests/e2e/test_packages.py"
DEPLOYER = ("tests/e2e/test_configuration.py", "deployer", '"run", "--rm", "deployer"')
ADD_A_PACKAGE = (PACKAGES, "test_package_that_the_platform_lacks_is_listed_locked_and_used")
OWN_IMAGE = (PACKAGES, "test_image_with_flows_is_a_worker_wherever_it_is_pulled")
OFFLINE = "tests/e2e/test_offline.py"
FROM_BUNDLE = (OFFLINE, "test_containers_come_up_from_the_bundle", "INSTALL")
RELEASE = ("local/tests/test_release.py", "test_this_checkout_can_be_released")
NEW_FLOW = (
    "tests/e2e/test_projects.py",
    "test_a_new_flow_runs_at_once_as_a_script_and_as_a_deployment_and_its_test_passes",
)
CONTAINER_RUNS = ("tests/e2e/test_docker_pool.py", "docker_worker", "prefect worker start")

DOCTOR = ("tests/e2e/test_doctor.py", "test_a_platform_that_is_well_has_nothing_wrong")

EXPECTED: Mapping[str, Check] = {
    # README.md
    f"{WORKER} deployment run run-yeedu-job/run-yeedu-job --watch": says("Completed"),
    f"{WORKER} deployment run run-shell-command/run-shell-command"
    " --param 'command=\"df -h /\"' --watch": ran_on_a_worker("run-shell-command", command="df -h /"),
    f"{PREFECT} deployment run run-yeedu-job/run-yeedu-job --watch": says("Completed"),
    # docs/first-ten-minutes.md and docs/configuration.md
    "make plan": says("deployment: run-yeedu-job: unchanged"),
    "make deploy": says("deployment: run-yeedu-job: unchanged"),
    "make status": says("scheduler", "run-yeedu-job: in step"),
    # docs/coming-from.md
    "prefect version": says("3.9.1"),
    "prefect block register -m prefect_yeedu": says("Yeedu Credentials", "Yeedu Job", "Yeedu Notebook"),
    'prefect deployment run load-taxi-trips/load-taxi-trips -p "months=[6,7]" --watch': ran_on_a_worker(
        "load-taxi-trips", months=[6, 7]
    ),
    ".venv/bin/prefect config set PREFECT_API_URL=http://localhost:8080/api": says("Set 'PREFECT_API_URL'"),
    ".venv/bin/prefect --no-prompt deploy --prefect-file deployer/prefect.yaml"
    " flows/print_message.py:print_message -n greet-at-noon -p yeedu-pool -q greetings"
    ' --cron "0 12 * * *" --timezone Europe/Vienna --param message=Noon': greets_at_noon,
    ".venv/bin/prefect deployment run print-message/greet-at-noon -p message=Now --watch": (
        ran_on_a_worker(PRINT, message="Now")
    ),
    ".venv/bin/prefect deployment delete print-message/greet-at-noon": lambda done: (
        GREET not in done.platform.api.deployments()
    ),
    ".venv/bin/prefect profile ls": says("Available Profiles"),
    ".venv/bin/prefect config unset PREFECT_API_URL --yes": says("Unset 'PREFECT_API_URL'"),
    # docs/first-hour.md
    f"{PYTHON} sum_up.py": ran_here("sum-up", "The sum is 6."),
    # docs/own-machine.md
    ".venv/bin/python flows/print_message.py": says("Hello from Yeedu on Prefect"),
    f"{PYTHON} flows/print_message.py": ran_here(PRINT, "Hello from Yeedu on Prefect"),
    f"{PYTHON} flows/run_yeedu_job.py": ran_here("run-yeedu-job", "stdout"),
    f"{PYTHON} flows/load_taxi_trips.py": ran_here("load-taxi-trips", "Finished in state Completed()"),
    f"{WORKER} deployment run load-taxi-trips/load-taxi-trips --watch": ran_on_a_worker("load-taxi-trips"),
    f"PREFECT_LOGGING_EXTRA_LOGGERS=my_team {PYTHON} count_stock.py": ran_here("count-stock", "counted"),
    # docs/etl.md
    f"{WORKER} deployment run load-taxi-trips/load-taxi-trips --param months='[1, 2, 3]'"
    " --param year=2021 --param colour=yellow --watch": (
        ran_on_a_worker("load-taxi-trips", months=[1, 2, 3], year=2021, colour="yellow")
    ),
    COUNT_TRIPS: says("yellow | 2021 | 3 |"),
    f"{WORKER} deployment run backfill-taxi-trips/backfill-taxi-trips --param first=2020-11"
    """ --param last=2021-02 --param colours='["green", "yellow"]' --watch""": (
        ran_on_a_worker("backfill-taxi-trips", first="2020-11", last="2021-02")
    ),
    # docs/schedules.md
    f'prefect deployment schedule create print-message/print-message --cron "{OFFICE_HOURS}"'
    " --timezone Europe/Vienna": office_hours_are(True),
    "prefect deployment schedule create print-message/print-message --interval 5400": scheduled(
        "interval", 5400.0
    ),
    f'prefect deployment schedule create print-message/print-message --rrule "{LAST_FRIDAY}"': scheduled(
        "rrule", LAST_FRIDAY
    ),
    "prefect deployment schedule ls print-message/print-message": says("8-17"),
    "prefect deployment schedule pause print-message/print-message SCHEDULE_ID": office_hours_are(False),
    "prefect deployment schedule resume print-message/print-message SCHEDULE_ID": office_hours_are(True),
    "prefect deployment schedule delete print-message/print-message SCHEDULE_ID --accept-yes": (
        office_hours_are()
    ),
    # docs/pools.md
    "prefect work-pool ls": says("yeedu", "image", "windo"),
    "prefect work-pool set-concurrency-limit yeedu-pool 20": has(POOL, concurrency_limit=20),
    "prefect work-pool clear-concurrency-limit yeedu-pool": has(POOL, concurrency_limit=None),
    "prefect work-pool pause windows-pool": has(OTHER_POOL, is_paused=True),
    "prefect work-pool resume windows-pool": has(OTHER_POOL, is_paused=False),
    "prefect work-queue create urgent --pool yeedu-pool --priority 1 --limit 2": has(
        QUEUE, priority=1, concurrency_limit=2
    ),
    "prefect work-queue ls --pool yeedu-pool": says("urgent", "default"),
    "prefect work-queue set-concurrency-limit urgent 5 --pool yeedu-pool": has(QUEUE, concurrency_limit=5),
    "prefect work-queue pause urgent --pool yeedu-pool": has(QUEUE, is_paused=True),
    "prefect work-queue resume urgent --pool yeedu-pool": has(QUEUE, is_paused=False),
    "prefect work-queue delete urgent --pool yeedu-pool": gone(QUEUE),
    "prefect concurrency-limit create warehouse 2": has(TAG, concurrency_limit=2),
    "prefect concurrency-limit inspect warehouse": says("warehouse"),
    "prefect concurrency-limit delete warehouse": gone(TAG),
    "prefect gcl create reports --limit 3": has(LIMIT, limit=3),
    "prefect gcl update reports --limit 5": has(LIMIT, limit=5),
    "prefect gcl inspect reports": says("reports"),
    "prefect gcl delete reports": gone(LIMIT),
}

# What only one form of the platform has.
ONLY: Mapping[str, str] = {
    f"{PYTHON} flows/load_taxi_trips.py": "local",
    COUNT_TRIPS: "compose",
}

# Tried by a test of their own: its file, its name, and what in its text does so.
_SWARM = "tests/e2e/test_swarm.py"
_BY_HAND_ON_A_SWARM = (_SWARM, "test_deployer_registers_anew_and_the_key_is_read_by_hand", "swarm.typed(")
_RESTORED_ON_A_SWARM = (
    _SWARM,
    "test_backup_is_made_on_a_schedule_and_restored_by_hand",
    "pg_restore --clean",
)
_ON_POSTGRES = "docker exec -i $(docker ps --quiet --filter name=yeedu-prefect_postgres)"
ELSEWHERE: Mapping[str, tuple[str, str, str]] = {
    "make stack-up": (_SWARM, "swarm", "swarm.stack_up"),
    "docker node update --label-add yeedu-prefect.postgres-data=here node-2": (
        _SWARM,
        "swarm",
        '"--label-add"',
    ),
    "docker service update --force --detach yeedu-prefect_deployer": _BY_HAND_ON_A_SWARM,
    "docker service logs --tail 20 yeedu-prefect_deployer": _BY_HAND_ON_A_SWARM,
    "docker exec $(docker ps --quiet --filter name=yeedu-prefect_server)"
    " cat /run/platform/server/encryption-key": _BY_HAND_ON_A_SWARM,
    "docker service scale yeedu-prefect_worker=0 yeedu-prefect_rescue=0 yeedu-prefect_yeedu-watch=0"
    " yeedu-prefect_backup=0": _RESTORED_ON_A_SWARM,
    "docker service scale yeedu-prefect_server=0": _RESTORED_ON_A_SWARM,
    "tar -xOf backups/NAME.tar database > database.dump": _RESTORED_ON_A_SWARM,
    f"{_ON_POSTGRES} pg_restore --clean --if-exists --no-owner --single-transaction --username prefect"
    " --dbname prefect < database.dump": _RESTORED_ON_A_SWARM,
    f"cat local/backup/*.sql | {_ON_POSTGRES} psql --username prefect --dbname prefect": _RESTORED_ON_A_SWARM,
    "docker service scale yeedu-prefect_server=1": _RESTORED_ON_A_SWARM,
    "docker service scale yeedu-prefect_worker=2 yeedu-prefect_rescue=1 yeedu-prefect_yeedu-watch=1"
    " yeedu-prefect_backup=1": _RESTORED_ON_A_SWARM,
    "rm database.dump": _RESTORED_ON_A_SWARM,
    "docker compose up -d": (
        *("tests/e2e/test_platform.py", "test_every_service_is_healthy_and_every_one_shot_succeeded"),
        '"docker", "compose", "ps"',
    ),
    "docker compose exec -T proxy /etc/proxy/start root > platform-ca.pem": (
        *("tests/e2e/test_tls.py", "test_ca_of_the_platforms_own_outlives_the_container"),
        'tls.inside("proxy", "/etc/proxy/start", "root")',
    ),
    "docker compose exec proxy /etc/proxy/start reload": (
        *("tests/e2e/test_tls.py", "test_files_of_ones_own_are_taken_and_taken_again"),
        'tls.inside("proxy", "/etc/proxy/start", "reload")',
    ),
    "docker compose logs proxy": (
        *("tests/e2e/test_tls.py", "test_certificate_of_an_acme_server_is_got_and_renewed"),
        '"docker", "compose", "logs", "--no-color", "proxy"',
    ),
    "yeedu-watch --seconds 5": (
        "yeedu-operator/tests/test_watch.py",
        "test_the_command_watches_is_killed_and_goes_on_when_it_is_started_again",
        '"--seconds", "0.1"',
    ),
    f"{PYTHON} write_note.py": (
        *("tests/e2e/test_flows.py", "test_a_flow_served_from_a_laptop_is_a_deployment_that_runs_there"),
        '"write_note.py"',
    ),
    "curl -X POST http://localhost:8080/api/flow_runs/RUN_ID/resume -H 'Content-Type: application/json'"
    ' -d \'{"run_input": {"approve": true, "comment": "fine"}}\'': (
        *("tests/e2e/test_flows.py", "test_a_report_is_published_only_when_a_person_approves_it"),
        "/resume",
    ),
    "docker compose --profile image-worker up -d --build": IMAGE_WORKER,
    f"{WORKER} deployment run summarise-taxi-trips/summarise-taxi-trips --param runs_on=dask"
    " --param files_per_task=6 --watch": (
        *(
            "flows/tests/test_fan_out.py",
            "test_tasks_run_on_dask_and_in_batches",
        ),
        '"dask", 6',
    ),
    f"{WORKER} experimental result-storage set s3-bucket/results": (
        *("worker/tests/test_shared_results.py", "test_every_worker_reads_every_result"),
        '"experimental", "result-storage", "set", "s3-bucket/results"',
    ),
    f"{WORKER} deployment run run-shell-command/run-shell-command-from-image --param command=pwd --watch": (
        IMAGE_WORKER
    ),
    "worker/attach.sh run --server http://prefect.example.com:8080": ATTACHED,
    "worker/attach.sh check --server http://prefect.example.com:8080": (
        *("worker/tests/test_attach_to_a_server.py", "test_check_tells_what_is_wrong_and_changes_nothing"),
        "check",
    ),
    "make activate-windows": (
        *(
            "tests/e2e/test_attached_workers.py",
            "test_windows_schedule_is_switched_on_by_one_command_and_stays_on",
        ),
        '"activate-windows"',
    ),
    'docker run -d --name more-work -v "$PWD:/checkout:ro" -v "$PWD/login:/run/login:ro" yeedu-prefect-worker'
    f":{VERSION} python /checkout/worker/attach run --temporary --server http://prefect.example.com:8080"
    " --name more-work --environment /opt/venv --folder /tmp/worker --auth-string-file /run/login"
    " --flows-git-url https://github.com/YOUR_TEAM/yeedu-prefect.git": IN_A_CONTAINER,
    "docker stop --time 60 more-work": IN_A_CONTAINER,
    f"{PREFECT} work-pool create plain-pool --type process": PLAIN_WORKER,
    "PREFECT_API_URL=http://localhost:8080/api FLOWS_GIT_URL=https://github.com/YOUR_TEAM/yeedu-prefect.git"
    " .venv/bin/prefect worker start --pool plain-pool": PLAIN_WORKER,
    f"{PREFECT} work-pool delete plain-pool": PLAIN_WORKER,
    # docs/own-flow.md
    "make new-flow NAME=streets/count_potholes": (*NEW_FLOW, '"new-flow", NAME'),
    **dict.fromkeys(
        ("git add flows/streets deployer/prefect.yaml", 'git commit --message "Add count-potholes"'),
        (*NEW_FLOW, 'commit(platform.checkout, "Add count-potholes")'),
    ),
    f"{PYTHON} flows/streets/count_potholes.py": (*NEW_FLOW, "[sys.executable, FLOW]"),
    ".venv/bin/pytest --numprocesses=0 flows/streets/tests/test_count_potholes.py": (*NEW_FLOW, '"pytest"'),
    # docs/yeedu.md
    'make test-contract ARGS="--json report.json"': (
        "yeedu-operator/tests/test_contract_command.py",
        "test_the_command_prints_a_table_and_writes_a_report_without_anybodys_names_and_secrets",
        '"--json", "report.json"',
    ),
    # docs/upgrade.md
    "make upgrade": (
        *("tests/e2e/test_upgrade.py", "test_local_processes_go_to_the_new_release_with_runs_in_flight"),
        "upgrade_with_runs_in_flight(local)",
    ),
    "make upgrade DRY_RUN=1": (
        *("tests/e2e/test_upgrade.py", "test_a_dry_run_tries_all_and_changes_nothing"),
        '"--dry-run"',
    ),
    # docs/scale.md
    "make up SCALE=1": ("tests/e2e/test_scale.py", "up", '"make", "up", "SCALE=1"'),
    # docs/environments.md
    "make deploy ENVIRONMENT=staging": (
        *(CITY, "test_staging_is_registered_beside_production_with_blocks_of_its_own"),
        '"ENVIRONMENT=staging"',
    ),
    **dict.fromkeys(
        (
            "make deploy ENVIRONMENT=staging ONLY=flows/parking/",
            "make deploy ONLY=flows/parking/",
        ),
        (CITY, "test_a_merge_registers_one_project_and_leaves_the_rest", '"ONLY=flows/parking/"'),
    ),
    "git branch staging": (CITY, "city", '"-b", "staging"'),
    "worker/attach.sh install --server http://localhost:8080 --name stage --work-queue staging"
    " --flows-git-url https://github.com/YOUR_TEAM/yeedu-prefect.git": (
        *(CITY, "second_worker"),
        '"--work-queue", "staging"',
    ),
    # docs/configuration.md
    **dict.fromkeys(
        (
            "docker compose run --rm deployer plan --only 'parking/*'",
            "docker compose --progress quiet run --rm deployer status --json",
            "docker compose run --rm deployer apply --only run-yeedu-job",
        ),
        DEPLOYER,
    ),
    # docs/releases.md and docs/offline.md
    "make release VERSION=1.4.0": (*RELEASE, 'make_release("'),
    "make bundle": (OFFLINE, "bundle", '"make", "bundle"'),
    f"tar -xf yeedu-prefect-{VERSION}.tar": FROM_BUNDLE,
    f"yeedu-prefect-{VERSION}/install.sh": FROM_BUNDLE,
    # docs/doctor.md
    **dict.fromkeys(("make doctor", "make doctor JSON=1"), (*DOCTOR, "examined(platform)")),
    "make doctor BUNDLE=1": (
        *("tests/e2e/test_doctor.py", "test_archive_for_support_has_all_logs_and_no_secret"),
        '"make", "doctor"',
    ),
    # docs/packages.md
    "echo cowsay >>flows/requirements.txt": (*ADD_A_PACKAGE, '"cowsay'),
    "make lock": (*ADD_A_PACKAGE, '"lock"'),
    "make up": (*ADD_A_PACKAGE, "platform.up()"),
    "docker compose --profile image-worker build image-worker": (*OWN_IMAGE, '"build"'),
    f"docker tag yeedu-prefect-image-worker:{VERSION} registry.example.com/team/flows:1": (
        *OWN_IMAGE,
        '"tag"',
    ),
    'docker run -d --init --name flows --restart unless-stopped -v "$PWD/login:/run/login:ro"'
    " -e PREFECT_API_AUTH_STRING_FILE=/run/login -e PREFECT_API_URL=http://prefect.example.com:8080/api"
    " -e WORKER_POOL=image-pool -e WORKER_NAME=flows registry.example.com/team/flows:1": (
        *OWN_IMAGE,
        '"docker", "run"',
    ),
    # docs/docker-pool.md
    "prefect worker start --pool docker-pool --type docker --name docker-worker": CONTAINER_RUNS,
    "docker-worker/bin/pip install prefect-docker==0.7.4 prefect==3.9.1": (
        *("tests/e2e/test_docker_pool.py", "worker_environment"),
        "prefect-docker==",
    ),
    # docs/workers.md
    'export SSL_CERT_FILE="$HOME/all-certificates.pem" REQUESTS_CA_BUNDLE="$HOME/all-certificates.pem"'
    ' GIT_SSL_CAINFO="$HOME/all-certificates.pem"': (
        *("worker/tests/test_attach_settings.py", "test_certificates_of_the_shell_are_kept_for_the_service"),
        "SSL_CERT_FILE",
    ),
}

# Run by hand, for the reason that is given.
ON_WINDOWS = "needs Windows; the CI job windows-worker attaches a worker there, from the same lock"
BY_HAND: Mapping[str, str] = {
    "git clone https://github.com/YOUR_TEAM/yeedu-prefect.git": "the address is the reader's own",
    "cd yeedu-prefect": "what follows is run in the checkout",
    # CONTRIBUTING.md
    "make install": "every test runs in what it made",
    "make check": "runs what `make lint` and `make test` run",
    ".venv/bin/pytest --numprocesses=0 deployer/tests/test_spec.py": "`make test` runs it",
    # docs/github.md; flows/tests/test_report_repository.py has a server with GitHub's schema
    f"{WORKER} deployment run report-repository/report-repository --param owner=PrefectHQ"
    " --param name=prefect --watch": "asks github.com",
    # docs/releases.md
    "cosign verify --certificate-oidc-issuer https://token.actions.githubusercontent.com"
    " --certificate-identity https://github.com/YOUR_TEAM/yeedu-prefect/.github/workflows/release.yml"
    f"@refs/tags/v{VERSION} ghcr.io/YOUR_TEAM/yeedu-prefect-worker:{VERSION}": "no release is published yet",
    f"docker buildx imagetools inspect ghcr.io/YOUR_TEAM/yeedu-prefect-worker:{VERSION}"
    " --format '{{ json .SBOM }}'": "no release is published yet",
    # docs/packages.md
    "python3 -m pip download --no-deps --dest wheels --requirement requirements/uv.txt"
    " --requirement requirements/worker.txt --requirement requirements/flows.txt": "loads 300 MB",
    ".venv/bin/python -m build --wheel --outdir wheels yeedu-operator": "loads a build's requirements",
    ".venv/bin/python -m build --wheel --outdir wheels yeedu-operator/guide": "loads a build's requirements",
    ".venv/bin/python -m build --wheel --outdir wheels worker": "loads a build's requirements",
    "worker/attach.sh run --server http://prefect.example.com:8080 --extras etl": "loads 500 MB",
    "docker push registry.example.com/team/flows:1": "the registry is the reader's own",
    # docs/kubernetes.md; tests/architecture/test_kubernetes.py says that the options are Helm's and kubectl's
    **dict.fromkeys(KUBERNETES, "there is no cluster"),
    # docs/docker-pool.md
    "python3 -m venv docker-worker": "the test's environment is made by uv, and kept between runs",
    'export PREFECT_API_URL=http://localhost:8080/api PATH="$PWD/docker-worker/bin:$PATH"': (
        "the test's worker gets both"
    ),
    # docs/swarm.md; tests/swarm_nodes.py does so with the addresses and the names of its nodes
    **dict.fromkeys(
        (
            "docker swarm init --advertise-addr 10.0.0.11",
            "docker swarm join-token worker",
            "docker compose build",
            f"docker save yeedu-prefect-worker:{VERSION} yeedu-prefect-rescue:{VERSION}"
            f" yeedu-prefect-server:{VERSION} | ssh node-2 docker load",
        ),
        "the nodes are the reader's own",
    ),
    # docs/upgrade.md
    "git fetch --tags && git checkout v1.2.3 && worker/attach.sh install": "the release is one of the future",
    # docs/workers.md and docs/other-server.md
    'cat /etc/ssl/certs/ca-certificates.crt company-ca.pem > "$HOME/all-certificates.pem"': (
        "the CA is the reader's own"
    ),
    **dict.fromkeys(
        (
            "export PREFECT_API_URL=http://prefect.example.com:8080/api"
            " FLOWS_GIT_URL=https://github.com/YOUR_TEAM/yeedu-prefect.git",
            "export PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30",
            "prefect worker start --pool windows-pool",
        ),
        "the addresses are the reader's own; a plain worker is tried in a pool of its own",
    ),
    "export PREFECT_API_URL=http://localhost:8080/api PREFECT_API_AUTH_STRING=admin:PASSWORD": (
        "needs a platform with a login"
    ),
    "prefect config set PREFECT_API_URL=http://localhost:8080/api PREFECT_API_AUTH_STRING=admin:PASSWORD": (
        "needs a platform with a login; without it, docs/coming-from.md has it"
    ),
    "py -m venv .venv": ON_WINDOWS,
    r".venv\Scripts\pip install --no-deps -r requirements\worker.txt": ON_WINDOWS,
    r".venv\Scripts\pip install --no-deps .\yeedu-operator .\yeedu-operator\guide": ON_WINDOWS,
    '$env:PREFECT_API_URL = "http://localhost:8080/api"': ON_WINDOWS,
    r".venv\Scripts\python flows\print_message.py": ON_WINDOWS,
    r"powershell -ExecutionPolicy Bypass -File worker\attach.ps1 run"
    " --server http://prefect.example.com:8080": (ON_WINDOWS),
}
