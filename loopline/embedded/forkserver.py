"""A process that imports the heavy modules once and forks each service from itself.

Seven services that import the same libraries one by one cost 15 CPU-seconds and a gigabyte; forked
after the import they cost two seconds, and share what they don't change (figures in
docs/adr/0004-embedded-servers.md). A forked child runs `python -m <module>`: the same entry point
as anywhere else, nothing in a service knows of this.

What makes forking safe: this process has one thread, no event loop and no gRPC channel; it imports
other people's modules and generated code only, so that no module of ours has read an environment
that is not the child's; and it forks between messages, never inside one.

The protocol is one JSON object per message on a Unix socket. A request brings the descriptor of the
child's output; answers tell pids, later exit codes.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from typing import Any

PRELOADED = (
    # Shared by most services. Not here: what one service alone needs (OpenCV, onnxruntime).
    "google.protobuf",
    "loopline.contracts",
    "loopline.contracts.catalog",
    "numpy",
    "orjson",
    "pydantic_settings",
    "structlog",
    "nats.js",
    "opentelemetry.sdk.trace.export",
    "opentelemetry.sdk.metrics",
    "opentelemetry.exporter.prometheus",
    "prometheus_client",
    "minio",
    "pyarrow.parquet",
    "sqlalchemy",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.dialects.postgresql",
    "fastapi",
    "uvicorn",
    "uvicorn.protocols.http.auto",
    "uvloop",
    "faststream.nats",
    "httpx",
    "cel",  # 0.4 s of import: the router at each start, inference when it first applies a model
)
MESSAGE_BYTES_MAX = 262_144
PR_SET_NAME = 15
PR_SET_PDEATHSIG = 1
CRASHED = 70  # EX_SOFTWARE: the child's own traceback is in its log


def main(control: socket.socket) -> None:
    """Serve spawn requests until the other side closes."""
    for module in PRELOADED:
        with contextlib.suppress(ImportError):  # an extra that is not installed here
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # the collector must not touch, and so copy, what all children share
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _say(control, {"ready": True, "threads": threading.active_count()})
    while True:
        waiting: list[socket.socket | int] = [control, wake_read]
        readable, _, _ = select.select(waiting, [], [])
        if wake_read in readable:
            os.read(wake_read, 4096)
            _reap(control)
        if control in readable:
            data, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES_MAX, 1)
            if not data:
                return
            _spawn(control, json.loads(data), descriptors[0], (wake_read, wake_write))


def _spawn(
    control: socket.socket, request: dict[str, Any], output: int, wake: tuple[int, int]
) -> None:
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        _die_with(server, request["name"])
        _be_child(control, request, output, wake)
    os.close(output)
    _say(control, {"id": request["id"], "pid": pid})


def _reap(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say(control, {"exit": pid, "code": os.waitstatus_to_exitcode(status)})


def _say(control: socket.socket, message: dict[str, Any]) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")


def _be_child(
    control: socket.socket, request: dict[str, Any], output: int, wake: tuple[int, int]
) -> None:
    """Become `python -m <module>` and never return."""
    code = CRASHED
    try:
        _detach(control, request, output, wake)
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        _end(code)


def _detach(
    control: socket.socket, request: dict[str, Any], output: int, wake: tuple[int, int]
) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    control.close()
    for descriptor in wake:
        os.close(descriptor)
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    # The parent's standard output is this one's: line by line, as any pipe's reader wants a log.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = [request["module"], *request["arguments"]]
    if "numpy" in sys.modules:  # the standard library's generator reseeds itself, numpy's does not
        sys.modules["numpy"].random.seed()


def _die_with(server: int, name: str) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)
    if os.getppid() != server:
        os._exit(CRASHED)


def _end(code: int) -> None:
    """End as the interpreter does: run what was registered, wait for threads, flush."""
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
    with contextlib.suppress(BaseException):
        import atexit

        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
