"""Cluster configurations: the machine types of the selected tenant's clusters."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from yeedu_mock.errors import BadRequestError, ConflictError, NotFoundError
from yeedu_mock.mock import Mock
from yeedu_mock.routes.access import TheMock, TheSession, TheTenant
from yeedu_mock.routes.responses import PageLimit, PageNumber, found_page
from yeedu_mock.state.records import Cluster, ClusterConf

router = APIRouter(prefix="/cluster", tags=["cluster configurations"])


@dataclass(frozen=True)
class MachineType:
    """A kind of machine that a cloud provider has."""

    machine_type_id: int
    name: str
    cloud_provider: str
    compute_type: str
    architecture_type: str


MACHINE_TYPES = {
    machine.machine_type_id: machine
    for machine in (
        MachineType(1, "e2-standard-4", "GCP", "general_purpose", "x86_64"),
        MachineType(2, "c7g.2xlarge", "AWS", "compute_optimized", "aarch64"),
        MachineType(3, "Standard_E4s_v5", "Azure", "memory_optimized", "x86_64"),
        MachineType(4, "g5.xlarge", "AWS", "gpu_accelerated", "x86_64"),
    )
}


class ClusterConfRequest(BaseModel):
    """The fields of a cluster configuration that the mock acts on; others are stored and returned."""

    model_config = ConfigDict(extra="allow")

    name: str | None = Field(default=None, min_length=1, max_length=255)
    machine_type_id: int | None = None


def find_conf(mock: Mock, tenant: str, identifier: int | None, name: str | None) -> ClusterConf:
    """Return a cluster configuration of a tenant by its id or, without one, by its name.

    Raises:
        NotFoundError: The tenant has none.
    """
    for conf in mock.store.all(ClusterConf):
        if conf.tenant == tenant and (conf.id == identifier if identifier is not None else conf.name == name):
            return conf
    called = identifier if identifier is not None else repr(name)
    raise NotFoundError(f"There is no cluster configuration {called}.")


async def _in_query(
    mock: TheMock, tenant: TheTenant, cluster_conf_id: int | None = None, cluster_conf_name: str | None = None
) -> ClusterConf:
    return find_conf(mock, tenant, cluster_conf_id, cluster_conf_name)


ConfInQuery = Annotated[ClusterConf, Depends(_in_query)]


@router.get("/confs/search")
@router.get("/confs")
async def confs(
    mock: TheMock,
    tenant: TheTenant,
    cluster_conf_name: str = "",
    cloud_provider: str | None = None,
    compute_type: str | None = None,
    architecture_type: str | None = None,
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List cluster configurations; 404 if there are none."""
    found = [
        shown(conf)
        for conf in mock.store.all(ClusterConf)
        if conf.tenant == tenant
        and cluster_conf_name.casefold() in conf.name.casefold()
        and cloud_provider in {None, machine_of(conf).cloud_provider}
        and compute_type in {None, machine_of(conf).compute_type}
        and architecture_type in {None, machine_of(conf).architecture_type}
    ]
    return found_page(found, page_number, limit, "cluster configuration")


@router.get("/conf")
async def conf(found: ConfInQuery) -> dict[str, Any]:
    """Return a cluster configuration by its id or name."""
    return shown(found)


@router.post("/conf", status_code=201)
async def create(
    request: ClusterConfRequest, mock: TheMock, tenant: TheTenant, session: TheSession
) -> dict[str, Any]:
    """Create a cluster configuration."""
    if request.name is None or request.machine_type_id is None:
        raise BadRequestError("A cluster configuration needs a name and a machine_type_id.")
    _refuse_taken(mock, tenant, request.name)
    record = ClusterConf(
        tenant=tenant,
        name=request.name,
        machine_type_id=_machine(request.machine_type_id).machine_type_id,
        created_by=mock.sessions.user(session).username,
        settings=request.model_extra or {},
    )
    return shown(mock.store.add(record))


@router.put("/conf")
async def edit(request: ClusterConfRequest, found: ConfInQuery, mock: TheMock) -> dict[str, Any]:
    """Change the fields that are sent."""
    if request.machine_type_id is not None:
        found.machine_type_id = _machine(request.machine_type_id).machine_type_id
    if request.name is not None and request.name != found.name:
        _refuse_taken(mock, found.tenant, request.name)
        found.name = request.name
    found.settings |= request.model_extra or {}
    mock.store.save(found)
    return shown(found)


@router.delete("/conf")
async def delete(found: ConfInQuery, mock: TheMock) -> dict[str, Any]:
    """Delete a cluster configuration that no cluster uses."""
    for cluster in mock.store.all(Cluster):
        if cluster.conf_id == found.id and cluster.status != "DESTROYED":
            raise ConflictError(f"The cluster {cluster.id} is made after this configuration.")
    mock.store.remove(found)
    return {"message": "The cluster configuration is deleted.", "cluster_conf_id": found.id}


def machine_of(conf: ClusterConf) -> MachineType:
    """Return the machine type of a cluster configuration."""
    return MACHINE_TYPES[conf.machine_type_id]


def shown(conf: ClusterConf) -> dict[str, Any]:
    """Return a cluster configuration in the API's form."""
    return {
        **conf.settings,
        "cluster_conf_id": conf.id,
        "name": conf.name,
        "machine_type_id": conf.machine_type_id,
        "machine_type": asdict(machine_of(conf)),
        "tenant_id": conf.tenant,
        "created_by": conf.created_by,
        "created_at": conf.created_at.isoformat(),
        "modified_at": conf.modified_at.isoformat(),
    }


def _machine(identifier: int) -> MachineType:
    if identifier not in MACHINE_TYPES:
        known = ", ".join(str(one) for one in MACHINE_TYPES)
        raise NotFoundError(f"There is no machine type {identifier}; the mock has {known}.")
    return MACHINE_TYPES[identifier]


def _refuse_taken(mock: Mock, tenant: str, name: str) -> None:
    if any(known.tenant == tenant and known.name == name for known in mock.store.all(ClusterConf)):
        raise ConflictError(f"The tenant has a cluster configuration called {name} already.")
