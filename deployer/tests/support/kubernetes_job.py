"""Prints what Prefect's worker for Kubernetes makes of a pool's template: the job of one flow run.

Standard input is the template; standard output the job, and the templates of the deployer and the worker.
"""

import asyncio
import json
import sys
import uuid

from prefect.client.schemas.objects import FlowRun
from prefect_kubernetes.worker import KubernetesWorker, KubernetesWorkerJobConfiguration

from yeedu_deployer.planned.pools import default_template


async def main() -> None:
    template = json.load(sys.stdin)
    job = await KubernetesWorkerJobConfiguration.from_template_and_values(template, {})
    job.prepare_for_flow_run(FlowRun(id=uuid.UUID(int=1), flow_id=uuid.UUID(int=2), name="a-run"))
    workers = KubernetesWorker.get_default_base_job_template()
    json.dump(
        {"job": job.job_manifest, "deployers": default_template("kubernetes"), "workers": workers}, sys.stdout
    )


asyncio.run(main())
