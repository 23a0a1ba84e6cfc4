"""The data folder: private, owned by one platform, on a disk with space."""

from __future__ import annotations

import os
import shutil
import stat
from collections import namedtuple
from pathlib import Path

import pytest

from loopline.embedded import layout
from loopline.embedded.errors import AlreadyRunning, DiskFull, PlatformError
from loopline.embedded.files import write_private, write_private_json
from loopline.embedded.layout import DataFolder, FolderLock, holder

Usage = namedtuple("Usage", ["total", "used", "free"])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_can_be_entered_by_their_owner_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    assert [mode(p) for p in (folder.root, folder.logs, folder.services)] == [0o700] * 3


def test_files_can_be_read_by_their_owner_alone_also_when_replaced(tmp_path: Path) -> None:
    path = tmp_path / "secret.json"
    path.write_text("old")
    path.chmod(0o644)
    write_private_json(path, {"key": "value"})
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_file_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    write_private(path, "before")

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_private(path, "after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 3 * 1024**2))
    with pytest.raises(DiskFull, match=r"3 MiB free; the platform needs 256 MiB"):
        DataFolder(tmp_path / "data").prepare()


def test_a_data_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("")
    with pytest.raises(PlatformError, match="cannot be used"):
        DataFolder(path).prepare()


def test_a_second_owner_is_refused_and_told_the_first_ones_pid(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    first, second = FolderLock(folder), FolderLock(folder)
    first.acquire()
    with pytest.raises(AlreadyRunning, match=rf"pid {os.getpid()}"):
        second.acquire()
    assert holder(folder) == os.getpid()
    first.release()
    assert holder(folder) is None
    second.acquire()
    second.release()


def test_nobody_holds_a_folder_that_was_never_used(tmp_path: Path) -> None:
    assert holder(DataFolder(tmp_path)) is None


def test_the_limit_is_what_the_documentation_says() -> None:
    assert layout.FREE_BYTES_MIN == 256 * 1024**2
