"""The fork server: real processes, each `python -m` of a small module made for the test."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from loopline.embedded.command import Command
from loopline.embedded.errors import PlatformError
from loopline.embedded.forking import ForkSpawner, _Forked
from loopline.embedded.logs import LogPump

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODULES = {
    "tells": """
        import json, os, random, sys
        told = {"argv": sys.argv, "name": __name__, "cwd": os.getcwd(), "pid": os.getpid()}
        told |= {"parent": os.getppid(), "session": os.getsid(0), "mine": os.environ.get("MINE")}
        told |= {"random": random.random(), "torch": "torch" in sys.modules}
        told["ours"] = sorted(m for m in sys.modules if m.startswith("loopline.runtime"))
        print(json.dumps(told))
        sys.exit(int(os.environ.get("CODE", "0")))
    """,
    "breaks": "raise RuntimeError('broken on purpose')",
    "waits": """
        import signal, sys, threading
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        print("waiting", flush=True)
        threading.Event().wait()
    """,
    "loops": """
        import asyncio, uvloop
        async def main():
            await asyncio.to_thread(print, "from a thread", flush=True)
        uvloop.run(main())
    """,
}


class Stage:
    """Spawns the modules above and reads what they print."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = LogPump()
        self.logs.start()
        self.spawner = ForkSpawner(self.logs, folder / "forkserver.log")

    async def spawn(self, module: str, **env: str) -> _Forked:
        output = self.logs.open(module, self.log(module))
        command = Command(
            module, (sys.executable, "-m", f"forked_{module}", "argument"), self.folder, env
        )
        try:
            return await self.spawner.spawn(command, output)
        finally:
            os.close(output)

    def log(self, module: str) -> Path:
        return self.folder / f"{module}.log"

    async def said(self, module: str, part: str) -> str:
        async with asyncio.timeout(10):
            while not self.log(module).exists() or part not in self.log(module).read_text():
                await asyncio.sleep(0.01)
        return self.log(module).read_text()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One server for all tests: it costs seconds of imports."""
    folder = tmp_path_factory.mktemp("forking")
    for name, source in MODULES.items():
        (folder / f"forked_{name}.py").write_text(textwrap.dedent(source))
    stage = Stage(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(folder))
        yield stage
    await stage.spawner.stop()
    stage.logs.stop()


@pytest.fixture
def stage(shared_stage: Stage) -> Stage:
    """The server, with empty logs."""
    for log in shared_stage.folder.glob("*.log"):
        log.unlink()
    return shared_stage


async def test_a_child_is_python_m_of_its_module_with_its_own_surroundings(stage: Stage) -> None:
    child = await stage.spawn("tells", MINE="yes", CODE="5")
    assert await child.wait() == 5
    told = json.loads(await stage.said("tells", "\n"))
    assert told["argv"] == [str(stage.folder / "forked_tells.py"), "argument"]
    assert told["name"] == "__main__"
    assert told["cwd"] == str(stage.folder)
    assert told["mine"] == "yes"
    assert told["pid"] == told["session"] == child.pid
    assert told["parent"] == stage.spawner.pid


async def test_nothing_of_ours_that_reads_the_environment_is_imported_before(stage: Stage) -> None:
    child = await stage.spawn("tells")
    await child.wait()
    told = json.loads(await stage.said("tells", "\n"))
    assert told["ours"] == []
    assert told["torch"] is False


async def test_two_children_do_not_draw_the_same_random_numbers(stage: Stage) -> None:
    for _ in range(2):
        await (await stage.spawn("tells")).wait()
    lines = (await stage.said("tells", "}\n{")).splitlines()
    assert len({json.loads(line)["random"] for line in lines}) == len(lines) == 2


async def test_the_server_has_one_thread_when_it_forks(stage: Stage) -> None:
    await (await stage.spawn("tells")).wait()
    assert psutil.Process(stage.spawner.pid).num_threads() == 1


async def test_a_child_that_breaks_leaves_its_traceback_and_a_code(stage: Stage) -> None:
    child = await stage.spawn("breaks")
    assert await child.wait() == 70
    assert "RuntimeError: broken on purpose" in await stage.said("breaks", "on purpose")


async def test_a_child_hears_its_signals(stage: Stage) -> None:
    child = await stage.spawn("waits")
    await stage.said("waits", "waiting")
    child.send_signal(signal.SIGTERM)
    assert await child.wait() == 7
    child.send_signal(signal.SIGTERM)  # to nobody: nothing happens


async def test_a_killed_child_is_told_as_killed(stage: Stage) -> None:
    child = await stage.spawn("waits")
    child.send_signal(signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL


async def test_a_child_runs_an_event_loop_and_threads(stage: Stage) -> None:
    child = await stage.spawn("loops")
    assert await child.wait() == 0
    assert "from a thread" in await stage.said("loops", "thread")


async def test_children_die_with_the_server_and_the_next_one_has_a_new_server(
    stage: Stage,
) -> None:
    child = await stage.spawn("waits")
    await stage.said("waits", "waiting")
    first = stage.spawner.pid
    os.kill(first, signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL
    async with asyncio.timeout(10):
        while psutil.pid_exists(child.pid):
            await asyncio.sleep(0.01)
    second = await stage.spawn("tells")
    assert await second.wait() == 0
    assert stage.spawner.pid not in (0, first)


async def test_only_python_modules_can_be_forked(stage: Stage) -> None:
    with pytest.raises(PlatformError, match="cannot be forked"):
        await stage.spawner.spawn(Command("nats", ("nats-server",), stage.folder), 1)
