"""Following several logs at once."""

from pathlib import Path

from local.processes.follow_logs import follow


def test_new_lines_of_every_log_come_with_its_name(tmp_path: Path) -> None:
    server, worker = tmp_path / "server.log", tmp_path / "worker.log"
    server.write_text("old\n")
    lines = follow(tmp_path)
    assert next(lines) == "server       | old"
    worker.write_text("hello\nhalf a li")
    assert next(lines) == "worker       | hello"
    with worker.open("a") as log:
        log.write("ne\n")
    assert next(lines) == "worker       | half a line"


def test_log_that_was_begun_anew_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("a rather long first line\n")
    lines = follow(tmp_path)
    assert next(lines).endswith("first line")
    log.replace(tmp_path / "server.log.1")
    log.write_text("new\n")
    assert next(lines) == "server       | new"


def test_line_end_of_another_system_is_no_part_of_the_line(tmp_path: Path) -> None:
    (tmp_path / "worker.log").write_bytes(b"one\r\ntwo\rhalf\n")
    lines = follow(tmp_path)
    assert [next(lines), next(lines)] == ["worker       | one", "worker       | two\rhalf"]


def test_of_a_long_log_only_the_end_is_shown(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text("x" * 50_000 + "\nlast\n")
    lines = follow(tmp_path)
    assert len(next(lines)) < 10_000
    assert next(lines) == "server       | last"
