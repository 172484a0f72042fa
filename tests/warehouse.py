"""The warehouse of a platform under test, asked as its operator would."""

import csv
import io
import json

import psycopg2

from tests.platforms import Platform


def query(platform: Platform, statement: str) -> list[list[str]]:
    """Ask the platform's warehouse as its operator would; every value comes back as text."""
    if platform.kind == "compose":
        psql = ("psql", "--username=warehouse", "--csv", "--tuples-only")
        answer = platform.must("docker", "compose", "exec", "-T", "warehouse", *psql, "--command", statement)
        return list(csv.reader(io.StringIO(answer)))
    state = platform.checkout / ".local"
    port = json.loads((state / "processes" / "warehouse.json").read_text())["port"]
    password = (state / "secrets" / "warehouse" / "postgres-password").read_text()
    connection = psycopg2.connect(
        host="127.0.0.1", port=port, user="warehouse", dbname="warehouse", password=password
    )
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return [[str(value) for value in row] for row in cursor.fetchall()]
    finally:
        connection.close()
