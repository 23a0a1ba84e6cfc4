"""dvc, in an environment of its own, as the peer that trees are measured beside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "3.67.1"
ENVIRONMENT = Path(".bench/venvs/dvc").absolute()
PEER = Path(__file__).with_name("_dvc_peer.py")


def environment() -> Path | None:
    """Return the Python of dvc's environment, made if it is not there; None without git."""
    if not shutil.which("git"):
        return None
    python = ENVIRONMENT / "bin" / "python"
    ready = ENVIRONMENT / f".ready-{VERSION}"
    if not ready.exists():
        _make(python)
        ready.touch()
    return python


def _make(python: Path) -> None:
    beside = Path(sys.executable).parent
    uv = shutil.which("uv", path=os.pathsep.join([str(beside), os.environ.get("PATH", "")]))
    if uv:
        run = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT)]
        subprocess.run(run, check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    else:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, f"dvc=={VERSION}"], check=True)


def measure(python: Path, folder: Path, changes: int) -> dict[str, float]:
    """Have dvc version `folder`/data, changed in `changes` files; return seconds by step.

    It runs as a library in one process, so that starting Python and importing dvc are not counted.
    """
    done = subprocess.run(
        [str(python), "-P", str(PEER), str(changes)],  # -P: modules beside it are not its own
        cwd=folder,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"dvc failed: {done.stderr.decode(errors='replace')[-2000:]}")
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return seconds
