"""Makes the operator's block types known to the server, so that the UI offers forms for them."""

from prefect.exceptions import ObjectNotFound

from prefect_yeedu import YeeduCredentials, YeeduJob, YeeduNotebook
from yeedu_deployer.applied.stage import Stage
from yeedu_deployer.errors import DeployerError
from yeedu_deployer.planned.diff import fingerprint
from yeedu_deployer.planned.plan import Action
from yeedu_deployer.server import explained

BLOCK_TYPES = (YeeduCredentials, YeeduJob, YeeduNotebook)


def bring_block_types(stage: Stage) -> None:
    """Register each type that the server lacks, or that has other fields since it was last registered."""
    try:
        for block_type in BLOCK_TYPES:
            slug = block_type.get_block_type_slug()
            is_known = _is_known(stage, slug)
            fields = fingerprint(block_type.model_json_schema())
            applied = stage.memory.block_types.get(slug)
            if is_known and applied == fields:
                continue
            if not stage.plan_only:
                with explained(f"The block type {slug!r} could not be registered"):
                    block_type.register_type_and_schema()
                stage.memory.block_types[slug] = fields
            if applied or not is_known:
                action = Action.CHANGE if is_known else Action.CREATE
                stage.tell("block type", block_type.get_block_type_name(), action)
    except DeployerError as error:
        stage.report.fail("block type", "", error)


def _is_known(stage: Stage, slug: str) -> bool:
    with explained(f"The block type {slug!r} could not be read"):
        try:
            stage.client.read_block_type_by_slug(slug)
        except ObjectNotFound:
            return False
    return True
