"""The training process: what it says, and what is made of its end. Each test starts a real one."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from loopline.errors import LooplineError, Rejected, Transient
from loopline.testing.products import Product
from services.trainer.adapters.process import started
from services.trainer.domain.job import CheckpointSaved, Progress, Report, Train, Trained
from tests.unit.trainer.workshop import write_job

pytestmark = pytest.mark.usefixtures("with_house_recipes")

SILENCE_S = 60.0


async def trained(
    recipe: str, catalogue: list[Product], folder: Path, **parameters: Any
) -> list[Report]:
    async with started(attempt=1, silence_s=SILENCE_S, niceness=0) as process:
        await process.describe(recipe, {"epochs": 2, "batch_size": 8} | parameters)
        return [report async for report in process.train(write_job(catalogue, folder))]


async def failure(recipe: str, attempt: int = 1) -> LooplineError:
    job = Train(dataset="shop@v1", classes=(), examples_file=Path("none"), folder=Path("none"))
    async with started(attempt=attempt, silence_s=SILENCE_S, niceness=0) as process:
        await process.describe(recipe, {})
        with pytest.raises(LooplineError) as failed:
            await anext(process.train(job))
    return failed.value


async def test_it_tells_of_epochs_and_checkpoints_and_ends_with_the_files(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    reports = await trained(
        "talkative", small_catalogue, tmp_path
    )  # what it prints disturbs nothing
    assert [r.path.suffix for r in reports if isinstance(r, CheckpointSaved)][:1] == [".ckpt"]
    epochs = [r for r in reports if isinstance(r, Progress) and "accuracy" in r.metrics]
    assert [r.epoch for r in epochs] == [1, 2]
    assert epochs[-1].step == epochs[-1].steps
    assert epochs[-1].eta_s == 0
    assert min(epochs[-1].loss, epochs[-1].images_per_s, epochs[-1].learning_rate) > 0
    last = reports[-1]
    assert isinstance(last, Trained)
    assert [path.name for path in last.files] == [
        "model.onnx",
        "weights.safetensors",
        "evaluation.json",
        "recipe.json",
    ]
    assert all(path.stat().st_size for path in last.files)
    assert last.count == 48


async def test_a_wrong_parameter_is_refused_before_anything_is_loaded() -> None:
    async with started(attempt=1, silence_s=SILENCE_S, niceness=0) as process:
        with pytest.raises(Rejected, match="unknown parameter 'epoch'"):
            await process.describe("classification", {"epoch": 3})


@pytest.mark.parametrize(("attempt", "kind"), [(1, Transient), (3, Rejected)])
async def test_a_killed_process_is_tried_again_but_not_for_ever(
    attempt: int, kind: type[LooplineError]
) -> None:
    error = await failure("killed", attempt)
    assert type(error) is kind
    assert "killed (SIGKILL)" in error.message


async def test_a_process_that_ends_itself_is_rejected_with_its_last_words() -> None:
    error = await failure("quitter")
    assert isinstance(error, Rejected)
    assert error.message == "training ended with exit code 3: I quit"


async def test_a_process_that_says_nothing_is_given_up_and_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.unit.trainer.test_process.SILENCE_S", 0.1)
    error = await failure("sleeper")
    assert isinstance(error, Transient)
    assert "said nothing for" in error.message


async def test_the_process_is_gone_once_it_is_not_needed_any_more() -> None:
    async with started(attempt=1, silence_s=SILENCE_S, niceness=0) as process:
        await process.describe("sleeper", {})
        pid = process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_it_dies_with_its_parent_even_if_that_is_killed() -> None:
    script = (
        "import asyncio\n"
        "from services.trainer.adapters.process import started\n"
        "async def main():\n"
        "    async with started(attempt=1, silence_s=60, niceness=0) as process:\n"
        "        await process.describe('sleeper', {})\n"
        "        print(process.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    for _ in range(500):
        if not _is_running(child):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the training process outlived its parent")


async def test_it_is_told_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPLINE_S3_SECRET_KEY", "kept-to-ourselves")
    async with started(attempt=1, silence_s=SILENCE_S, niceness=0) as process:
        environment = _environment_of(process.pid)
    assert b"kept-to-ourselves" not in environment


def _environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
