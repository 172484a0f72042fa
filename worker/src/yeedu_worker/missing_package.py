"""Says how to install a missing package that a flow needs: docs/packages.md.

The deployer says so for a flow that it cannot import, a worker in the log of a flow run.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

# What flows import from each extra of requirements/extras.
EXTRAS = {
    "etl": ("pandas", "pandas_gbq", "prefect_aws", "prefect_gcp", "prefect_sqlalchemy", "pyarrow"),
}
_LIST = "flows/requirements.txt"


def advice(error: BaseException, *own_folders: Path) -> str:
    """Return what to do about a module that is missing; an empty string for any other error.

    Args:
        error: What the import raised, or what was raised from that.
        own_folders: Where flows keep modules of their own, about which there is no advice.
    """
    missing = next((one for one in _chain(error) if isinstance(one, ModuleNotFoundError) and one.name), None)
    name = (missing.name or "").partition(".")[0] if missing else ""
    is_own = any((folder / name).exists() or (folder / f"{name}.py").exists() for folder in own_folders)
    if not name or is_own or _LIST in str(error) or "WORKER_EXTRAS" in str(error):
        return ""
    extra = next((extra for extra, modules in EXTRAS.items() if name in modules), "")
    if extra:
        how = f"set WORKER_EXTRAS={extra} in .env, or add it to {_LIST} and `make lock`; then `make up`"
    else:
        how = f"if it is a package, add it to {_LIST}, then `make lock` and `make up`"
    return f"{how} (docs/packages.md)"


def advise_in_log(name: str = "prefect.flow_runs") -> None:
    """Append to this process's log lines about a missing package what to do about it."""
    logging.getLogger(name).addFilter(_end_with_advice)


def _end_with_advice(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if error and (text := advice(error, Path.cwd())):
        record.msg = f"{record.msg}; {text}"
    return True


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its chain of causes, each once."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following and following not in seen:
        seen.append(following)
        yield following
        following = following.__cause__
