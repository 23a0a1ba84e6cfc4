"""The command line as a person types it, on a platform of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from loopline.cli.main import app
from loopline.client.aio import AsyncLoopline
from loopline.demo.images import Picture, read_pictures
from loopline.embedded.endpoints import Endpoints
from loopline.embedded.identities import Credentials
from loopline.embedded.layout import DataFolder
from loopline.errors import LooplineError
from loopline.store.blobs import S3Blobs
from loopline.testing.onnx_models import colour_classifier, commit_model
from loopline.vision.headers import read_header

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LOOPLINE = Path(sys.executable).parent / "loopline"
BUCKET = "customer-photos"
FLOW = """
flow: products
datasets: [products]
promote:
  - {model: products, alias: champion, when: "!has_champion"}
"""


class CommandLine:
    """`loopline` with one data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(LOOPLINE), *words, "--data", str(self.data)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def json(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def text(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def error(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 1, done.stdout
        assert "Traceback" not in done.stderr
        return " ".join(done.stderr.split())


class WithoutProcesses(CommandLine):
    """The same commands in this process: starting Python 25 times is most of their time."""

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        result = CliRunner().invoke(app, [*words, "--data", str(self.data)])
        if isinstance(result.exception, LooplineError):
            return subprocess.CompletedProcess(words, 1, result.stdout, result.exception.message)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="module")
def loopline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    command_line = CommandLine(tmp_path_factory.mktemp("platform"))
    up = command_line.run("up", "--detach", "--customer-bucket", BUCKET, "--json")
    assert up.returncode == 0, up.stderr
    try:
        yield command_line
    finally:
        command_line.run("down")


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [picture for picture in read_pictures() if picture.part == "labeled"][:24]


@pytest.fixture(scope="module")
def imported(loopline: CommandLine, pictures: list[Picture]) -> Any:
    ends = Endpoints.load(loopline.data)
    bucket = S3Blobs(ends.s3_endpoint, ends.customer_access_key, ends.customer_secret_key, BUCKET)
    rows = ["file,class,split"]
    for number, picture in enumerate(pictures):
        bucket.put(f"photos/{number:02}.png", picture.data, "image/png")
        rows.append(f"{number:02}.png,{picture.class_name},")
    bucket.put("labels.csv", "\n".join(rows).encode())
    return loopline.json("import", "products", f"{BUCKET}/photos/", "--labels", "labels.csv")


def test_status_lists_every_process(loopline: CommandLine) -> None:
    names = {process["name"] for process in loopline.json("status")["processes"]}
    assert {"nats", "weed", "ingest", "trainer", "inference", "console"} <= names


def test_an_import_says_what_it_made(imported: Any, loopline: CommandLine) -> None:
    assert imported["run"]["artefact"]["name"] == "products"
    datasets = loopline.json("dataset", "list")
    [head] = [d for d in datasets if d["commit"]["artefact"]["name"] == "products"]
    assert int(head["statistics"]["labeled"]) == int(head["statistics"]["items"]) >= 20


def test_the_same_import_again_makes_no_version(imported: Any, loopline: CommandLine) -> None:
    before = loopline.json("dataset", "log", "products")
    again = loopline.json("import", "products", f"{BUCKET}/photos/", "--labels", "labels.csv")
    assert again["run"]["run_id"] == imported["run"]["run_id"]
    assert loopline.json("dataset", "log", "products") == before


def test_versions_are_tagged_restored_compared_and_exported(
    imported: Any, loopline: CommandLine, tmp_path: Path
) -> None:
    loopline.json("dataset", "tag", "products@v1", "first")
    [restored] = loopline.json("dataset", "restore", "products@first")
    version = restored["commit"]["artefact"]["version"]
    assert loopline.json("dataset", "diff", "products@first", f"products@v{version}") == {
        "added": [],
        "changed": [],
        "removed": [],
    }
    exported = loopline.json("dataset", "export", "products@first", str(tmp_path / "out"))
    document = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert len(document["images"]) == exported["images"]
    for image in document["images"]:
        assert (tmp_path / "out" / "images" / image["file_name"]).exists()


def test_augmented_copies_are_looked_at_and_then_made(
    imported: Any, loopline: CommandLine, tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.png"
    turned = ("--set", "rotate_degrees=30", "--set", "noise=0.05")
    shown = ("--out", str(sheet), "--items", "3", "--copies", "2")
    loopline.text("augment", "preview", "products@v1", *turned, *shown)
    header = read_header(sheet.read_bytes())
    assert (header.media_type, header.width_px > 600) == ("image/png", True)
    made = loopline.json("augment", "run", "products@v1", "more-products", *turned, "--copies", "2")
    assert made["run"]["artefact"]["name"] == "more-products"
    datasets = {d["commit"]["artefact"]["name"]: d for d in loopline.json("dataset", "list")}
    before, after = (datasets[name]["statistics"] for name in ("products", "more-products"))
    copied = int(before["labeled:train"])
    assert int(after["items"]) == int(before["items"]) + 2 * copied
    error = loopline.error("augment", "run", "products@v1", "others", "--set", "twirl=1")
    assert "'twirl'" in error


def test_a_flow_is_put_and_shown_as_written(loopline: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(FLOW)
    loopline.text("flow", "put", str(path))
    assert loopline.text("flow", "show", "products").strip() == FLOW.strip()
    assert "products@v1" in loopline.text("flow", "list")


async def two_versions(data: Path) -> None:
    """Commit two versions of a model, as the trainer: a person's own user may not."""
    trainer = Credentials.load_or_generate(DataFolder(data).credentials)["trainer"]
    own: dict[str, Any] = {"nats_user": "trainer", "nats_password": SecretStr(trainer.password)}
    async with await AsyncLoopline.connect(data, **own) as client:
        for sharpness in (0.1, 0.2):
            onnx = colour_classifier(sharpness=sharpness)
            await commit_model(client.session.log, client.session.objects, onnx)


def test_a_version_is_rolled_out_and_rolled_back(loopline: CommandLine) -> None:
    loopline = WithoutProcesses(loopline.data)
    asyncio.run(two_versions(loopline.data))
    loopline.text("model", "promote", "colours@v1")
    moved = loopline.json("model", "rollout", "colours@v2", "--canary", "0.1", "--shadow", "0.2")
    assert moved["rollout"]["candidate"]["version"] == "2"
    listed = loopline.text("model", "list", "colours")
    assert "beside champion" in " ".join(listed.split())
    assert "champion is now colours@v1" in loopline.text("model", "rollback", "colours")
    assert "beside" not in loopline.text("model", "list", "colours")
    assert "never at another version" in loopline.error("model", "rollback", "colours")


def test_storage_is_whole(imported: Any, loopline: CommandLine) -> None:
    assert loopline.json("fsck", "--deep")["ok"] is True
    assert loopline.json("gc")["dry_run"] is True


def test_a_refused_command_is_a_dead_letter_until_it_is_discarded(loopline: CommandLine) -> None:
    loopline.error("import", "refused", "nowhere", "--connection", "unheard-of")
    letters = loopline.json("dead", "list", "--service", "ingest")
    [number] = [each["number"] for each in letters if "unheard-of" in each["reason"]]
    assert loopline.json("dead", "show", str(number))["message"]["dataset"] == "refused"
    loopline.json("dead", "discard", str(number))
    assert f"no dead letter {number}" in loopline.error("dead", "show", str(number))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        pytest.param(["dataset", "log", "nothing"], "no dataset 'nothing'", id="dataset"),
        pytest.param(["dataset", "log", "No Name"], "not a valid dataset name", id="name"),
        pytest.param(["dataset", "restore", "products@v99"], "products@v99", id="version"),
        pytest.param(["model", "show", "nothing@champion"], "no alias 'champion'", id="alias"),
        pytest.param(["train", "m", "nothing"], "there is no dataset nothing", id="train"),
        pytest.param(["job", "show", "nothing"], "nothing", id="job"),
        pytest.param(["dead", "show", "777"], "no dead letter 777", id="dead letter"),
        pytest.param(
            ["import", "d", "nowhere", "--connection", "none"],
            "no connection 'none'",
            id="connection",
        ),
        pytest.param(["import", "d", "customer-none"], "customer-none", id="bucket"),
        pytest.param(["label", "j", "a"], "either a class or --shapes", id="label"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(
    loopline: CommandLine, words: list[str], reason: str
) -> None:
    assert reason in loopline.error(*words)


def test_a_flow_with_a_mistake_is_refused_with_its_place(
    loopline: CommandLine, tmp_path: Path
) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(FLOW.replace("when:", "wenn:"))
    assert "wenn" in loopline.error("flow", "put", str(path))


def test_without_a_platform_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    assert "start one with `loopline up" in CommandLine(tmp_path).error("dataset", "list")


def test_a_labeling_job_from_its_opening_to_the_dataset_and_its_second_life(
    imported: Any, loopline: CommandLine, tmp_path: Path
) -> None:
    loopline = WithoutProcesses(loopline.data)
    opened = loopline.json(
        "job", "open", "check", "products", "--limit", "2", "--labelers", "ada", "--reviewers",
        "rita", "--review", "--deadline", "2031-02-03T04:05:06", "--priority", "4",
    )  # fmt: skip
    assert (opened["state"], opened["items"], opened["priority"]) == ("in_progress", 2, 4)
    assert "2031-02-03 04:05" in loopline.text("job", "list")
    both = ("--no-deadline", "--deadline", "2032-01-01")
    assert "exclude each other" in loopline.error("job", "assign", "check", *both)
    assert loopline.json("job", "assign", "check", "--no-deadline")["deadline"] is None
    assert "not asked to label" in loopline.error("job", "take", "check", "--as", "bob")
    assert loopline.json("job", "assign", "check", "--labelers", "bob")["labelers"] == ["bob"]
    taken = loopline.json("job", "take", "check", "--as", "bob", "--count", "2")
    kept, mended = (one["item"]["asset"] for one in taken)
    said = {one["item"]["asset"]: one["item"]["existing"][0]["class_name"] for one in taken}
    other = next(name for name in opened["classes"] if name != said[mended])
    loopline.text("label", "check", kept, said[kept], "--labeler", "bob")
    loopline.text("label", "check", mended, said[mended], "--labeler", "bob")
    why = ("--comment", "look again", "--as", "rita")
    assert "rejected" in loopline.text("job", "review", "check", mended, "rejected", *why)
    assert mended in loopline.text("job", "items", "check", "--state", "rejected")
    loopline.text("label", "check", mended, other, "--labeler", "bob")
    for asset in (kept, mended):
        loopline.text("job", "review", "check", asset, "accepted", "--as", "rita")
    spoken = [(one["kind"], one["by"]) for one in loopline.json("job", "history", "check", mended)]
    assert spoken == [("labels", "bob"), ("review", "rita")] * 2
    eventually(lambda: loopline.json("job", "show", "check")["state"] == "completed")
    out = tmp_path / "out"
    loopline.text("dataset", "export", "products", str(out), "--format", "label-studio")
    exported = (out / "tasks.json").read_text()
    assert other in exported

    assert "reopen it" in loopline.error("job", "assign", "check", "--priority", "1")
    loopline.text("job", "reopen", "check", kept)
    assert loopline.json("job", "items", "check", "--state", "todo")[0]["asset"] == kept
    loopline.text("job", "stop", "check")
    assert "stopped" in loopline.error("label", "check", kept, said[kept], "--labeler", "bob")
    became = loopline.json("job", "history", "check")
    states = [one["state"] for one in became]
    assert (states[0], states[-3:]) == ("in_progress", ["completed", "in_progress", "stopped"])
    assert [one["reopened"] for one in became[-3:]] == [False, True, False]


def eventually(tell: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not tell():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.1)
