"""A process that is a platform: in the foreground for `loopline up`, or detached.

Run detached as `python -m loopline.embedded.daemon` with the options as JSON on standard input; the
line on standard output says `{"pid": ...}` once everything is ready, or `{"error": "..."}`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from loopline.embedded.command import import_path
from loopline.embedded.errors import NotReady
from loopline.embedded.layout import DataFolder
from loopline.embedded.logs import RotatingFile
from loopline.embedded.options import PlatformOptions
from loopline.embedded.platform import Platform
from loopline.errors import LooplineError


async def serve(options: PlatformOptions, watch: Callable[[Platform], Awaitable[None]]) -> None:
    """Run a platform until SIGTERM or SIGINT.

    Args:
        options: What to run.
        watch: Called once everything is ready; the platform stops when it returns.

    Raises:
        PlatformError: It did not start.
    """
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for sig in (signal.SIGTERM, signal.SIGINT):  # stopping is under way, and bounded
            loop.add_signal_handler(sig, lambda: None)
        task.cancel()

    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stop)
    with suppress(asyncio.CancelledError):
        async with Platform(options) as platform:
            await watch(platform)


def log_to(folder: DataFolder) -> None:
    """Make the supervisor's own log a file among those of its children."""
    folder.prepare()
    file = RotatingFile(folder.log("supervisor"))

    class Lines:
        def msg(self, message: str) -> None:
            file.write(message.encode() + b"\n")

        debug = info = warning = error = critical = msg

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: Lines(),
    )


def start_detached(options: PlatformOptions) -> int:
    """Start a platform that outlives this process; return its pid once everything is ready.

    Raises:
        PlatformError: It did not start; the message is the platform's own.
    """
    process = subprocess.Popen(
        (sys.executable, "-m", __name__),
        env={**os.environ, **import_path()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    said, _ = process.communicate(json.dumps(asdict(options), default=str).encode())
    answer: dict[str, Any] = json.loads(said) if said else {"error": "the supervisor ended"}
    if "error" in answer:
        raise NotReady(answer["error"])
    pid: int = answer["pid"]
    return pid


def main() -> None:
    """Serve the platform described on standard input."""
    options = _options(json.load(sys.stdin))
    if os.fork():  # whoever started this process has no child to look after
        os._exit(0)
    os.setsid()
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, sys.stdout.fileno())

    async def watch(_: Platform) -> None:
        _say(report, {"pid": os.getpid()})
        await asyncio.Event().wait()

    try:
        log_to(DataFolder(options.data_dir))
        asyncio.run(serve(options, watch))
    except (LooplineError, OSError) as error:
        structlog.get_logger().error("platform_failed", reason=str(error))
        _say(report, {"error": str(error)})
        sys.exit(1)


def _say(report: Any, message: dict[str, Any]) -> None:
    with suppress(ValueError, OSError):  # said before, or nobody listens any more
        report.write(json.dumps(message) + "\n")
        report.close()


def _options(stored: dict[str, Any]) -> PlatformOptions:
    tuples = ("services", "pools", "customer_buckets")
    return PlatformOptions(
        **{
            **stored,
            "data_dir": Path(stored["data_dir"]),
            **{name: tuple(stored[name]) for name in tuples},
        }
    )


if __name__ == "__main__":
    main()
