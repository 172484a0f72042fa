"""What the platform uses, looked at again and again through the day."""

import json
import time
from collections import Counter
from dataclasses import dataclass, field

from bench.docker_stats import usage
from tests.endurance.day import Day

SAMPLE_SECONDS = 20.0
_GRACE_SECONDS = 600.0

# By the shell alone, which starts no process for it: how many processes there are, and files that they hold.
_COUNTS = 'set -- /proc/[0-9]*; printf "%s " $#; set -- /proc/[0-9]*/fd/*; echo $#; '
# The same of processes that are older than a minute, and the fewest files that four looks within a tick
# find: flow runs are always about to come and to go, on a worker as processes, on the server as sockets.
_LASTING_COUNTS = """
for look in 1 2 3 4; do
    read -r now rest < /proc/uptime; processes=0; files=0
    for process in /proc/[0-9]*; do
        read -r line 2>/dev/null < $process/stat || continue
        set -- ${line##*) }
        [ $((${now%.*} - ${20} / 100)) -ge 60 ] || continue
        set -- $process/fd/*; processes=$((processes + 1)); files=$((files + $#))
    done
    [ ${fewest:-$files} -lt $files ] || fewest=$files
    sleep 2
done
echo $processes $fewest
"""
# A connection grows to 12 MB and 230 files until the server makes it anew: when there is use for it and an
# hour has gone by. So what all of them have together wanders by a third; what may not grow is what Postgres
# itself has, and the largest connection. The checkpointer's files do not count: it closes them now and then,
# and nor do autovacuum's workers, which come and go.
POSTGRES = "postgres with its largest connection"
_LARGEST_CONNECTION = """
files=0; most_files=0; kilobytes=0; most_kilobytes=0
for process in /proc/[0-9]*; do
    title=; read -r title 2>/dev/null < $process/cmdline
    set -- $process/fd/*
    while read -r key used rest && [ $key != RssAnon: ]; do :; done 2>/dev/null < $process/status
    case $title in
    "postgres: prefect "*)
        [ $# -lt $most_files ] || most_files=$#
        [ $used -lt $most_kilobytes ] || most_kilobytes=$used ;;
    "postgres: checkpointer"*) kilobytes=$((kilobytes + used)) ;;
    "postgres: autovacuum worker"*) ;;
    *) kilobytes=$((kilobytes + used)); files=$((files + $#)) ;;
    esac
done
echo $((files + most_files)) $((kilobytes + most_kilobytes))
"""
_FOLDERS = {
    "server": "/tmp /var/lib/prefect",
    "worker": "/tmp /var/lib/prefect",
    "yeedu-mock": "/tmp /var/lib/yeedu-mock",
}
# A file may go while it is counted, which is no failure.
_SIZES = {service: f"du -sk {folders} 2>/dev/null; true" for service, folders in _FOLDERS.items()}
TABLES = ("flow_run", "flow_run_state", "task_run", "task_run_state", "log", "artifact", "events")
_ROWS = ", ".join(f"'{table}', (SELECT count(*) FROM {table})" for table in (*TABLES, "event_resources"))
_ENDED = """
SELECT json_agg(json_build_array(id, deployment_id, state_type,
    extract(epoch FROM expected_start_time), extract(epoch FROM start_time)))
FROM flow_run WHERE auto_scheduled AND end_time > now() - interval '2 min'
"""
_DATABASE = f"""
SELECT json_build_object('bytes', pg_database_size('prefect'), 'rows', json_build_object({_ROWS}),
    'ended', ({_ENDED}))
"""


@dataclass(frozen=True)
class Run:
    """A scheduled flow run that has ended; times are seconds since 1970."""

    deployment: str
    state: str
    due: float
    started: float


@dataclass
class Samples:
    """The day's curves, with one value for each time at which it was looked.

    Attributes:
        hours: When, in hours of the day.
        curves: By what was measured: megabytes of memory of a service, its processes, open files and
            CPU-seconds, megabytes of a folder and of the database, rows of a table.
        runs: Every scheduled flow run that has ended, by its id.
    """

    hours: list[float] = field(default_factory=list[float])
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict[str, dict[str, list[float]]])
    runs: dict[str, Run] = field(default_factory=dict[str, Run])

    def ended(self, day: Day) -> int:
        """Return how many of the runs that were due in the day have ended."""
        return sum(day.began - 1 < run.due < day.ends - 1 for run in self.runs.values())

    def add(self, kind: str, name: str, value: float) -> None:
        """Put one more value at the end of a curve."""
        self.curves.setdefault(kind, {}).setdefault(name, []).append(value)

    def written(self) -> str:
        """Return all but the single runs, as JSON."""
        states = Counter(run.state for run in self.runs.values())
        return json.dumps({"hours": self.hours, "curves": self.curves, "runs": states})


def sample_the_day(day: Day) -> Samples:
    """Look every few seconds until the day is over and all that was due in it has ended, or should have."""
    samples = Samples()
    while day.is_on() or (samples.ended(day) < day.runs and time.time() < day.ends + _GRACE_SECONDS):
        began = time.monotonic()
        seen = json.loads(day.sql(_DATABASE))
        for run, deployment, state, due, started in seen["ended"] or []:
            samples.runs[run] = Run(deployment, state, due, started)
        if day.is_on():
            samples.hours.append(day.hours())
            samples.add("database", "size", seen["bytes"] / 1e6)
            for table, rows in seen["rows"].items():
                samples.add("rows", table, rows)
            _look_at_services(day, samples)
            _look_at_connections(day, samples)
        day.age()
        time.sleep(max(0.0, SAMPLE_SECONDS - (time.monotonic() - began)))
    return samples


def _look_at_services(day: Day, samples: Samples) -> None:
    for service, container in day.containers.items():
        used = usage(container)
        counting = _LASTING_COUNTS if service in {"server", "worker"} else _COUNTS
        looked = day.inside(service, "sh", "-c", counting + _SIZES.get(service, ""))
        counts, *sizes = looked.splitlines()
        processes, files = counts.split()
        samples.add("memory", service, used.memory_bytes / 1e6)
        samples.add("cpu", service, used.cpu_seconds)
        samples.add("processes", service, float(processes))
        samples.add("open files", service, float(files))
        for line in sizes:
            kilobytes, folder = line.split()
            samples.add("folders", f"{service} {folder}", int(kilobytes) / 1e3)


def _look_at_connections(day: Day, samples: Samples) -> None:
    files, kilobytes = day.inside("postgres", "sh", "-c", _LARGEST_CONNECTION).split()
    samples.add("memory", POSTGRES, int(kilobytes) / 1e3)
    samples.add("open files", POSTGRES, float(files))
