"""The lists of available choices: states, job types, languages, versions, roles."""

from typing import Any

from fastapi import APIRouter

from yeedu_mock.routes.access import TheSession
from yeedu_mock.routes.definitions import SPARK_VERSION
from yeedu_mock.routes.responses import Texts
from yeedu_mock.state.enums import ClusterStatus, JobType, RunStatus

router = APIRouter(tags=["lookups"])

RUN_STATES = {
    RunStatus.SUBMITTED: "Waits for its cluster.",
    RunStatus.RUNNING: "Runs.",
    RunStatus.DONE: "Has ended well.",
    RunStatus.ERROR: "Has failed.",
    RunStatus.TERMINATED: "Was ended by the platform.",
    RunStatus.STOPPING: "Is being stopped.",
    RunStatus.STOPPED: "Was stopped by a user.",
}
LANGUAGES = (
    (JobType.SPARK_JOB, "RAW_SCALA", "Raw Scala"),
    (JobType.SPARK_JOB, "Python3", "PySpark"),
    (JobType.SPARK_SQL, "SQL", "Spark SQL"),
    (JobType.NOTEBOOK, "Python3", "Python3"),
    (JobType.NOTEBOOK, "Scala", "Scala"),
    (JobType.NOTEBOOK, "SQL", "SQL"),
    (JobType.THRIFT_SQL, "SQL", "Thrift SQL"),
    (JobType.YEEDU_FUNCTIONS, "Python3", "Python"),
    (JobType.JAR, "Jar", "JAR"),
)


@router.get("/lookup_spark_job_status")
async def run_states(_: TheSession) -> list[dict[str, Any]]:
    """List the states a run can have."""
    return [
        {"spark_job_status_id": number, "name": state, "description": text}
        for number, (state, text) in enumerate(RUN_STATES.items())
    ]


@router.get("/lookup_spark_job_type")
async def job_types(_: TheSession) -> list[dict[str, Any]]:
    """List the types of jobs, of which notebooks are one."""
    return [
        {"spark_job_type_id": number, "name": one, "display_name": one.display_name}
        for number, one in enumerate(JobType)
    ]


@router.get("/lookup_spark_job_type_lang")
async def languages(_: TheSession, job_type: Texts = None) -> list[dict[str, Any]]:
    """List the languages of each type of job, or of the given types."""
    return [
        {
            "spark_job_type_lang_id": number,
            "spark_job_type": {"name": one},
            "lang_name": language,
            "display_name": display_name,
            "support_runtime_args": one is not JobType.YEEDU_FUNCTIONS,
            "support_runtime_conf": one is not JobType.YEEDU_FUNCTIONS,
        }
        for number, (one, language, display_name) in enumerate(LANGUAGES)
        if not job_type or one in {JobType.of(name) for name in job_type}
    ]


@router.get("/lookup_engine_cluster_instance_status")
async def cluster_states(_: TheSession) -> list[dict[str, Any]]:
    """List the states a cluster can have."""
    return [
        {"engine_cluster_instance_status_id": number, "name": state}
        for number, state in enumerate(ClusterStatus)
    ]


@router.get("/lookup_engine_cluster_instance_node_status")
async def node_states(_: TheSession) -> list[dict[str, Any]]:
    """List the states that a node of a cluster can have."""
    return [
        {"engine_cluster_instance_node_status_id": number, "name": state}
        for number, state in enumerate(ClusterStatus)
    ]


@router.get("/lookup_spark_infra_version")
async def spark_versions(_: TheSession) -> list[dict[str, Any]]:
    """List the versions of Spark that a cluster can have."""
    return [
        {
            "spark_infra_version_id": 1,
            "spark_version": SPARK_VERSION,
            "notebook_support": True,
            "thrift_support": True,
            "yeedu_functions_support": True,
            "has_cuda_support": False,
            "has_turbo_support": False,
        }
    ]


@router.get("/roles")
async def roles(_: TheSession) -> list[dict[str, Any]]:
    """List the roles that a user can have."""
    return [
        {"role_id": 1, "role": "User", "description": "May do what workspaces permit."},
        {"role_id": 2, "role": "Admin", "description": "May do everything in the tenant."},
    ]
