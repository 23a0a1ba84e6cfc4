"""Children's logs: JSON lines in files of bounded size."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from loopline.embedded.logs import LogPump, RotatingFile, json_line, tail


def test_a_json_line_stays_as_it_is() -> None:
    assert json_line("ingest", b'{"event": "x"}\r') == b'{"event": "x"}\n'


@pytest.mark.parametrize(
    ("line", "level"),
    [
        pytest.param(b"[7] 2026/11/22 [WRN] slow", "warning", id="warning"),
        pytest.param(b"[7] 2026/11/22 [ERR] bad", "error", id="error"),
        pytest.param(b"plain words", "info", id="plain"),
        pytest.param(b"{not json", "info", id="begins-like-json"),
        pytest.param(b"\xff\xfe", "info", id="not-text"),
    ],
)
def test_any_other_line_is_wrapped_with_its_level(line: bytes, level: str) -> None:
    wrapped = json.loads(json_line("nats", line))
    assert wrapped["level"] == level
    assert wrapped["service"] == "nats"
    assert wrapped["event"] == line.decode(errors="replace")


def test_files_are_rotated_and_the_oldest_dropped(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    file = RotatingFile(path, bytes_max=100, kept=2)
    for number in range(50):
        file.write(b"line %02d\n" % number)
    file.close()
    files = sorted(tmp_path.iterdir())
    assert [each.name for each in files] == ["x.log", "x.log.1", "x.log.2"]
    assert all(each.stat().st_size <= 100 for each in files)
    assert path.read_text().endswith("line 49\n")
    everything = "".join(each.read_text() for each in reversed(files))
    assert everything.splitlines() == [f"line {n:02}" for n in range(50)][-len(everything) // 8 :]


def test_a_full_disk_loses_log_lines_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RotatingFile(tmp_path / "x.log")

    def no_space(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", no_space)
        file.write(b"lost\n")
    file.write(b"kept\n")
    file.close()
    assert (tmp_path / "x.log").read_bytes() == b"kept\n"


def test_the_pump_writes_what_every_child_says_to_its_file(tmp_path: Path) -> None:
    pump = LogPump()
    pump.start()
    first = pump.open("a", tmp_path / "a.log")
    second = pump.open("b", tmp_path / "b.log")
    os.write(first, b'{"event":"one"}\n{"event":')
    os.write(first, b'"two"}\n')
    os.write(second, b"unfinished")
    os.close(first)
    pump.stop()  # with the second still open, as a child that is killed leaves it
    os.close(second)
    assert (tmp_path / "a.log").read_bytes() == b'{"event":"one"}\n{"event":"two"}\n'
    assert json.loads((tmp_path / "b.log").read_text())["event"] == "unfinished"


def test_a_line_without_end_is_cut_where_memory_would_grow(tmp_path: Path) -> None:
    pump = LogPump()
    pump.start()
    descriptor = pump.open("a", tmp_path / "a.log")
    for _ in range(40):
        os.write(descriptor, b"x" * 10_000)
    os.close(descriptor)
    pump.stop()
    lines = (tmp_path / "a.log").read_text().splitlines()
    assert len(lines) > 1
    assert sum(len(json.loads(line)["event"]) for line in lines) == 400_000


def test_the_tail_shows_people_the_words_and_the_keys(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text('{"event":"bus_error","reason":"refused","level":"info"}\nplain\n')
    assert tail(path) == "bus_error reason=refused\nplain"
    assert tail(tmp_path / "none.log") == ""
