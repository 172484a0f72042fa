"""Which texts are taken for the name of a block, and how an environment's own is called."""

import pytest

from yeedu_deployer.declared.block_names import BlockNames
from yeedu_deployer.planned.blocks import configured_blocks
from yeedu_deployer.settings import Configuration

STAGING = BlockNames("staging")


@pytest.mark.parametrize(
    ("key", "value", "own"),
    [
        ("connection_block_name", "yeedu_connection_details", "yeedu-connection-details-staging"),
        ("login", "yeedu-password", "yeedu-password-staging"),
        ("warehouse_block_name", "warehouse", "warehouse-staging"),
        ("warehouse", "secret/warehouse", "secret/warehouse-staging"),
        ("message", "warehouse", "warehouse"),
        ("folder", "/warehouse", "/warehouse"),
        ("folder", "/data/yeedu-password", "/data/yeedu-password"),
        ("lake", "s3-bucket/warehouse", "s3-bucket/warehouse"),
        ("headers_block_name", "api-headers", "api-headers"),
        ("token_block_name", None, None),
        ("at_once", 4, 4),
        (
            "stages",
            [{"token_block_name": "yeedu_token"}, "x"],
            [{"token_block_name": "yeedu-token-staging"}, "x"],
        ),
    ],
)
def test_a_text_that_names_a_block_of_the_platform_names_the_environments(key, value, own):
    assert STAGING.within(value, key) == own
    assert BlockNames().within(value, key) == value


def test_parameters_are_set_where_a_default_names_a_block():
    schema = {
        "properties": {
            "connection_block_name": {"default": "yeedu_connection_details"},
            "warehouse_block_name": {"default": "warehouse"},
            "token_block_name": {"default": None},
            "message": {"default": "hello"},
            "url": {},
        }
    }
    declared = {"warehouse_block_name": "my-own", "message": "warehouse"}
    assert STAGING.parameters(declared, schema) == {
        "connection_block_name": "yeedu-connection-details-staging",
        "warehouse_block_name": "my-own",
        "message": "warehouse",
    }
    assert BlockNames().parameters(declared, schema) == declared


def test_own_blocks_have_no_alerts_and_the_platforms_names_nowhere():
    configuration = Configuration(
        api_url="http://server/api",
        password="canary",
        git_token="canary",
        warehouse_url="postgresql://me@db/warehouse",
        webhook_url="http://hooks.example",
    )
    assert set(configured_blocks(configuration, STAGING)) == {
        *("yeedu-connection-details-staging", "yeedu-password-staging"),
        *("github-pat-token-staging", "warehouse-staging"),
    }
    assert "alerts-webhook" in configured_blocks(configuration)


def test_a_block_that_names_another_one_names_the_environments():
    details = {"username": "warehouse", "token_block_name": "yeedu-token"}
    assert STAGING.within(details) == {"username": "warehouse", "token_block_name": "yeedu-token-staging"}
