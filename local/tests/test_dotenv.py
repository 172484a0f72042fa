"""Reading .env as Docker Compose reads it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from local.errors import CommandError
from local.settings.dotenv import read_dotenv
from yeedu_worker.dotenv import DotenvError, parse_dotenv

TEXT = r"""
# a comment
PLAIN=plain
  SPACED = spaced   # with a comment
SINGLE='as it is $PLAIN "x" # no comment'
DOUBLE="with $PLAIN \n \" \$PLAIN # no comment" # a comment
export EXPORTED=exported
HASH=a#b
EMPTY=
EXPANDED=pa$PLAIN-${PLAIN}x${NONE:-default}-${NONE-other}${PLAIN:+set}${EMPTY:-empty}${EMPTY-unused}
BACKSLASH=back\nslash
COLON: colon
OTHER_ESCAPE="a\tb\qc"
OUTER=$OUTSIDE
QUOTES_INSIDE=a'b"c
DOLLAR=$$PLAIN
APOSTROPHE='it\'s'
FROM_ENVIRONMENT
LINES="two
lines of $PLAIN" # a comment
LITERAL='two
lines of $PLAIN'
NESTED=${NONE:-${EMPTY:-${PLAIN}}-${PLAIN:+in${PLAIN}}}
NEEDED=${PLAIN:?is needed}
BRACE=${NONE:-a}b}
LONE=a$-b$
HASH_FIRST=#pass word # a comment
HASH_AFTER_SPACES=  #x
HASH_AFTER_TAB=a	#b
CONTROLS="\a\b\f\v\r\x41"
TWO_EQUALS==a=b
NOT_A_NAME=$1 $O_UTSIDE ${OUTSIDE}_x
QUOTED_WORD=${NONE:-"q"}
COMMENT_WITH_QUOTE=a # 'b
"""
VALUES = {
    "PLAIN": "plain",
    "SPACED": "spaced",
    "SINGLE": 'as it is $PLAIN "x" # no comment',
    "DOUBLE": 'with plain \n " $PLAIN # no comment',
    "EXPORTED": "exported",
    "HASH": "a#b",
    "EMPTY": "",
    "EXPANDED": "paplain-plainxdefault-othersetempty",
    "BACKSLASH": r"back\nslash",
    "COLON": "colon",
    "OTHER_ESCAPE": "a\tb\\qc",
    "OUTER": "outside",
    "QUOTES_INSIDE": "a'b\"c",
    "DOLLAR": "$PLAIN",
    "APOSTROPHE": "it's",
    "LINES": "two\nlines of plain",
    "LITERAL": "two\nlines of $PLAIN",
    "NESTED": "plain-inplain",
    "NEEDED": "plain",
    "BRACE": "ab}",
    "LONE": "a$-b$",
    "HASH_FIRST": "#pass word",
    "HASH_AFTER_SPACES": "#x",
    "HASH_AFTER_TAB": "a\t#b",
    "CONTROLS": "\a\b\f\v\r\\x41",
    "TWO_EQUALS": "=a=b",
    "NOT_A_NAME": "$1  outside_x",
    "QUOTED_WORD": '"q"',
    "COMMENT_WITH_QUOTE": "a",
}
ENVIRONMENT = {"OUTSIDE": "outside"}


def test_every_form_of_a_line_is_read() -> None:
    assert parse_dotenv(TEXT, ENVIRONMENT) == VALUES


@pytest.mark.docker
def test_docker_compose_reads_the_same(tmp_path: Path) -> None:
    names = "".join(f'      {name}: "${{{name}-unset}}"\n' for name in VALUES)
    of_file = "  b:\n    image: x\n    env_file: [.env]\n"
    (tmp_path / "docker-compose.yaml").write_text(
        f"services:\n  a:\n    image: x\n    environment:\n{names}{of_file}"
    )
    (tmp_path / ".env").write_text(TEXT)
    done = subprocess.run(
        ["docker", "compose", "config", "--format", "json"],
        cwd=tmp_path,
        env={**ENVIRONMENT, "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=True,
    )
    for service in json.loads(done.stdout)["services"].values():
        # `config` prints a compose file, in which a dollar sign is doubled.
        read = {name: value.replace("$$", "$") for name, value in service["environment"].items()}
        assert read == VALUES


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a sentence here", "line 2: write NAME=value"),
        ("2ND=x", "line 2: write NAME=value"),
        # Of the first two Compose takes a part, and says nothing; of the third the name, which no shell has.
        ("NAME='open'ed", "line 2: NAME: the value begins with '"),
        ('NAME="open" ed', 'line 2: NAME: the value begins with "'),
        ("NÄME=open", "line 2: write NAME=value"),
        ("NAME='open", "line 2: NAME: the value begins with '"),
        ('NAME="open', 'line 2: NAME: the value begins with "'),
        ("NAME=x${OPEN", r"line 2: NAME: \$\{ is not closed"),
        ("NAME=x${OPEN:-${A}", r"line 2: NAME: \$\{ is not closed"),
        ("NAME=${A b}", "line 2: NAME: what is in .* is no name"),
        ("NAME=${NONE:?give one}", "line 2: NAME: NONE is needed and not set: give one"),
    ],
)
def test_mistake_is_named_with_its_line_but_without_its_value(line: str, message: str) -> None:
    with pytest.raises(DotenvError, match=message) as caught:
        parse_dotenv(f"FIRST=1\n{line}\n", {})
    assert "open" not in str(caught.value)


def test_missing_file_sets_nothing(tmp_path: Path) -> None:
    assert read_dotenv(tmp_path / ".env", {}) == {}


def test_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe\n")
    with pytest.raises(CommandError, match=r"\.env cannot be read"):
        read_dotenv(tmp_path / ".env", {})


def test_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfA=1\r\nB=2\r\n")
    assert read_dotenv(tmp_path / ".env", {}) == {"A": "1", "B": "2"}
