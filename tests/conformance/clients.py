"""The published clients that are driven against the mock, and what their environments are made of."""

from tests.environments import Published

PREFECT_YEEDU_OPERATOR = Published(
    "prefect-yeedu-operator",
    ("prefect-yeedu-operator==1.0.8",),
    # An empty database of Prefect 2 to start from: its migrations take longer than a job's flow run.
    prepare=("prefect", "server", "database", "upgrade", "--yes"),
)

YEEDU_CLI = Published(
    "yeedu-cli",
    (
        "yeedu-cli==4.13.0",
        "websocket-client==1.9.2",  # imported by `notebook start --follow`, but not among its requirements
    ),
    # Every command imports these four, and the wheel was built without their packages. Only `yeedu git` and
    # `yeedu git-credentials` use what is in them, so that an empty class is enough for all other commands.
    {
        "yeeducli.openapi.git.git": "GitService",
        "yeeducli.openapi.git_credentials.git_credentials": "GitCredentialService",
        "yeeducli.parsers.git.git_parser": "GitServiceParser",
        "yeeducli.parsers.git_credentials.git_credentials_parser": "GitCredentialsParser",
    },
)

YEEDU_MCP_SERVER = Published("yeedu-mcp-server", ("yeedu-mcp-server==0.1.0",), python="3.12")
