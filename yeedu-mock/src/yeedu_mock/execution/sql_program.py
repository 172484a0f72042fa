"""Runs SQL statements against an empty SQLite database and prints what they return, tab-separated.

Run as a file (`python sql_program.py STATEMENTS.sql`); it imports nothing from this package.
"""

import sqlite3
import sys
from pathlib import Path


def statements(text: str) -> list[str]:
    """Split a script at the semicolons that end statements."""
    found: list[str] = []
    pending = ""
    for piece in text.split(";"):
        pending += f"{piece};"
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    if pending.strip("; \n\t\r"):
        found.append(pending)
    return found


def main() -> None:
    """Execute the script in the file that the command line names."""
    database = sqlite3.connect(":memory:")
    try:
        for statement in statements(Path(sys.argv[1]).read_text(encoding="utf-8")):
            for row in database.execute(statement):
                print(*("NULL" if value is None else value for value in row), sep="\t")
    except sqlite3.Error as error:
        sys.exit(f"AnalysisException: {error}")
    finally:
        database.close()


if __name__ == "__main__":
    main()
