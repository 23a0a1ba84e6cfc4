"""Runs in dvc's environment: versions the folder `data`, and prints the seconds of each step as
JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

Repo: Any = import_module("dvc.repo").Repo  # not in the environment that checks types


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def git(*arguments: str) -> None:
    who = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
    subprocess.run(["git", *who, *arguments], check=True, stdout=subprocess.DEVNULL)


def main(changes: int) -> None:
    git("init", "--quiet")
    Repo.init(".").close()
    seconds = {"first commit": timed(lambda: Repo(".").add("data"))}
    git("add", "data.dvc", ".gitignore", ".dvc")
    git("commit", "--quiet", "-m", "first")
    for path in sorted(Path("data").iterdir())[:changes]:
        size_bytes = path.stat().st_size
        path.unlink()  # it may be a link into the cache
        path.write_bytes(os.urandom(size_bytes))
    seconds["commit"] = timed(lambda: Repo(".").add("data"))
    git("commit", "--quiet", "-am", "second")
    seconds["diff"] = timed(lambda: Repo(".").diff("HEAD~1", "HEAD"))
    git("checkout", "--quiet", "HEAD~1", "--", "data.dvc")
    seconds["restore"] = timed(lambda: Repo(".").checkout())
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(int(sys.argv[1]))
