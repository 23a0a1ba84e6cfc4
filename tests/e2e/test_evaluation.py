"""Measuring, comparing, quantizing and describing models, as a person types it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loopline.demo.images import read_pictures
from loopline.embedded.endpoints import Endpoints
from loopline.store.blobs import S3Blobs
from tests.e2e.test_cli import CommandLine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BUCKET = "customer-photos"
CLASSES = ("coat", "sneaker", "trouser")
EACH = {"labeled": 40, "test": 20}
FLOW = """
flow: careful
datasets: [products]
promote:
  - {model: products, alias: champion, when: "!has_champion || comparison.accuracy.low > 0.0"}
"""


@pytest.fixture(scope="module")
def loopline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A platform with a dataset of three classes, and two models of it."""
    line = CommandLine(tmp_path_factory.mktemp("platform"))
    services = [word for name in ("ingest", "trainer", "router") for word in ("--service", name)]
    up = line.run("up", "--detach", "--customer-bucket", BUCKET, *services, "--json")
    assert up.returncode == 0, up.stderr
    try:
        fill(line)
        flow = line.data / "careful.yaml"
        flow.write_text(FLOW)
        line.text("flow", "put", str(flow))
        line.text("import", "products", f"{BUCKET}/photos/", "--labels", "labels.csv")
        for epochs in (1, 8):
            line.text("train", "products", "products@v1", "--set", f"epochs={epochs}")
        yield line
    finally:
        line.run("down")


def fill(line: CommandLine) -> None:
    ends = Endpoints.load(line.data)
    bucket = S3Blobs(ends.s3_endpoint, ends.customer_access_key, ends.customer_secret_key, BUCKET)
    rows, taken = ["file,class,split"], dict.fromkeys(
        ((part, name) for part in EACH for name in CLASSES), 0
    )  # fmt: skip
    for number, picture in enumerate(read_pictures()):
        key = (picture.part, picture.class_name)
        if taken.get(key, EACH.get(picture.part, 0)) < EACH.get(picture.part, 0):
            taken[key] += 1
            bucket.put(f"photos/{number:05}.png", picture.data, "image/png")
            split = "test" if picture.part == "test" else "train"
            rows.append(f"{number:05}.png,{picture.class_name},{split}")
    bucket.put("labels.csv", "\n".join(rows).encode())


def test_a_trained_version_has_a_report_and_a_page(loopline: CommandLine, tmp_path: Path) -> None:
    report = loopline.json("model", "report", "products@v2", "--split", "test")
    assert (report["task"], report["count"], report["split"]) == ("classification", 60, "test")
    assert report["speed"]["p50_ms"] > 0
    page = tmp_path / "report.html"
    loopline.text("model", "report", "products@v2", "-o", str(page))
    assert page.read_text().startswith("<!doctype html>")


def test_any_split_can_be_measured_and_once_is_enough(loopline: CommandLine) -> None:
    words = ("model", "evaluate", "products@v2", "--dataset", "products@v1", "--split", "train")
    first = loopline.json(*words)["run"]
    again = loopline.json(*words)["run"]
    assert first["artefact"] == again["artefact"]
    report = loopline.json("model", "report", "products@v2", "--split", "train")
    assert report["count"] == 120


def test_a_version_that_is_surely_better_was_promoted(loopline: CommandLine) -> None:
    found = loopline.json("model", "compare", "products@v1", "products@v2")
    accuracy = found["metrics"]["accuracy"]
    assert (found["a"], found["b"], found["count"]) == ("products@v1", "products@v2", 60)
    champion = loopline.json("model", "show", "products@champion")["commit"]["artefact"]["version"]
    assert int(champion) == (2 if accuracy["low"] > 0 else 1)
    assert loopline.json("model", "compare", "products@v1", "products@v2") == found


def test_int8_is_the_next_version(loopline: CommandLine) -> None:
    made = loopline.json("model", "quantize", "products@v2", "--calibration-images", "40")["run"]
    assert int(made["artefact"]["version"]) == 3
    found = loopline.json("model", "compare", "products@v2", "products@v3")
    assert abs(found["metrics"]["accuracy"]["difference"]) <= 0.1


def test_a_card_is_written_from_the_log(loopline: CommandLine) -> None:
    card = loopline.text("model", "card", "products@v2")
    assert card.startswith("# products@v2")
    assert "| train | 120 | 120 |" in card
    assert "## Provenance" in card


def test_the_splits_do_not_leak(loopline: CommandLine) -> None:
    assert loopline.json("dataset", "leaks", "products@v1") == []


def test_what_cannot_be_measured_is_said_in_one_line(loopline: CommandLine) -> None:
    words = ("model", "evaluate", "products@v2", "--dataset", "products@v1", "--split", "val")
    assert "no labeled items in split 'val'" in loopline.error(*words)
    assert "was not measured" in loopline.error("model", "report", "products@v1", "--split", "val")
